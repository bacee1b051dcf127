"""Distillation: losses against numpy, the cache, and students that come nearer to a teacher."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from groove.errors import EmptyAudio, SettingsError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.manifest import read_manifest, write_manifest  # noqa: E402
from groove.training.checkpoint import load  # noqa: E402
from groove.training.distill import (  # noqa: E402
    Teacher,
    cosine_distance,
    neighbour_divergence,
    similarity_difference,
    squared_difference,
)
from groove.training.encoder import TorchEncoder  # noqa: E402
from groove.training.loop import train  # noqa: E402
from groove.training.networks import Network, build_encoder, new_card  # noqa: E402
from groove.training.objective import PARTS, Objective, Weights  # noqa: E402
from groove.training.packing import PackedSource, pack  # noqa: E402
from groove.training.runlog import LOG, read_log  # noqa: E402
from groove.training.targets import target_key, unheard, utterance_targets  # noqa: E402
from groove.training.waveforms import FileSource  # noqa: E402
from tests.fakes import FakeEncoder  # noqa: E402
from tests.training.tiny import config, curve, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch
FBANK = FbankConfig(n_mels=16)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def pair(rng: np.random.Generator, n: int = 6, size: int = 5) -> tuple[Any, Any]:
    student, teacher = rng.standard_normal((n, size)), rng.standard_normal((n, size))
    return student, teacher / np.linalg.norm(teacher, axis=1, keepdims=True)


def test_the_losses_are_their_formulas(rng: np.random.Generator) -> None:
    student, teacher = pair(rng)
    s, t = torch.tensor(student), torch.tensor(teacher)
    unit = student / np.linalg.norm(student, axis=1, keepdims=True)
    assert np.allclose(cosine_distance(s, t), 1 - (unit * teacher).sum(axis=1), atol=1e-6)
    wanted = ((student - np.sqrt(5) * teacher) ** 2).mean(axis=1)
    assert np.allclose(squared_difference(s, t), wanted, atol=1e-5)
    total = 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                total += (unit[i] @ unit[j] - teacher[i] @ teacher[j]) ** 2
    assert float(similarity_difference(s, t)) == pytest.approx(total / 30, rel=1e-5)
    assert float(similarity_difference(s[:1], t[:1])) == 0.0


def test_neighbours_are_the_divergence_of_two_softmaxes(rng: np.random.Generator) -> None:
    student, teacher = pair(rng)
    bank = pair(rng, 9)[1]
    unit = student / np.linalg.norm(student, axis=1, keepdims=True)

    def near(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        powers = np.exp(rows @ bank.T / 0.2)
        return powers / powers.sum(axis=1, keepdims=True)

    p, q = near(teacher), near(unit)
    wanted = (p * np.log(p / q)).sum(axis=1)
    s, t, b = (torch.tensor(x, dtype=torch.float32) for x in (student, teacher, bank))
    assert np.allclose(neighbour_divergence(s, t, b, 0.2), wanted, atol=1e-5)
    assert wanted.min() > 0.01
    assert float(neighbour_divergence(3 * t, t, b, 0.2).abs().max()) < 1e-6


def test_a_perfect_student_loses_nothing(rng: np.random.Generator) -> None:
    teacher = torch.tensor(pair(rng)[1])
    assert float(cosine_distance(3 * teacher, teacher).abs().max()) < 1e-6
    assert float(squared_difference(teacher * 5**0.5, teacher).max()) < 1e-6
    assert float(similarity_difference(0.1 * teacher, teacher)) < 1e-6


def objective(weights: Weights, target_size: int, head: Any = None) -> Objective:
    encoder = build_encoder(Network("ecapa", 16, 8), FBANK)
    return Objective(encoder, head, weights=weights, target_size=target_size).eval()


def test_another_size_gets_a_map_and_relations_need_none() -> None:
    assert objective(Weights(0, 1, 0, 1), 24).projection is not None
    assert objective(Weights(0, 1, 0, 1), 16).projection is None
    assert objective(Weights(0, 0, 0, 1), 24).projection is None


def test_rows_without_a_speaker_or_a_target_take_no_part() -> None:
    from groove.training.heads import AamSoftmax

    torch.manual_seed(0)
    model = objective(Weights(1, 1, 0, 1), 16, AamSoftmax(16, 3))
    frames, target = torch.randn(4, 30, 16), torch.nn.functional.normalize(torch.randn(4, 16))
    label = torch.tensor([0, 2, -1, -1])
    target[1] = torch.nan
    found = dict(zip(PARTS, model(frames, label, target, 0.2, 4, 2.0), strict=True))
    embedding = model.backbone(frames)
    aam = model.head(embedding[:2], label[:2], 0.2).loss.mean()
    heard = [0, 2, 3]
    cosine = cosine_distance(embedding[heard], target[heard]).sum() / 4
    similarity = similarity_difference(embedding[heard], target[heard])
    assert torch.allclose(found["aam"], aam, atol=1e-5)
    assert torch.allclose(found["cosine"], cosine, atol=1e-5)
    assert torch.allclose(found["loss"], aam + cosine + similarity, atol=1e-5)
    found["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_unlabelled_rows_alone_give_the_head_a_gradient_of_zero() -> None:
    from groove.training.heads import AamSoftmax

    model = objective(Weights(1, 1, 0, 0), 16, AamSoftmax(16, 3))
    target = torch.nn.functional.normalize(torch.randn(2, 16))
    model(torch.randn(2, 30, 16), torch.tensor([-1, -1]), target, 0.2, 2, 0.0)[0].backward()
    assert float(model.head.weight.grad.abs().max()) == 0.0


def torch_teacher(size: int = 16) -> TorchEncoder:
    torch.manual_seed(5)
    network = Network("ecapa", size, 8)
    return TorchEncoder(build_encoder(network, FBANK), new_card(network, FBANK, name="teacher"))


def test_any_encoder_can_teach_and_gives_unit_length() -> None:
    waveform = torch.randn(3, 8000) * 0.1
    for encoder in (FakeEncoder(), torch_teacher()):
        found = Teacher(encoder, torch.device("cpu"))(waveform)
        wanted = encoder(waveform.numpy())
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
        assert np.allclose(found.numpy(), wanted, atol=1e-5) and not found.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_teacher_computes_in_float32_whatever_its_student_does(dtype: Any) -> None:
    waveform, encoder = torch.randn(3, 8000) * 0.1, torch_teacher()
    wanted = Teacher(torch_teacher(), torch.device("cpu"))(waveform)
    encoder.module.to(torch.float64)
    teacher = Teacher(encoder, torch.device("cpu"))
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(teacher(waveform), wanted)


class Overflowing(FakeEncoder):
    """Gives no number for the last recording of the third call, as fp16 does when it overflows."""

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        found = super().__call__(waveforms)
        if len(self.shapes) == 3:
            found[-1, 2] = np.inf
        return found


@pytest.mark.parametrize("sees", ["clean", "augmented"])
def test_a_target_of_a_crop_that_is_not_finite_stops_the_run_with_the_batch_saved(
    corpus: Path, tmp_path: Path, sees: str
) -> None:
    out = tmp_path / "out"
    settings = config(
        corpus,
        out,
        train={"save_every": 1},
        distill={"teacher": "given", "sees": sees},
        validate={"every": 0},
    )
    said = "step 3: the teacher's embeddings of 1 of 8 crops are not finite; the batch is saved"
    with pytest.raises(TrainingError, match=f"{said} in .* as it was before: look at the batch"):
        train(settings, teacher=Overflowing())
    batch = torch.load(out / "bad_batch.pt", weights_only=True)
    assert batch["step"] == 3 and np.isfinite(batch["parts"]["loss"])
    assert (batch["clean"] is None) == (sees == "augmented") and len(batch["waveform"]) == 8
    assert load(out / "last.pt").progress["step"] == 2


def test_how_many_utterances_the_teacher_cannot_hear_is_in_the_log(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "train" / "s003" / "2.wav").write_bytes(b"no sound")
    settings = config(
        corpus,
        tmp_path / "out",
        train={"epochs": 1},
        distill={"teacher": "given", "target": "utterance", "aam": 0.0},
        validate={"every": 0},
    )
    train(settings, teacher=FakeEncoder())
    events = [x["text"] for x in read_log(tmp_path / "out" / LOG) if x["kind"] == "event"]
    said = [text for text in events if "teacher" in text]
    assert len(said) == 1 and said[0].startswith("1 of 32 utterances cannot be heard by the teach")
    assert said[0].endswith("s003-2 is the first")


KEYS = [[target_key(f"u{i}", 1.0, 1.0, "v") for i in range(5)]]


def sound(utterance: int, speed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([utterance, speed])
    return (0.1 * rng.standard_normal(4000)).astype(np.float32)


def test_targets_are_computed_once_and_kept(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    first = utterance_targets(encoder, KEYS, sound, tmp_path)
    assert first.shape == (1, 5, 8) and len(encoder.shapes) == 5
    assert np.allclose(np.linalg.norm(first, axis=2), 1, atol=1e-6)
    again = utterance_targets(encoder, KEYS, sound, tmp_path)
    assert len(encoder.shapes) == 5 and np.array_equal(first, again)
    more = [[*KEYS[0], target_key("u5", 1.0, 1.0, "v")]]
    assert np.array_equal(utterance_targets(encoder, more, sound, tmp_path)[:, :5], first)
    assert len(encoder.shapes) == 6


def test_a_cache_that_a_kill_cut_short_is_completed(tmp_path: Path) -> None:
    first = utterance_targets(FakeEncoder(), KEYS, sound, tmp_path)
    names, values = tmp_path.glob("*.keys"), tmp_path.glob("*.f32")
    (names_path,), (values_path,) = list(names), list(values)
    names_path.write_bytes(names_path.read_bytes()[:-3])  # the last key is not whole
    values_path.write_bytes(values_path.read_bytes()[: 3 * 32 + 5])  # three rows and a piece
    encoder = FakeEncoder()
    assert np.array_equal(utterance_targets(encoder, KEYS, sound, tmp_path), first)
    assert len(encoder.shapes) == 2


def test_what_the_teacher_cannot_hear_is_nan_and_another_teacher_has_its_own(
    tmp_path: Path,
) -> None:
    def deaf(utterance: int, speed: int) -> NDArray[np.float32]:
        if utterance == 3:
            raise EmptyAudio("nothing in it")
        return sound(utterance, speed)[: 200 if utterance == 4 else None]  # less than a frame

    found = utterance_targets(FakeEncoder(), KEYS, deaf, tmp_path)
    assert np.isnan(found[0, 3]).all() and np.isfinite(np.delete(found, 3, axis=1)).all()
    assert unheard(found) == [3]
    slow = np.zeros_like(found)
    slow[0, 1, 5] = np.inf
    assert unheard(np.concatenate([found, slow])) == [1, 3]
    other = FakeEncoder()
    other.model_hash = "1" * 64
    utterance_targets(other, KEYS, sound, tmp_path)
    assert len(other.shapes) == 5
    (tmp_path / "blocked").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(TrainingError, match="cannot be kept"):
        utterance_targets(FakeEncoder(), KEYS, sound, tmp_path / "blocked")


@pytest.mark.parametrize(
    ("distill", "teacher"),
    [
        ({"target": "crop", "sees": "clean", "aam": 0.5}, FakeEncoder()),
        ({"target": "crop", "sees": "augmented", "mse": 1.0, "aam": 0.0}, torch_teacher()),
        ({"target": "utterance", "aam": 0.0}, torch_teacher()),
        (
            {
                "target": "utterance",
                "aam": 0.0,
                "similarity": 0.0,
                "cosine": 0.0,
                "neighbours": 1.0,
            },
            FakeEncoder(),
        ),
    ],
)
def test_a_student_comes_nearer_to_its_teacher(
    corpus: Path, tmp_path: Path, distill: dict[str, Any], teacher: Any
) -> None:
    out = tmp_path / "out"
    settings = config(
        corpus,
        out,
        train={"epochs": 2, "save_every": 0, "curves": False},
        distill={"teacher": "given", **distill},
        validate={"every": 0},
    )
    assert train(settings, teacher=teacher) == out / "last.pt"
    steps = [line for line in curve(out) if line["kind"] == "step"]
    watched = "neighbours" if "neighbours" in distill else "cosine"
    assert steps[-1][watched] < steps[0][watched]
    assert ("accuracy" in steps[0]) == (distill["aam"] > 0)
    assert bool(load(out / "last.pt").projection) == (teacher.card.embedding_size != 16)
    if distill["target"] == "utterance":
        assert list((out / "teacher").glob("*.f32"))


def test_voices_without_names_train_beside_those_with(corpus: Path, tmp_path: Path) -> None:
    nameless = read_manifest(corpus / "val.jsonl")
    write_manifest(nameless, tmp_path / "nameless.jsonl")
    out = tmp_path / "out"
    lists = {"unlabelled": str(tmp_path / "nameless.jsonl"), "sampler": "shuffled"}
    common = {"train": {"epochs": 1, "curves": False}, "validate": {"every": 0}}
    settings = config(corpus, out, data=lists, distill={"teacher": "given"}, **common)
    train(settings, teacher=FakeEncoder())
    assert load(out / "last.pt").head["weight"].shape == (8, 16)
    with pytest.raises(SettingsError, match="data.sampler=shuffled"):
        config(corpus, out, data={**lists, "sampler": "pk"}, distill={"teacher": "given"})


@pytest.mark.parametrize("source", ["files", "packed"])
def test_a_recording_that_was_cut_anew_is_heard_anew(tmp_path: Path, source: str) -> None:
    """Another sound in the same file, of the same length under the same id."""
    corpus = write_corpus(tmp_path / "corpus")
    teacher = FakeEncoder()
    settings = {
        "train": {"max_steps": 1, "save_every": 0},
        "data": {"source": source, "packed": str(tmp_path / "train.i16")},
        "distill": {
            "teacher": "given",
            "target": "utterance",
            "aam": 0.0,
            "cache": str(tmp_path / "cache"),
        },
        "validate": {"every": 0},
    }
    for n, heard in ((1, 32), (2, 0)):
        teacher.shapes.clear()
        train(config(corpus, tmp_path / f"out{n}", **settings), teacher=teacher)
        assert len(teacher.shapes) == heard
    path = corpus / "train" / "s003" / "2.wav"
    times = path.stat()
    waveform, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, waveform[::-1], rate)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    teacher.shapes.clear()
    train(config(corpus, tmp_path / "out3", **settings), teacher=teacher)
    assert len(teacher.shapes) == 1


def test_a_pack_teaches_without_the_recordings_that_it_was_made_of(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    utterances = read_manifest(corpus / "train.jsonl")
    packed = tmp_path / "train.i16"
    assert pack(utterances, packed) == []
    before, n_bytes = PackedSource(packed, utterances), packed.stat().st_size
    files = FileSource(utterances)
    versions = [before.version(i) for i in range(len(utterances))]
    assert versions == [files.version(i) for i in range(len(utterances))]
    assert len(set(versions)) == len(utterances)
    shutil.rmtree(corpus / "train")
    assert pack(utterances, packed) == [] and packed.stat().st_size == n_bytes
    after = PackedSource(packed, utterances)
    assert [after.version(i) for i in range(len(utterances))] == versions
    assert len(after.read(5, 0.0, 1.0))

"""A whole run on synthetic voices: what it leaves, and that a stopped one goes on bit for bit."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

from groove.errors import (  # noqa: E402
    CorpusError,
    GrooveError,
    ModelError,
    SettingsError,
    TrainingError,
    UnreadableAudio,
)
from groove.manifest import read_manifest, write_manifest  # noqa: E402
from groove.training import loop, material, runlog  # noqa: E402
from groove.training.averaging import average_checkpoints  # noqa: E402
from groove.training.checkpoint import load, load_encoder, save  # noqa: E402
from groove.training.composing import compose  # noqa: E402
from groove.training.config import TrainConfig  # noqa: E402
from groove.training.loop import train  # noqa: E402
from groove.training.networks import Network  # noqa: E402
from groove.training.run import Run  # noqa: E402
from groove.training.runlog import read_log  # noqa: E402
from groove.training.student import Student, lost_centres, make_head, open_student  # noqa: E402
from groove.training.typed import from_mapping  # noqa: E402
from groove.training.validation import Validator  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.fakes import FakeEncoder  # noqa: E402
from tests.training.sounds import write_noise  # noqa: E402
from tests.training.tiny import config, curve, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert train(config(corpus, out, train={"average": 2, "curves": True})) == out / "best.pt"
    return out


def test_a_run_leaves_what_it_promises(whole: Path, corpus: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert {"last.pt", "best.pt", "average.pt", "config.json", "log.jsonl", "curves.png"} <= names
    assert not [name for name in names if name.endswith(".part")]
    last = load(whole / "last.pt")
    assert last.speakers == [f"s{i:03d}" for i in range(8)]
    assert last.progress["step"] == 8 and last.progress["epoch"] == 2
    assert last.config == json.loads((whole / "config.json").read_text("utf-8"))
    lines = read_log(whole / "log.jsonl")
    assert [line["kind"] for line in lines].count("step") == 8
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2] and epochs[0]["n_target"] == 36
    assert {"loss", "accuracy", "lr", "margin_rad", "crops_per_s", "loader_wait"} <= set(lines[1])
    module, card = load_encoder(whole / "best.pt")
    assert card.embedding_size == 16 and card.architecture == "ECAPA-TDNN C16"
    assert module(torch.zeros(1, 8000)).shape == (1, 16)


def test_the_average_is_the_mean_of_the_last_epochs(whole: Path) -> None:
    mean = load(whole / "average.pt").model
    epochs = [load(whole / f"epoch-{i:04d}.pt").model for i in (1, 2)]
    for name, value in mean.items():
        wanted = (epochs[0][name].double() + epochs[1][name].double()) / 2
        assert torch.allclose(
            value.double(), wanted, atol=0.5 if value.dtype == torch.int64 else 1e-6
        )
    one, two = (load(whole / f"epoch-{i:04d}.pt").head["weight"] for i in (1, 2))
    assert not torch.allclose(one, two, atol=1e-4)
    assert torch.allclose(load(whole / "average.pt").head["weight"], (one + two) / 2, atol=1e-6)


def test_the_average_holds_the_mean_of_the_projections_too(tmp_path: Path, whole: Path) -> None:
    saved, paths = load(whole / "last.pt"), [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, value in zip(paths, (1.0, 4.0), strict=True):
        save(replace(saved, projection={"weight": torch.full((2, 2), value)}), path)
    mean = average_checkpoints(paths)
    assert torch.equal(mean.projection["weight"], torch.full((2, 2), 2.5))
    assert torch.equal(mean.head["weight"], saved.head["weight"])
    save(replace(saved, head={}), paths[1])
    with pytest.raises(ModelError, match="different networks"):
        average_checkpoints(paths)


def test_the_same_seed_gives_the_same_run_whatever_the_number_of_workers(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    train(config(corpus, tmp_path / "out", train={"average": 2}, data={"workers": 2}))
    assert curve(tmp_path / "out") == curve(whole)


Patch = pytest.MonkeyPatch


def signal_after(step: int, number: int, patch: Patch) -> None:
    """Send this process a signal right after a step was taken."""
    take = loop.take_step

    def take_and_signal(run: Run, *rest: Any) -> Any:
        taken = take(run, *rest)
        if run.progress.step == step:
            os.kill(os.getpid(), number)
        return taken

    patch.setattr(loop, "take_step", take_and_signal)


def killed_after(step: int, settings: TrainConfig) -> None:
    """Train in a process of its own that is killed right after a step.

    It is a new process and no fork: see tests/training/test_ddp.py.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=train_until_killed, args=(step, settings)
    )
    process.start()
    process.join(timeout=200)
    exitcode = process.exitcode
    process.kill()  # where it still runs, pytest could not end
    process.join()
    assert exitcode == -signal.SIGKILL


def train_until_killed(step: int, settings: TrainConfig) -> None:
    """What the process does; had it lived on, it would end with 3."""
    signal_after(step, signal.SIGKILL, Patch())
    train(settings)
    os._exit(3)


def assert_same_state(out: Path, whole: Path) -> None:
    ours, theirs = (load(folder / "last.pt") for folder in (out, whole))
    for part in ("model", "head", "rng"):
        for name, value in getattr(theirs, part).items():
            assert torch.equal(getattr(ours, part)[name], value), name
    states = [checkpoint.optimizer["state"] for checkpoint in (ours, theirs)]
    assert all(
        torch.equal(states[0][key][name], value)
        for key, state in states[1].items()
        for name, value in state.items()
    )


@pytest.mark.parametrize(("kill", "saved"), [(5, (1, 0, 4)), (3, (0, 2, 2))])
def test_a_killed_run_goes_on_to_the_same_numbers_bit_for_bit(
    whole: Path, corpus: Path, tmp_path: Path, kill: int, saved: tuple[int, int, int]
) -> None:
    """Once from the end of an epoch, once from the middle, each in a process of its own."""
    out, often = tmp_path / "out", {"average": 2, "save_every": 2}
    killed_after(kill, config(corpus, out, train=often))
    found = load(out / "last.pt").progress
    assert (found["epoch"], found["batch"], found["step"]) == saved
    again = [sys.executable, "train.py", "resume=true", f"train.out_dir={out}"]
    done = subprocess.run(again, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr
    assert curve(out) == curve(whole)
    assert_same_state(out, whole)


def test_sigterm_saves_and_says_how_to_go_on(
    whole: Path, corpus: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        signal_after(6, signal.SIGTERM, patch)
        with pytest.raises(TrainingError, match="stopped by SIGTERM after step 6.*resume=true"):
            train(config(corpus, out, train={"average": 2}))
    assert load(out / "last.pt").progress["step"] == 6
    train(config(corpus, out, resume=True, train={"average": 2}))
    assert curve(out) == curve(whole)
    assert_same_state(out, whole)


def test_a_run_is_not_overwritten_nor_continued_as_another(whole: Path, corpus: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run already; go on with resume=true"):
        train(config(corpus, whole, train={"average": 2}))
    with pytest.raises(TrainingError, match=r"was trained with train.lr=0.002, now it is 0.1"):
        train(config(corpus, whole, resume=True, train={"average": 2, "lr": 0.1}))
    with pytest.raises(TrainingError, match="no run to go on with"):
        train(config(corpus, whole.parent / "none", resume=True))


def test_a_run_of_an_older_version_goes_on_as_it_began(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    """What was ignored then is refused now, and the trials of best.pt were drawn from all."""
    out = tmp_path / "out"
    out.mkdir()
    saved = load(whole / "last.pt")
    then = {name: dict(v) if isinstance(v, dict) else v for name, v in saved.config.items()}
    del then["validate"]["per_speaker"]
    then["augment"] |= {"noise_folders": ["gone"], "noise_pack": "gone.i16"}
    then["data"]["batch_size"], then["distill"]["aam"] = 999, 0.5
    then["train"]["out_dir"] = str(out)
    save(replace(saved, config=then), out / "last.pt")
    config = compose("train", ["resume=true", f"train.out_dir={out}"])
    assert config.validate.per_speaker == 0 and config.augment.noise_folders == ()
    config = compose("train", ["resume=true", f"train.out_dir={out}", "train.epochs=3"])
    train(config)
    assert load(out / "last.pt").progress["epoch"] == 3
    assert load(out / "last.pt").config["validate"]["per_speaker"] == 0


def test_a_run_goes_on_with_the_lists_it_began_with_only(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    """The same speakers are not enough: one utterance less is another epoch, or another EER."""
    out, lists = tmp_path / "out", {"train": tmp_path / "t.jsonl", "val": tmp_path / "v.jsonl"}
    shutil.copytree(whole, out)
    saved = load(out / "last.pt")
    data = {name: str(path) for name, path in lists.items()}
    new = replace(saved, config=saved.config | {"data": saved.config["data"] | data})
    old = replace(new, progress={k: v for k, v in new.progress.items() if k != "lists"})
    for changed, path in lists.items():
        for name, other in lists.items():
            utterances = read_manifest(corpus / f"{name}.jsonl")
            moved = [replace(u, path=tmp_path / u.utterance_id) for u in utterances]
            for utterance in moved:
                utterance.path.touch()
            write_manifest(moved[1:] if name == changed else moved, other)
        save(new, out / "last.pt")
        with pytest.raises(TrainingError, match=f"data.{changed}={path}: its utterances, their "):
            train(config(corpus, out, resume=True, train={"average": 2}, data=data))
        save(old, out / "last.pt")  # of an older Groove
        train(config(corpus, out, resume=True, train={"average": 0}, data=data))


def test_a_finished_run_that_is_continued_with_more_epochs_trains_those_and_says_what_jumps(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exponential by hand: 2e-3 falls to 1e-5 over the run, whose half is 1.41e-4."""
    out = tmp_path / "out"
    train(config(corpus, out, train={"epochs": 1}))
    train(config(corpus, out, resume=True, train={"epochs": 1}))
    said = capsys.readouterr().err
    assert "schedule" not in said and "finished before, after step 4" in said
    train(config(corpus, out, resume=True, train={"epochs": 2}))
    assert load(out / "last.pt").progress["epoch"] == 2
    (said,) = [x for x in capsys.readouterr().err.splitlines() if "schedule" in x]
    assert said == (
        "schedule stretched from 4 to 8 steps: at step 4 the learning rate is now 0.000141 where "
        "it was 1e-05, the margin 0.2 where it was 0.2"
    )
    steps = [line for line in curve(out) if line["kind"] == "step"]
    assert steps[4]["lr"] == pytest.approx((2e-3 * 1e-5) ** 0.5)


def test_a_run_goes_on_with_the_noises_and_rooms_it_began_with_only(
    corpus: Path, tmp_path: Path
) -> None:
    out, sounds = tmp_path / "out", {"noise": tmp_path / "noise", "rir": tmp_path / "responses"}

    def write(path: Path, seconds: float, seed: int) -> None:
        write_noise(path, seconds, seed=seed)
        if path.parent == sounds["rir"]:
            noise, rate = soundfile.read(path)
            soundfile.write(path, noise * np.exp(-np.arange(len(noise)) / 1000), rate)

    for seed, folder in enumerate(sounds.values()):
        write(folder / "a.wav", 0.5, seed=seed)
    augment = {f"{name}_folders": [str(folder)] for name, folder in sounds.items()}
    changes = {
        "augment": augment | {"noise_probability": 0.5, "reverb_probability": 0.5},
        "train": {"max_steps": 1},
        "validate": {"every": 0},
    }
    train(config(corpus, out, **changes))
    saved = load(out / "last.pt")
    old = {"data.train": saved.progress["lists"]["data.train"]}
    train(config(corpus, out, resume=True, **changes))
    for name, folder in sounds.items():
        said = rf"augment.{name}_folders=\[{folder}\]: its files, by name and size, are not those"
        held = (folder / "a.wav").read_bytes()
        for changed in ("b.wav", "a.wav"):  # a file more; then another one under the old name
            write(folder / changed, 0.6, seed=7)
            save(saved, out / "last.pt")
            with pytest.raises(TrainingError, match=f"{said} .*or start anew"):
                train(config(corpus, out, resume=True, **changes))
            save(replace(saved, progress=saved.progress | {"lists": old}), out / "last.pt")
            train(config(corpus, out, resume=True, **changes))  # a checkpoint of an older Groove
            (folder / changed).unlink()
        (folder / "a.wav").write_bytes(held)


def test_epochs_after_an_average_do_not_replace_a_better_best(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    """The average becomes best.pt after last.pt was written, which then knows a worse best EER."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for name, best_eer in (("last.pt", 1.0), ("best.pt", 0.0)):
        saved = load(out / name)
        save(replace(saved, progress=saved.progress | {"best_eer": best_eer}), out / name)
    before = (out / "best.pt").read_bytes()
    train(config(corpus, out, resume=True, train={"average": 2, "epochs": 3}))
    assert (out / "best.pt").read_bytes() == before
    assert load(out / "last.pt").progress["best_eer"] == 0.0


def test_of_the_epochs_only_those_to_be_averaged_are_kept(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(config(corpus, out, train={"epochs": 4, "average": 2}, validate={"every": 0}))
    assert sorted(x.name for x in out.glob("epoch-*")) == ["epoch-0003.pt", "epoch-0004.pt"]


def test_a_loss_that_is_not_finite_stops_the_run_with_the_batch_saved(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    poisoned, out = tmp_path / "poisoned.pt", tmp_path / "out"
    healthy = load(whole / "last.pt")
    healthy.model["linear.weight"][0, 0] = torch.nan
    save(healthy, poisoned)
    with pytest.raises(TrainingError, match="step 1: loss is nan; the batch is saved in .*lower"):
        train(config(corpus, out, train={"init": str(poisoned)}))
    batch = torch.load(out / "bad_batch.pt", weights_only=True)
    assert len(batch["utterance_ids"]) == 8 == len(batch["draws"])
    assert batch["waveform"].shape[0] == 8 and batch["speaker_index"].shape == (8,)
    assert not (out / "last.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"p": 9}}, "8 speakers are fewer than p = 9"),
        ({"train": {"accumulate": 9}}, "train.accumulate: got 9, but a batch has 8 crops, and"),
        ({"data": {"train": "no.jsonl"}}, r"no.jsonl: no such list; .* data.train=FOLDER/no.jsonl"),
        ({"data": {"val": "no.jsonl"}}, r"no.jsonl: no such list; .* data.val=FOLDER/no.jsonl"),
        ({"augment": {"noise_probability": 0.5, "noise_folders": ["absent"]}}, "does not exist"),
        ({"train": {"device": "cuda:7"}}, "train.device=cuda:7: not usable here"),
        ({"train": {"memory_cap_gb": 5.5}}, "is for GPUs"),
        ({"train": {"init": "absent.pt"}}, "absent.pt: no such checkpoint"),
        ({"distill": {"teacher": "campplus-zh-en"}}, "go together"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line_and_leaves_no_checkpoint(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(GrooveError, match=message):
        train(config(corpus, tmp_path / "out", **changes))
    assert not list(tmp_path.glob("out/*.pt"))


def test_one_speaker_only_and_shared_speakers_are_refused(corpus: Path, tmp_path: Path) -> None:
    utterances = read_manifest(corpus / "train.jsonl")
    write_manifest([u for u in utterances if u.speaker_id == "s000"], tmp_path / "one.jsonl")
    with pytest.raises(SettingsError, match="one.jsonl: 1 speaker; .* at least two"):
        train(config(corpus, tmp_path / "out", data={"train": str(tmp_path / "one.jsonl")}))
    with pytest.raises(SettingsError, match="8 of its speakers are trained on"):
        train(config(corpus, tmp_path / "out", data={"val": str(corpus / "train.jsonl")}))
    write_manifest([u for u in utterances if u.utterance_id.endswith("-0")], tmp_path / "v.jsonl")
    write_manifest(read_manifest(corpus / "val.jsonl"), tmp_path / "t.jsonl")
    with pytest.raises(SettingsError, match="0 target trials"):
        lists = {"train": str(tmp_path / "t.jsonl"), "val": str(tmp_path / "v.jsonl")}
        train(config(corpus, tmp_path / "out", data=lists, train={"p": 4}))


@pytest.mark.parametrize("name", ["train.jsonl", "val.jsonl"])
def test_the_lists_of_a_preparation_that_was_killed_are_refused(tmp_path: Path, name: str) -> None:
    corpus, other = write_corpus(tmp_path / "corpus"), tmp_path / "other"
    other.mkdir()
    (other / "probed.jsonl").touch()
    (other / name).write_bytes((corpus / name).read_bytes())
    with pytest.raises(CorpusError, match=r"no prepared\.json, so it was not prepared to the end"):
        train(config(corpus, tmp_path / "out", data={Path(name).stem: str(other / name)}))


def test_a_corrupt_utterance_is_left_out_and_many_stop_the_run(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "train" / "s003" / "2.wav").write_bytes(b"no sound")
    train(config(corpus, tmp_path / "out", train={"epochs": 1}))
    (event,) = [x for x in read_log(tmp_path / "out" / "log.jsonl") if x["kind"] == "event"]
    assert event["text"].startswith("s003-2: left out: ") and 1 <= event["step"] <= 4
    for speaker in range(4):
        (corpus / "train" / f"s{speaker:03d}" / "1.wav").write_bytes(b"no sound")
    with pytest.raises(UnreadableAudio, match="utterances are corrupt, more than 1 %"):
        train(config(corpus, tmp_path / "out2", train={"epochs": 1}))


def test_a_full_disk_stops_the_run_and_keeps_the_checkpoint_before(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = (out / "last.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))  # acts as a full disk does
    try:
        with pytest.raises(TrainingError, match="cannot be written .*still there"):
            train(config(corpus, out, resume=True, train={"average": 2, "epochs": 3}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (out / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("writes", "name", "how"),
    [
        ("runlog.write_lines", "log.jsonl", "nothing was trained yet: start again"),
        ("runlog._summary_writer", "tensorboard", "start again, .*train.tensorboard=false"),
        ("run.write_lines", "config.json", "nothing was trained yet: start again"),
        ("loop.draw_curves", "curves.png", "last.pt is saved: .*resume=true, .*curves=false"),
    ],
)
def test_a_disk_that_fills_beside_the_checkpoints_is_one_line_that_says_how_to_go_on(
    corpus: Path, tmp_path: Path, monkeypatch: Patch, writes: str, name: str, how: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out, some = tmp_path / "out", {"max_steps": 1, "tensorboard": True, "curves": True}
    with monkeypatch.context() as patch:
        patch.setattr(f"groove.training.{writes}", full)
        with pytest.raises(TrainingError, match=rf"^{out / name}: .* \(No space .*\); .*{how}"):
            train(config(corpus, out, train=some, validate={"every": 0}))
    saved = (out / "last.pt").exists()
    assert saved == ("resume=true" in how)
    train(config(corpus, out, resume=saved, train=some, validate={"every": 0}))


def test_a_gpu_that_is_full_is_one_line_that_says_what_to_set(
    corpus: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    take, out = loop.take_step, tmp_path / "out"
    full = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 6 GiB\nx"

    def take_until_full(run: Run, *rest: Any) -> Any:
        if run.progress.step == 2:
            raise torch.OutOfMemoryError(full)
        return take(run, *rest)

    monkeypatch.setattr(loop, "take_step", take_until_full)
    said = r"step 3: no memory is left on cpu \(CUDA out of memory. Tried to allocate 2.00 GiB\); "
    cure = r"start again with train.accumulate={0} \(8 crops in {0} parts\), .*or data.batch_size\)"
    with pytest.raises(TrainingError, match=f"{said}{cure.format(2)}$"):
        train(config(corpus, out))
    kept = f"{out / 'last.pt'} is as it was before; {cure.format(4)}, in another train.out_dir$"
    with pytest.raises(TrainingError, match=said + kept):
        train(config(corpus, out, train={"save_every": 1, "accumulate": 2}))
    assert load(out / "last.pt").progress["step"] == 2


def test_cudnn_tries_its_algorithms_for_crops_of_one_length_only(
    corpus: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Validation's lengths differ, and each would cost a search."""
    measure, seen = Validator.__call__, []

    def watched(self: Validator, *rest: Any) -> Any:
        seen.append(torch.backends.cudnn.benchmark)
        return measure(self, *rest)

    monkeypatch.setattr(Validator, "__call__", watched)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    train(config(corpus, tmp_path / "out"))
    assert seen == [False, False] and torch.backends.cudnn.benchmark


def test_what_killed_runs_have_left_in_the_folder_goes_when_one_starts(
    corpus: Path, tmp_path: Path
) -> None:
    out, ended = tmp_path / "out", subprocess.Popen(["true"])
    ended.wait()
    out.mkdir()
    gone = [f".{name}.{ended.pid}.part" for name in ("last.pt", "log.jsonl", "config.json")]
    kept = [f".last.pt.{os.getppid()}.part", "last.part", ".notes.part"]
    short = {"train": {"max_steps": 1}, "validate": {"every": 0}}
    for resume in (False, True):
        for name in (*gone, *kept):
            (out / name).touch()
        train(config(corpus, out, resume=resume, **short))
        assert sorted(x.name for x in out.iterdir() if x.name.endswith(".part")) == sorted(kept)


def test_the_time_that_is_left_does_not_count_what_comes_before_the_first_step(
    corpus: Path, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher that takes 1,000 s for an utterance, by a clock that it moves."""
    late = [0.0]

    class Slow(FakeEncoder):
        def __call__(self, waveforms: Any) -> Any:
            late[0] += 1000
            return super().__call__(waveforms)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late[0])
    monkeypatch.setattr(runlog, "time", clock)
    settings = {"train": {"max_steps": 2}, "validate": {"every": 0}}
    distill = {"teacher": "given", "target": "utterance", "aam": 0.0}
    train(config(corpus, tmp_path / "out", distill=distill, **settings), teacher=Slow())
    assert late[0] == 32_000 and re.search(r"1/2 .*ETA 0:0\d:", capsys.readouterr().err)


def test_half_precision_runs_and_keeps_the_scaler(corpus: Path, tmp_path: Path) -> None:
    for precision in ("bf16", "fp16"):
        out = tmp_path / precision
        train(config(corpus, out, train={"epochs": 1, "precision": precision}))
        losses = [line["loss"] for line in curve(out) if line["kind"] == "step"]
        assert len(losses) == 4 and np.isfinite(losses).all()
        assert bool(load(out / "last.pt").scaler) == (precision == "fp16")
    # A run that goes on does so at the scale that it had found, 64 times below the first one.
    saved = load(out / "last.pt")
    save(replace(saved, scaler=saved.scaler | {"scale": 1024.0}), out / "last.pt")
    train(config(corpus, out, resume=True, train={"epochs": 2, "precision": "fp16"}))
    assert load(out / "last.pt").progress["step"] == 8
    assert load(out / "last.pt").scaler["scale"] == 1024.0


def test_gradients_that_no_loss_scale_makes_finite_stop_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Each skipped step halves the scale: from 4 it is below 1 after three."""
    take, out = loop.take_step, tmp_path / "out"

    def take_poisoned(run: Run, *rest: Any) -> Any:
        if run.progress.step == 0:
            run.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
            weight = run.objective.backbone.get_parameter("linear.weight")
            weight.register_hook(lambda gradient: gradient * torch.inf)
        return take(run, *rest)

    monkeypatch.setattr(loop, "take_step", take_poisoned)
    with pytest.raises(TrainingError, match="step 3: grad_norm is inf though fp16's .* below 1;"):
        fp16 = {"epochs": 1, "precision": "fp16", "save_every": 0}
        train(config(corpus, out, train=fp16, validate={"every": 0}))
    assert (out / "bad_batch.pt").is_file()
    text = (out / "log.jsonl").read_text("utf-8")
    assert text.count('"grad_norm": null') == 2 and "NaN" not in text and "Infinity" not in text


def test_training_starts_from_a_checkpoint_and_known_speakers_keep_their_centres(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    utterances = read_manifest(corpus / "train.jsonl") + read_manifest(corpus / "val.jsonl")
    kept = [u for u in utterances if u.speaker_id in ("s001", "s004", "s100", "s101")]
    write_manifest(kept, tmp_path / "fewer.jsonl")
    rest = [u for u in utterances if u.speaker_id in ("s102", "s103")]
    write_manifest(rest, tmp_path / "v.jsonl")
    out = tmp_path / "tuned"
    lists = {"train": str(tmp_path / "fewer.jsonl"), "val": str(tmp_path / "v.jsonl")}
    start = {"init": str(whole / "last.pt"), "lr": 1e-12, "epochs": 1, "emb_dim": 99, "p": 4}
    train(config(corpus, out, data=lists, train=start, schedule={"final_lr": 1e-12}))
    before, after = load(whole / "last.pt"), load(out / "last.pt")
    assert after.network == before.network and after.config["train"]["emb_dim"] == 16
    assert after.speakers == ["s001", "s004", "s100", "s101"]
    assert after.card.parent == str(whole / "last.pt")
    assert (before.card.name, after.card.name) == ("out", "tuned")
    centres = after.head["weight"]
    assert torch.allclose(centres[:2], before.head["weight"][[1, 4]], atol=1e-6)
    assert centres.shape == (4, 16)
    weights = [name for name, value in before.model.items() if name.endswith("conv.weight")]
    assert all(torch.allclose(after.model[n], before.model[n], atol=1e-6) for n in weights)
    assert not [line for line in read_log(out / "log.jsonl") if line["kind"] == "event"]
    # and goes on, though its settings ask for another size than the checkpoint's
    more = {"train": start | {"epochs": 2}, "data": lists, "schedule": {"final_lr": 1e-12}}
    train(config(corpus, out, resume=True, **more))
    gone_on = load(out / "last.pt")
    assert gone_on.progress["epoch"] == 2 and gone_on.network == before.network
    with pytest.raises(TrainingError, match="was trained with train.k=2, now it is 4"):
        train(config(corpus, out, resume=True, **more | {"train": start | {"k": 4}}))


def test_centres_of_another_number_are_new_and_the_run_says_so() -> None:
    student = Student(cast(Any, None), cast(Any, None), Network("ecapa", 16, 16))
    rows = {name: torch.randn(3, 16) for name in ("a", "b", "elsewhere")}
    student, speakers = replace(student, rows=rows), ["a", "b", "new"]
    for sub_centers, said in (
        (3, ""),
        (1, "2 speakers that x.pt knows begin with new .* 3 of each, .* is 1; .*sub_centers=3"),
    ):
        settings = {"train": {"init": "x.pt"}, "head": {"sub_centers": sub_centers}}
        settings["data"] = {"speeds": [1.0]}
        chosen = from_mapping(TrainConfig, settings)
        head = make_head(chosen, student, speakers)
        kept = torch.equal(head.weight[:sub_centers], rows["a"][:sub_centers])
        assert kept == (sub_centers == 3)
        assert re.fullmatch(said, lost_centres(chosen, student, speakers).rpartition(" to")[0])


def test_from_three_speeds_to_one_known_speakers_keep_the_centres_of_their_plain_speed(
    corpus: Path, tmp_path: Path
) -> None:
    out, head = tmp_path / "out", {"sub_centers": 2}
    speeds, short = {"speeds": [1.0, 0.9, 1.1]}, {"train": {"max_steps": 1}}
    train(config(corpus, out, data=speeds, head=head, validate={"every": 0}, **short))
    before = load(out / "last.pt").head["weight"].view(3, 8, 2, 16)  # by speed, then by speaker
    start = {"init": str(out / "last.pt")}
    fine = config(corpus, tmp_path / "fine", train=start, data={"speeds": [1.0]}, head=head)
    student, speakers = open_student(fine, None), ["s005", "new", "s002"]
    after = make_head(fine, student, speakers).weight.view(3, 2, 16)
    assert torch.equal(after[0], before[0, 5]) and torch.equal(after[2], before[0, 2])
    assert not any(torch.equal(after[1], known) for known in before.flatten(0, 1))
    assert lost_centres(fine, student, speakers) == ""


def test_a_run_that_ended_in_the_middle_of_an_epoch_goes_on_there(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    """Of two epochs of four steps; the rates stretch, the batches are those of one run."""
    out = tmp_path / "out"
    train(config(corpus, out, train={"max_steps": 3, "average": 2}))
    saved = load(out / "last.pt").progress
    assert (saved["epoch"], saved["batch"], saved["step"]) == (0, 3, 3)
    assert sorted(x.name for x in out.glob("epoch-*")) == ["epoch-0001.pt"]
    train(config(corpus, out, resume=True, train={"average": 2, "max_steps": 0}))
    ours, theirs = (load(folder / "last.pt").progress for folder in (out, whole))
    assert (ours["epoch"], ours["batch"], ours["step"]) == (2, 0, 8)
    assert (theirs["epoch"], theirs["batch"], theirs["step"]) == (2, 0, 8)
    assert [line["epoch"] for line in curve(out) if line["kind"] == "epoch"] == [1, 1, 2]


def test_the_shuffled_sampler_and_sub_centers_and_speeds_train_too(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(
        config(
            corpus,
            out,
            train={"epochs": 1, "accumulate": 2},
            data={"sampler": "shuffled", "batch_size": 8, "speeds": [1.0, 0.9]},
            head={"sub_centers": 2},
        )
    )
    assert load(out / "last.pt").head["weight"].shape == (8 * 2 * 2, 16)


def test_packed_waveforms_give_the_same_run_as_files(
    whole: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    packed = {"source": "packed", "packed": str(tmp_path / "train.i16")}
    train(config(corpus, out, train={"average": 2}, data=packed))
    assert curve(out) == curve(whole)


def test_of_a_corpus_far_larger_than_its_cache_nothing_is_kept(
    corpus: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """It is heard as from a cache all the same: rounded to 16 bits."""
    runs, needed = {}, sum(2 * 16_000 * u.seconds for u in read_manifest(corpus / "train.jsonl"))
    for name, budget in (("kept", 1 << 30), ("read", int(needed / 21))):  # one would fit
        monkeypatch.setattr(material, "CACHE_BYTES", budget)
        kept: list[int] = []
        real = material.CachedSource
        monkeypatch.setattr(
            material,
            "CachedSource",
            lambda *given, kept=kept, real=real: kept.append(real(*given)._n_kept) or real(*given),
        )
        train(config(corpus, tmp_path / name, train={"max_steps": 2}, validate={"every": 0}))
        monkeypatch.setattr(material, "CachedSource", real)
        runs[name] = kept[0], curve(tmp_path / name)
    assert runs["kept"][0] == 32 and runs["read"][0] == 0
    assert runs["kept"][1] == runs["read"][1]


def test_unreadable_validation_recordings_are_counted(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "val" / "s100" / "0.wav", np.zeros(0, np.float32), 16_000)
    out = tmp_path / "out"
    train(config(corpus, out, train={"epochs": 1}))
    assert [line["n_unreadable"] for line in curve(out) if line["kind"] == "epoch"] == [1]


def test_ctrl_c_is_given_back(corpus: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(GrooveError):
        train(config(corpus, tmp_path / "out", data={"train": "absent"}))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

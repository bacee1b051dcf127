"""Public checkpoints: what fits is taken, what does not is named, and nothing in a file is run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from groove.audio import read_audio
from groove.encoder import OnnxEncoder
from groove.errors import CardError, ImportMismatch, ModelError
from groove.training.encoder import TorchEncoder
from groove.training.importers import (
    KINDS,
    convert_checkpoint,
    import_checkpoint,
    read_state,
)
from tests.conftest import ROOT, VOICE_B
from tests.training.published import published_state, save

pytestmark = pytest.mark.torch
ECAPA = "wespeaker-ecapa"
SMALL = {"channels": 16, "embedding_size": 8}


def small() -> dict[str, torch.Tensor]:
    return published_state(ECAPA, **SMALL)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "avg_model.pt", small())


@pytest.mark.parametrize("kind", list(KINDS))
def test_size_architecture_and_front_end_come_from_the_weights_and_the_kind(
    kind: str, tmp_path: Path
) -> None:
    state = published_state(kind, **SMALL)
    found = import_checkpoint(save(tmp_path / "w.pt", state), kind)
    assert found.card.embedding_size == 8
    assert found.card.architecture == ("ECAPA-TDNN C16" if kind == ECAPA else "CAM++")
    is_3d = kind.startswith("3dspeaker")
    fbank = found.card.fbank
    assert (fbank.window, fbank.sample_scale) == (("povey", 1.0) if is_3d else ("hamming", 32768.0))
    assert (fbank.n_mels, fbank.subtract_mean, fbank.snip_edges) == (80, True, True)
    assert found.card.calibration is None and found.card.thresholds == ()


def test_wrappers_prefixes_and_the_classifier_change_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    wave = read_audio(VOICE_B)[None, :16_000]
    plain = import_checkpoint(checkpoint, ECAPA)
    wanted = TorchEncoder(plain.module, plain.card)(wave)
    state = small()
    with_head = {**state, "projection.weight": torch.zeros(99, 8)}
    for i, other in enumerate(
        (
            {f"module.{name}": value for name, value in state.items()},
            with_head,
            {"model": state, "epoch": 3},
            {"state_dict": {f"module.{n}": v for n, v in with_head.items()}},
        )
    ):
        found = import_checkpoint(save(tmp_path / f"{i}.pt", other), ECAPA)
        assert np.array_equal(TorchEncoder(found.module, found.card)(wave), wanted)


def test_safetensors_are_known_by_their_first_bytes(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "named_wrongly.pt"
    save_file(small(), str(path))
    found, wanted = read_state(path), read_state(checkpoint)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_missing_unexpected_and_misshapen_layers_are_named_as_the_publisher_names_them(
    tmp_path: Path,
) -> None:
    state = small()
    del state["layer2.se_res2block.1.convs.3.weight"]
    state["extra.weight"] = torch.zeros(1)
    state["pool.linear1.weight"] = torch.zeros(128, 1536, 1)  # without global context
    path = save(tmp_path / "w.pt", state)
    with pytest.raises(ImportMismatch) as caught:
        import_checkpoint(path, ECAPA)
    said = str(caught.value)
    assert "missing layers 1 (layer2.se_res2block.1.convs.3.weight)" in said
    assert "unexpected layers 1 (extra.weight)" in said
    assert "layers of another shape 1 (pool.linear1.weight)" in said
    assert "(128, 1536, 1) where (128, 4608, 1) is wanted; is it another kind?" in said
    assert "\n" not in said


def test_the_wrong_kind_is_noticed(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ImportMismatch, match=r"no layer xvector\.dense.*is it another kind"):
        import_checkpoint(checkpoint, "3dspeaker-campplus")
    campplus = save(tmp_path / "c.pt", published_state("3dspeaker-campplus", embedding_size=8))
    with pytest.raises(ImportMismatch, match=r"no layer layer1\.conv\.weight"):
        import_checkpoint(campplus, ECAPA)
    with pytest.raises(ModelError, match=r"kind 'ecapa' is not known; wanted one of 3dspeaker"):
        import_checkpoint(checkpoint, "ecapa")


class Writes:
    """Runs when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_does_not_run(tmp_path: Path, legacy: bool) -> None:
    trap, victim = tmp_path / "hostile.pt", tmp_path / "it_ran"
    value = {"layer1.conv.weight": torch.zeros(16, 80, 5), "evil": Writes(victim)}
    torch.save(value, trap, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match="nothing in it was run"):
        import_checkpoint(trap, ECAPA)
    assert not victim.exists()
    out = tmp_path / "m.onnx"
    done = subprocess.run(
        [sys.executable, "-m", "groove", "import", trap, "--kind", ECAPA, "--out", out],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert not victim.exists() and not out.exists()
    torch.load(trap, weights_only=False)  # the trap is one: whoever loads it carelessly runs it
    assert victim.exists()


def test_a_bare_pickle_does_not_run_either(tmp_path: Path) -> None:
    trap, victim = tmp_path / "hostile.bin", tmp_path / "it_ran"
    trap.write_bytes(pickle.dumps(Writes(victim)))
    with pytest.raises(ModelError, match="nothing in it was run"):
        read_state(trap)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "a list; wanted tensors by name"),
        ({}, "a dict; wanted tensors by name"),
        ({"lr": 0.1}, r"\['lr'\] are no tensors"),
    ],
)
def test_what_holds_no_tensors_is_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_state(save(tmp_path / "w.pt", value))


@pytest.mark.parametrize("data", [b"", b"junk", b"PK\x03\x04", b"\x80\x02junk", b"\0" * 8 + b"{x"])
def test_junk_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "junk.pt"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not a checkpoint of plain tensors") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such checkpoint"):
        read_state(tmp_path / "absent.pt")


def test_convert_writes_a_model_file_with_the_given_card(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    fields = {"name": "mine", "licence": "MIT", "min_speech_s": 0.7}
    assert convert_checkpoint(checkpoint, ECAPA, out, card_fields=fields).startswith("torch ")
    encoder, source = OnnxEncoder(out), import_checkpoint(checkpoint, ECAPA)
    card = encoder.card
    assert (card.name, card.licence, card.min_speech_s) == ("mine", "MIT", 0.7)
    assert card.parent == checkpoint.name
    wave = read_audio(VOICE_B)[None]
    wanted = TorchEncoder(source.module, source.card)(wave)
    assert np.abs(encoder(wave) - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_a_card_field_that_does_not_exist_writes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="thresold"):
        convert_checkpoint(checkpoint, ECAPA, tmp_path / "m.onnx", card_fields={"thresold": 1})
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.name]


def test_the_command_imports_and_compare_then_asks_for_a_threshold(
    checkpoint: Path, tmp_path: Path
) -> None:
    def groove(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "groove", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    out = tmp_path / "ecapa.onnx"
    done = groove("import", checkpoint, "--kind", ECAPA, "--out", out)
    assert (done.returncode, done.stdout.strip()) == (0, str(out))
    asked = groove("compare", VOICE_B, VOICE_B, "--model", out)
    assert asked.returncode == 2 and "ecapa holds no measured thresholds" in asked.stderr
    answered = groove("compare", VOICE_B, VOICE_B, "--model", out, "--threshold", "0.5")
    assert answered.returncode == 0 and "no probability" in answered.stdout

"""A name or a path -> an encoder, and for everything else the next step."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import pytest

import groove
from groove import models
from groove.encoder import OnnxEncoder
from groove.errors import ModelError, UnknownModel
from groove.loading import CHECKPOINT_SUFFIXES, open_encoder
from groove.models import InstalledModel
from tests.modelfiles import TINY_MODEL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROOVE_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def install(name: str) -> None:
    data = TINY_MODEL.read_bytes()
    models.model_path(name).write_bytes(data)
    models.write_record(InstalledModel(name, "", len(data), "", "a test", "nothing", ""))


def test_a_path_is_opened_as_text_or_as_path() -> None:
    for model in (TINY_MODEL, str(TINY_MODEL)):
        encoder = open_encoder(model, threads=1)
        assert isinstance(encoder, OnnxEncoder)
        assert encoder.card.name == "tiny"


def test_a_pulled_model_is_opened_from_the_model_folder(folder: Path) -> None:
    with pytest.raises(UnknownModel, match="groove models pull campplus-zh-en"):
        open_encoder("campplus-zh-en")
    install("campplus-zh-en")
    encoder = open_encoder("campplus-zh-en")
    assert isinstance(encoder, OnnxEncoder) and encoder.path.parent == folder


def test_the_default_is_in_the_package_and_needs_no_folder(folder: Path) -> None:
    package = Path(groove.__file__).parent
    for model in (None, models.DEFAULT):
        encoder = open_encoder(model, threads=1)
        assert isinstance(encoder, OnnxEncoder)
        assert encoder.path.is_relative_to(package) and encoder.card.name == models.DEFAULT
    with pytest.raises(UnknownModel, match="is part of the package; there is nothing to pull"):
        models.entry(models.DEFAULT)


@pytest.mark.parametrize("suffix", sorted(CHECKPOINT_SUFFIXES))
def test_a_checkpoint_is_sent_to_the_importer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"avg_model{suffix.upper()}"
    path.write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"groove import .* --kind KIND --out avg_model\.onnx"):
        open_encoder(path)


def test_an_archive_that_swells_is_not_read_whole(tmp_path: Path) -> None:
    """A few kilobytes that claim to be 256 MB: opening looks at the beginning alone."""
    path = tmp_path / "swells.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w") as member,
    ):
        for _ in range(256):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="groove import"):
            open_encoder(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("model", ["nothing", "nothing.onnx", "nothing.pt", "", "."])
def test_neither_name_nor_file_lists_the_known_names(model: str) -> None:
    with pytest.raises(
        UnknownModel, match=r"no model of that name \(known: groove-ecapa, campplus-zh-en"
    ):
        open_encoder(model)

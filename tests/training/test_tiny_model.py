"""The committed tiny model is what its script makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groove.audio import read_audio
from groove.encoder import OnnxEncoder
from groove.training.export import export_onnx
from tests.conftest import VOICE_B
from tests.data.model.make_tiny_model import TINY_MODEL, tiny_card, tiny_module

pytestmark = pytest.mark.torch


def test_the_script_makes_the_committed_file_again(tmp_path: Path) -> None:
    made = OnnxEncoder(export_onnx(tiny_module(), tiny_card(), tmp_path / "tiny.onnx"))
    kept = OnnxEncoder(TINY_MODEL)
    assert made.card == kept.card
    voice = read_audio(VOICE_B)[None]
    assert np.allclose(made(voice), kept(voice), atol=1e-4 * np.abs(kept(voice)).max())


def test_it_is_small_and_its_card_claims_nothing() -> None:
    card = OnnxEncoder(TINY_MODEL).card
    assert TINY_MODEL.stat().st_size < 300_000
    assert card.calibration is not None
    said = {table.measured_on for table in card.thresholds} | {card.calibration.measured_on}
    assert said == {"made up for tests"}

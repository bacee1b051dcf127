"""Crops of another length in every step: which, and that a resumed run draws the same."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from groove.errors import SettingsError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.training import step  # noqa: E402
from groove.training.batch import Batch  # noqa: E402
from groove.training.config import TrainConfig  # noqa: E402
from groove.training.frontend import FbankFrontEnd  # noqa: E402
from groove.training.lengths import frames_of_step, shortened  # noqa: E402
from groove.training.loop import train  # noqa: E402
from groove.training.typed import from_mapping  # noqa: E402
from tests.training.test_loop import signal_after  # noqa: E402
from tests.training.tiny import config, curve, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch
FBANK = FbankConfig(n_mels=16)


def settings(**train: int) -> TrainConfig:
    return from_mapping(TrainConfig, {"train": train})


def test_lengths_are_drawn_over_the_whole_range_and_again_the_same() -> None:
    mixed = settings(crop_frames=30, crop_frames_min=20)
    drawn = [frames_of_step(mixed, i) for i in range(400)]
    assert set(drawn) == set(range(20, 31)) and len(set(drawn[:10])) > 3
    assert drawn == [frames_of_step(mixed, i) for i in range(400)]
    other = replace(mixed, train=replace(mixed.train, seed=1))
    assert drawn != [frames_of_step(other, i) for i in range(400)]
    assert {frames_of_step(settings(crop_frames=30), i) for i in range(50)} == {30}


@pytest.mark.parametrize("least", [5, 31, -1])
def test_lengths_without_meaning_are_refused(least: int) -> None:
    with pytest.raises(SettingsError, match=f"train.crop_frames_min: got {least}; wanted 0"):
        settings(crop_frames=30, crop_frames_min=least)


def test_a_shortened_batch_has_the_frames_of_its_own_shorter_crop() -> None:
    front_end = FbankFrontEnd(FBANK)
    waveform = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) / 10
    batch = Batch(waveform, None, waveform + 1, torch.arange(3), ())
    cut = shortened(batch, 40, FBANK)
    assert cut.waveform is not None and cut.clean is not None and cut.frames is None
    frames = front_end(cut.waveform)
    assert frames.shape == (3, 40, 16)
    torch.testing.assert_close(cut.clean, cut.waveform + 1)
    stored = shortened(Batch(None, front_end(waveform), None, torch.arange(3), ()), 40, FBANK)
    assert stored.frames is not None
    torch.testing.assert_close(stored.frames, frames, rtol=0, atol=1e-4)


def test_a_run_hears_them_and_goes_on_with_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the third of six steps, in the middle of an epoch."""
    corpus, mixed = write_corpus(tmp_path), {"crop_frames_min": 20}
    heard: list[int] = []

    def watched(batch: Batch, n_frames: int, fbank: FbankConfig) -> Any:
        heard.append(n_frames)
        return shortened(batch, n_frames, fbank)

    monkeypatch.setattr(step, "shortened", watched)
    whole = config(corpus, tmp_path / "whole", train=mixed)
    train(whole)
    n_steps = len(heard)
    assert heard == [frames_of_step(whole, i) for i in range(n_steps)] and len(set(heard)) > 2
    with monkeypatch.context() as patch:
        signal_after(3, signal.SIGTERM, patch)
        with pytest.raises(TrainingError, match="SIGTERM"):
            train(config(corpus, tmp_path / "cut", train=mixed))
    train(config(corpus, tmp_path / "cut", train=mixed, resume=True))
    assert heard[n_steps:] == heard[:n_steps]
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")

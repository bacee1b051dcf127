"""The curve falls: a small network learns eight synthetic voices and tells new recordings apart.

The validation recordings are others than those trained on, of the same voices under other names: a
network that has seen eight voices in a few seconds knows those, not voices in general.
"""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from groove.training.loop import train  # noqa: E402
from tests.training.tiny import config, curve  # noqa: E402
from tests.training.voices import write_voices  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_loss_and_validation_eer_fall(tmp_path: Path) -> None:
    write_voices(tmp_path, "train", range(8), 12, seconds=0.8, noise=0.5)
    write_voices(tmp_path, "val", range(8), 4, seconds=0.8, first=100, prefix="v", noise=0.5)
    settings = config(
        tmp_path,
        tmp_path / "out",
        train={"epochs": 16, "lr": 2e-3, "p": 8, "k": 6, "num_crops": 0, "save_every": 0},
        model={"n_mels": 24},
        head={"scale": 16},
        augment={"reverb_probability": 0.0},
        mask={"probability": 0.0},
        validate={"every": 1},
    )
    train(settings)
    lines = curve(tmp_path / "out")
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    rates = [line["eer"] for line in lines if line["kind"] == "epoch"]
    assert losses[-1] < 0.5 * losses[0]
    # A new network tells noisy voices apart by loudness of bands; the first steps disturb that.
    early, late = max(rates[:4]), sum(rates[-4:]) / 4
    assert late < 0.5 * early and late < 0.1, rates

"""A model in ten lines: the mean spectrum in eight bands. Tests pass it; nobody patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groove.card import ModelCard, NarrowBand, ThresholdTable
from groove.fbank import FbankConfig
from groove.scoring import Calibration, ThresholdRow

N_BANDS = 8


def fake_card(**changes: object) -> ModelCard:
    rows = tuple(
        ThresholdRow(
            fmr=fmr,
            threshold=threshold,
            fnmr=0.02,
            n_false_matches=round(fmr * 10_000),
            n_nontarget=10_000,
            n_target=1_000,
            n_speakers=100,
        )
        for fmr, threshold in ((0.1, 0.80), (0.01, 0.90), (0.005, 0.95))
    )
    values: dict[str, object] = {
        "name": "fake",
        "version": "1",
        "architecture": "bands",
        "embedding_size": N_BANDS,
        "input": "waveform",
        "fbank": FbankConfig(),
        "thresholds": (ThresholdTable(0.5, "nothing", rows),),
        "calibration": Calibration(
            w_score=20.0,
            w_score_speech=2.0,
            w_speech=-1.0,
            bias=-17.0,
            min_speech_s=0.5,
            max_speech_s=10.0,
            n_target=1_000,
            n_nontarget=10_000,
            n_speakers=100,
            measured_on="nothing",
        ),
    }
    return ModelCard(**{**values, **changes})  # type: ignore[arg-type]


def telephone_card() -> ModelCard:
    """`fake_card` with stricter thresholds and a lower likelihood for telephone sound."""
    card = fake_card()
    assert card.calibration is not None
    table = card.thresholds[0]
    rows = tuple(replace(row, threshold=0.99) for row in table.rows)
    calibration = replace(card.calibration, bias=-19.0, measured_on="calls")
    return fake_card(narrow_band=NarrowBand((ThresholdTable(0.5, "calls", rows),), calibration))


class FakeEncoder:
    """Encoder: waveform [B, S] -> band levels [B, 8]. Remembers the shapes that it was given."""

    def __init__(self, **card_changes: object) -> None:
        self.card = fake_card(**card_changes)
        self.model_hash = "0" * 64
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(waveforms.shape)
        power = np.abs(np.fft.rfft(waveforms, n=2048, axis=1)[:, :1024]) ** 2
        bands = power.reshape(len(waveforms), N_BANDS, -1).sum(axis=2)
        return np.log(bands + 1e-6).astype(np.float32)

"""Crops of another length in every step.

A network that only ever hears crops of one length is best at that length. With
``train.crop_frames_min`` each step draws a length from there to ``train.crop_frames``, the same for
the whole batch and on every process, and its crops end there; they begin at random places anyway.
What a step does follows from the seed and its number, so a resumed run draws the same lengths.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from groove.fbank import FbankConfig
from groove.training.batch import Batch
from groove.training.config import TrainConfig
from groove.training.material import samples_of

DRAW = 7  # keeps these draws apart from others of the same seed


def frames_of_step(config: TrainConfig, step: int) -> int:
    """How many frames the crops of a step have; steps count from 0."""
    least, most = config.train.crop_frames_min, config.train.crop_frames
    if not least:
        return most
    return int(np.random.default_rng([config.train.seed, step, DRAW]).integers(least, most + 1))


def shortened(batch: Batch, n_frames: int, fbank: FbankConfig) -> Batch:
    """The batch with crops of ``n_frames``: waveforms [B, S], or stored frames [B, T, M]."""
    if batch.frames is not None:
        frames = batch.frames[:, :n_frames]
        if fbank.subtract_mean:  # of this crop, as everywhere
            frames = frames - frames.mean(dim=1, keepdim=True)
        return replace(batch, frames=frames)
    assert batch.waveform is not None
    n = samples_of(fbank, n_frames)
    clean = None if batch.clean is None else batch.clean[:, :n]
    return replace(batch, waveform=batch.waveform[:, :n], clean=clean)

"""SpecAugment: bands and stretches of the frames are hidden, on the device where the frames are.

Source: D. S. Park et al., "SpecAugment", Interspeech 2019, section 2 (without time warping): a mask
of f bins, f drawn evenly from 0 to ``most_bins``, begins at a bin drawn evenly from 0 to M - f; the
same along time. Frames whose mean is subtracted are hidden behind 0, which is that mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from groove.errors import SettingsError


def spec_augment(
    frames: Tensor,
    generator: torch.Generator | None = None,
    *,
    probability: float = 1.0,
    n_freq_masks: int = 1,
    most_bins: int = 8,
    n_time_masks: int = 1,
    most_frames: int = 10,
    fill: float = 0.0,
) -> Tensor:
    """Hide bands and stretches of frames, each row its own.

    Args:
        frames: [B, T, M].
        generator: of the frames' device; the same state hides the same.
        probability: of a row to be masked at all.
        n_freq_masks: bands in a row; they may overlap.
        most_bins: the widest band.
        n_time_masks: stretches in a row; they may overlap.
        most_frames: the longest stretch.
        fill: what stands in the masks.

    Returns:
        [B, T, M], a new tensor; ``frames`` itself if nothing can be hidden.
    """
    if min(n_freq_masks, most_bins, n_time_masks, most_frames) < 0 or not 0 <= probability <= 1:
        raise SettingsError(
            f"SpecAugment: {n_freq_masks} masks of {most_bins} bins, {n_time_masks} of "
            f"{most_frames} frames, probability {probability:g}; wanted 0 or more, 0 to 1"
        )
    n_rows, n_frames, n_bins = frames.shape
    if probability == 0 or (n_freq_masks * most_bins == 0 and n_time_masks * most_frames == 0):
        return frames
    hidden_bins = _masks(frames, n_bins, n_freq_masks, most_bins, generator)  # [B, M]
    hidden_frames = _masks(frames, n_frames, n_time_masks, most_frames, generator)  # [B, T]
    chosen = torch.rand(n_rows, 1, 1, generator=generator, device=frames.device) < probability
    hidden = chosen & (hidden_bins[:, None, :] | hidden_frames[:, :, None])
    return frames.masked_fill(hidden, fill)


def _masks(
    frames: Tensor, length: int, n_masks: int, most: int, generator: torch.Generator | None
) -> Tensor:
    """Which of ``length`` places are hidden in each row: [B, length]."""
    drawn = torch.rand(2, len(frames), n_masks, 1, generator=generator, device=frames.device)
    width = (drawn[0] * (min(most, length) + 1)).floor()
    start = (drawn[1] * (length - width + 1)).floor()
    place = torch.arange(length, device=frames.device)
    return ((place >= start) & (place < start + width)).any(dim=1)

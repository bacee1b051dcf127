"""SpecAugment: shapes of the masks, their distribution, replay by generator."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from groove.errors import SettingsError  # noqa: E402
from groove.training.masking import spec_augment  # noqa: E402

pytestmark = pytest.mark.torch


def generator(seed: int = 0):
    return torch.Generator().manual_seed(seed)


def widths(hidden: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_one_band_and_one_stretch_a_row_no_larger_than_allowed():
    frames = torch.ones(500, 60, 40)
    masked = spec_augment(frames, generator(), most_bins=8, most_frames=10).numpy()
    assert frames.min() == 1  # a new tensor
    bins, stretches = [], []
    for row in masked:
        hidden_bins = ~row.any(axis=0)
        hidden_frames = ~row.any(axis=1)
        np.testing.assert_array_equal(row == 0, hidden_frames[:, None] | hidden_bins[None, :])
        bins.append(sum(widths(hidden_bins)))
        stretches.append(sum(widths(hidden_frames)))
        assert len(widths(hidden_bins)) <= 1 and len(widths(hidden_frames)) <= 1
    for drawn, most in ((bins, 8), (stretches, 10)):
        assert set(drawn) == set(range(most + 1))
        spread = np.sqrt((((most + 1) ** 2) - 1) / 12 / len(drawn))
        assert abs(np.mean(drawn) - most / 2) < 5 * spread


def test_masks_reach_both_ends_evenly():
    masked = spec_augment(torch.ones(4000, 20, 10), generator(), most_bins=1, n_time_masks=0)
    counts = (masked == 0).any(dim=1).sum(dim=0).numpy()  # [M]
    assert abs(counts.sum() - 2000) < 5 * np.sqrt(1000)
    assert counts.max() - counts.min() < 6 * np.sqrt(200)


def test_a_mask_as_wide_as_the_frames_fits_in_one_place_only():
    masked = spec_augment(torch.ones(4000, 1, 4), generator(), most_bins=4, n_time_masks=0)
    share = (masked == 0).all(dim=2).float().mean().item()  # one of the widths 0 to 4
    assert abs(share - 1 / 5) < 5 * np.sqrt(0.16 / 4000)


def test_the_generator_decides():
    frames = torch.randn(8, 50, 20, generator=generator(5))
    one, same = (spec_augment(frames, generator(1)) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, spec_augment(frames, generator(2)))


def test_probability_and_fill():
    frames = torch.ones(2000, 30, 20)
    masked = spec_augment(frames, generator(), probability=0.25, most_bins=19, fill=-3.0)
    touched = (masked == -3).flatten(1).any(dim=1).float().mean().item()
    wanted = 0.25 * (1 - 1 / 20 / 11)  # both masks empty by chance
    assert abs(touched - wanted) < 5 * np.sqrt(0.25 * 0.75 / 2000)
    assert spec_augment(frames, probability=0) is frames
    assert spec_augment(frames, n_freq_masks=0, n_time_masks=0) is frames


def test_masks_larger_than_the_frames_and_several_of_them():
    masked = spec_augment(torch.ones(50, 3, 2), generator(), most_bins=99, most_frames=99)
    assert masked.shape == (50, 3, 2)
    many = spec_augment(torch.ones(50, 200, 80), generator(), n_freq_masks=3, n_time_masks=3)
    assert max(len(widths(~row.any(axis=0))) for row in many.numpy()) > 1


def test_half_precision_and_bad_settings():
    assert spec_augment(torch.ones(2, 9, 9, dtype=torch.bfloat16)).dtype == torch.bfloat16
    with pytest.raises(SettingsError, match="SpecAugment: -1 masks"):
        spec_augment(torch.ones(2, 9, 9), n_freq_masks=-1)

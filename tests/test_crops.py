from __future__ import annotations

import numpy as np
import pytest

from groove.crops import crop_starts, cut_crops, windows
from groove.errors import SettingsError


def test_crops_are_evenly_spaced_from_the_first_sample_to_the_last() -> None:
    assert crop_starts(100, 20, 5) == [0, 20, 40, 60, 80]
    assert crop_starts(100, 40, 3) == [0, 30, 60]
    assert crop_starts(100, 20, 1) == [40]


def test_an_utterance_no_longer_than_a_crop_is_taken_whole_and_once() -> None:
    assert crop_starts(20, 20, 6) == [0]
    assert crop_starts(7, 20, 6) == [0]


def test_crops_that_would_coincide_are_taken_once() -> None:
    assert crop_starts(22, 20, 6) == [0, 1, 2]


@pytest.mark.parametrize(("crop", "number"), [(0, 3), (20, 0)])
def test_no_crops_is_refused(crop: int, number: int) -> None:
    with pytest.raises(SettingsError, match="wanted at least one"):
        crop_starts(100, crop, number)


def test_cut_crops_equals_slicing_however_the_stream_is_cut(rng: np.random.Generator) -> None:
    waveform = rng.standard_normal(1000).astype(np.float32)
    starts = crop_starts(1000, 300, 4)
    wanted = np.stack([waveform[s : s + 300] for s in starts])
    for size in (1, 7, 299, 300, 1000):
        blocks = [waveform[i : i + size] for i in range(0, 1000, size)]
        assert np.array_equal(cut_crops(blocks, starts, 300), wanted)


def test_cut_crops_notices_a_stream_that_ends_early() -> None:
    with pytest.raises(ValueError, match="10 samples"):
        cut_crops([np.zeros(10, np.float32)], [5], 10)


def test_windows_regroup_a_stream_without_losing_a_sample(rng: np.random.Generator) -> None:
    waveform = rng.standard_normal(1000).astype(np.float32)
    for size in (1, 64, 250, 333, 1000):
        blocks = [waveform[i : i + size] for i in range(0, 1000, size)]
        found = list(windows(blocks, 250))
        assert [len(w) for w in found] == [250, 250, 250, 250]
        assert np.array_equal(np.concatenate(found), waveform)
    assert [len(w) for w in windows([waveform], 300)] == [300, 300, 300, 100]
    assert list(windows([], 300)) == []

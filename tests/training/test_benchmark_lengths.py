"""What benchmarks/lengths.py cuts and draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.lengths import cell, chosen, draws_of, middle
from groove.manifest import Utterance
from groove.metrics import eer

pytestmark = pytest.mark.torch


def test_the_middle_is_cut_and_short_ones_are_repeated_but_for_the_ceiling() -> None:
    waveform = np.arange(16_000, dtype=np.float32)
    assert middle(waveform, 0.5, ceiling=False)[[0, -1]].tolist() == [4_000, 11_999]
    assert len(middle(waveform, 2.0, ceiling=True)) == 16_000
    repeated = middle(waveform, 2.0, ceiling=False)
    assert len(repeated) == 32_000 and np.array_equal(repeated[16_000:], waveform)


def test_speakers_are_drawn_by_seed_among_those_with_enough() -> None:
    listed = [Utterance(f"{s}{i}", s, Path("x"), 1.0) for s in "abcdef" for i in range(ord(s) - 96)]
    assert chosen(listed, 0, 4, 1) == listed
    found = {u.speaker_id for u in chosen(listed, 2, 4, 1)}
    assert len(found) == 2 and found <= set("def")
    assert chosen(listed, 2, 4, 1) == chosen(listed, 2, 4, 1)


def test_the_rates_are_those_of_all_pairs(rng: np.random.Generator) -> None:
    who = np.repeat(np.arange(12), 3)
    rows = rng.standard_normal((12, 8)).repeat(3, axis=0) + rng.standard_normal((36, 8))
    found = draws_of(rows, who, 20)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    a, b = np.triu_indices(36, 1)
    scores, same = (unit @ unit.T)[a, b], who[a] == who[b]
    assert found.interval("eer").value == pytest.approx(eer(scores[same], scores[~same]))
    assert cell(found, None).endswith("|") and "+0.00 (+0.00 to +0.00)" in cell(found, found)

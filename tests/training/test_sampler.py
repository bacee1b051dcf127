"""Samplers: what an epoch covers, counted by hand; distinct speakers; pure in (seed, epoch)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from groove.errors import SettingsError
from groove.training.sampler import PKSampler, ShuffledSampler

SIZES = [1, 1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 1, 2, 30]  # utterances of each speaker
SPEAKERS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(SIZES)), SIZES)).tolist()


@pytest.mark.parametrize("k", [1, 2, 4, 5])
@pytest.mark.parametrize("p", [2, 5, 14])
def test_every_epoch_covers_the_data_and_every_batch_is_p_by_k(p, k):
    sampler = PKSampler(SPEAKERS, p=p, k=k, seed=3)
    n_groups = [-(-size // k) for size in SIZES]
    assert sampler.n_batches == max(-(-sum(n_groups) // p), max(n_groups))
    for epoch in range(3):
        batches = sampler.epoch(epoch)
        assert len(batches) == sampler.n_batches
        for batch in batches:
            speakers = [SPEAKERS[draw.utterance] for draw in batch]
            assert len(batch) == p * k
            assert len(set(speakers)) == p
            for place in range(p):  # a speaker's draws stand in a row
                assert len(set(speakers[place * k : place * k + k])) == 1
        assert {draw.utterance for batch in batches for draw in batch} == set(range(len(SPEAKERS)))


def test_an_utterance_comes_as_often_as_the_docstring_says():
    k = 4
    sampler = PKSampler(SPEAKERS, p=7, k=k, seed=0)
    # No batch needs further speakers here: the groups fill them exactly or the rest is known.
    n_groups = sum(-(-size // k) for size in SIZES)
    spare_draws = (sampler.n_batches * 7 - n_groups) * k
    for epoch in range(5):
        counts = Counter(draw.utterance for batch in sampler.epoch(epoch) for draw in batch)
        beyond = 0
        for utterance, speaker in enumerate(SPEAKERS):
            size = SIZES[speaker]
            most = -(-(-(-size // k) * k) // size)
            beyond += max(counts[utterance] - most, 0)
        assert beyond <= spare_draws
        assert sum(counts.values()) == n_groups * k + spare_draws


def test_within_a_group_nothing_repeats_where_a_speaker_has_k():
    sampler = PKSampler(SPEAKERS, p=5, k=4)
    for batch in sampler.epoch(0):
        for place in range(0, len(batch), 4):
            group = [draw.utterance for draw in batch[place : place + 4]]
            size = SIZES[SPEAKERS[group[0]]]
            assert len(set(group)) == min(size, 4)


def test_crops_of_one_utterance_differ_in_their_seed():
    seeds = [draw.seed for batch in PKSampler(SPEAKERS, p=5, k=4).epoch(0) for draw in batch]
    assert len(set(seeds)) == len(seeds)


def test_speeds_are_one_a_group_and_even():
    sampler = PKSampler(SPEAKERS, p=5, k=4, n_speeds=3)
    counts = Counter[int]()
    for epoch in range(60):
        for batch in sampler.epoch(epoch):
            for place in range(0, len(batch), 4):
                (speed,) = {draw.speed for draw in batch[place : place + 4]}
                counts[speed] += 1
    n = sum(counts.values())
    assert set(counts) == {0, 1, 2}
    for count in counts.values():  # five standard deviations of a binomial
        assert abs(count - n / 3) < 5 * np.sqrt(n * 2 / 9)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: PKSampler(SPEAKERS, p=5, k=4, n_speeds=3, seed=seed),
        lambda seed: ShuffledSampler(SPEAKERS, batch_size=8, n_speeds=3, seed=seed),
    ],
)
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(make):
    one, other = make(7), make(7)
    later = other.epoch(4)
    other.epoch(0)
    assert one.epoch(4) == later == other.epoch(4)
    assert one.epoch(5) != later
    assert make(8).epoch(4) != later


def test_big_speakers_are_spread_over_the_epoch():
    sampler = PKSampler([0] * 40 + list(range(1, 200)), p=10, k=4)
    places = [
        i for i, batch in enumerate(sampler.epoch(0)) if any(draw.utterance < 40 for draw in batch)
    ]
    assert len(places) >= 10  # its ten groups lie in ten batches of about twenty-one
    assert max(places) - min(places) > sampler.n_batches / 2


def test_shuffled_takes_every_utterance_once_and_fills_the_last_batch():
    n = len(SPEAKERS)
    sampler = ShuffledSampler(SPEAKERS, batch_size=16, n_speeds=2)
    assert sampler.n_batches == -(-n // 16)
    batches = sampler.epoch(0)
    counts = Counter(draw.utterance for batch in batches for draw in batch)
    assert {len(batch) for batch in batches} == {16}
    assert set(counts) == set(range(n))
    assert sum(count - 1 for count in counts.values()) == sampler.n_batches * 16 - n
    assert {draw.speed for batch in batches for draw in batch} == {0, 1}


def test_fewer_utterances_than_a_batch_repeat():
    batches = ShuffledSampler([-1, -1, -1], batch_size=8).epoch(0)
    assert len(batches) == 1
    assert Counter(draw.utterance for draw in batches[0]).total() == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PKSampler([0, 0, 0], p=1, k=2), "all 3 utterances are of one speaker"),
        (lambda: ShuffledSampler([4, 4], batch_size=2), "all 2 utterances are of one speaker"),
        (lambda: PKSampler([0, 1, 1], p=3, k=2), "2 speakers are fewer than p = 3"),
        (lambda: PKSampler([0, 1, -1], p=2, k=2), "1 of 3 utterances have no speaker"),
        (lambda: PKSampler([], p=2, k=2), "no utterances"),
        (lambda: PKSampler([0, 1], p=2, k=0), "k is 0"),
        (lambda: ShuffledSampler([0, 1], batch_size=0), "batch_size is 0"),
        (lambda: PKSampler([0, 1], p=2, k=1, seed=-1), "seed -1"),
    ],
)
def test_what_cannot_be_sampled_is_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


def test_an_epoch_that_is_much_longer_than_its_list_is_told():
    """One speaker with 400 utterances is in 100 batches, whose other places others fill."""
    pytest.importorskip("torch")
    from groove.training.config import RunConfig, TrainConfig
    from groove.training.material import _sampler

    settings = TrainConfig(train=RunConfig(p=16, k=4))
    even, uneven = [40] * 30, [400, *[40] * 30]
    for sizes, n_told in ((even, 0), (uneven, 1)):
        said = []
        sampler = _sampler(settings, np.repeat(np.arange(len(sizes)), sizes).tolist(), said.append)
        assert len(said) == n_told
    assert sampler.n_batches == 100
    assert "6,400 draws for 1,600 utterances" in said[0] and "data.sampler=shuffled" in said[0]

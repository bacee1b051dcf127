"""Which utterances form a batch: P speakers x K utterances, or plainly shuffled.

An epoch is a pure function of (seed, epoch): a list of global batches of `Draw`s. Resuming is
skipping batches, and rank r of w takes items r::w of each, so neither the number of workers nor
that of ranks changes what is seen.

What an epoch of `PKSampler` covers
-----------------------------------
A speaker with n utterances gives g = ceil(n / K) groups an epoch. The utterances are shuffled and
dealt out K at a time; the last group is filled with others of the same speaker, as evenly as can
be. So **every utterance stands in at least one draw of every epoch**, and in at most ceil(gK / n)
(one or two where n >= K). A speaker with fewer than K utterances repeats them: several draws of one
utterance, each with its own seed, hence cut elsewhere and augmented otherwise.

The groups are laid into n_batches = max(ceil(sum of g / P), largest g) batches so that no speaker
stands twice in one. Batches that are then short of P groups are filled with further speakers,
drawn evenly: those are the only draws beyond the cover. A group has one speed, drawn evenly, so its
K draws are of one class; an utterance is met at each speed in one of n_speeds epochs in the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from groove.errors import SettingsError


@dataclass(frozen=True)
class Draw:
    """One item of a batch."""

    utterance: int  # index into the utterances
    speed: int  # index into the speeds; 0 is the plain one. Class = speaker + n_speakers * speed
    seed: int  # of this crop: where it is cut, and how it is augmented


class Sampler(Protocol):
    """What a loader asks for."""

    @property
    def n_batches(self) -> int:
        """Batches in every epoch."""
        ...

    def epoch(self, epoch: int) -> list[list[Draw]]:
        """All global batches of an epoch."""
        ...


class PKSampler:
    """Batches of ``p`` different speakers with ``k`` draws each, side by side.

    Args:
        speaker_index: the speaker of each utterance, counted from 0.
        p: speakers in a batch.
        k: draws of each.
        n_speeds: how many speeds there are; every group draws one.
        seed: another seed, another order.

    Raises:
        SettingsError: one speaker only, fewer speakers than ``p``, an utterance without a speaker,
            or a number below 1.
    """

    def __init__(
        self, speaker_index: Sequence[int], *, p: int, k: int, n_speeds: int = 1, seed: int = 0
    ) -> None:
        _refuse_below_one(p=p, k=k, n_speeds=n_speeds)
        speakers = _checked(speaker_index, seed)
        if speakers.min() < 0:
            raise SettingsError(
                f"{int((speakers < 0).sum())} of {len(speakers)} utterances have no speaker; "
                "P x K batches need one each: use the shuffled sampler for unlabelled audio"
            )
        self._n_speeds, self._seed, self._p, self._k = n_speeds, seed, p, k
        order = np.argsort(speakers, kind="stable")
        cuts = np.flatnonzero(np.diff(speakers[order])) + 1
        self._utterances = np.split(order, cuts)  # of each speaker
        if len(self._utterances) < p:
            raise SettingsError(
                f"{len(self._utterances)} speakers are fewer than p = {p} in a batch; "
                "prepare more speakers or lower train.p"
            )
        self._n_groups = [-(-len(own) // k) for own in self._utterances]
        self._n_batches = max(-(-sum(self._n_groups) // p), max(self._n_groups))

    @property
    def n_batches(self) -> int:
        """Batches in every epoch."""
        return self._n_batches

    def epoch(self, epoch: int) -> list[list[Draw]]:
        """All global batches of an epoch, each of p x k draws, a speaker's k draws in a row."""
        rng = np.random.default_rng([self._seed, epoch])
        speakers_of = self._layout(rng)
        groups = [self._groups(own, rng) for own in self._utterances]
        utterances = np.empty((self._n_batches, self._p, self._k), dtype=np.int64)
        for batch, speakers in enumerate(speakers_of):
            for place, speaker in enumerate(rng.permutation(speakers)):
                left = groups[speaker]
                utterances[batch, place] = left.pop() if left else self._further(speaker, rng)
        speeds = rng.integers(self._n_speeds, size=(self._n_batches, self._p, 1))
        return _draws(utterances, np.broadcast_to(speeds, utterances.shape), rng)

    def _layout(self, rng: np.random.Generator) -> list[list[int]]:
        """The p different speakers of each batch.

        Whoever has most groups chooses first, always the emptiest batches, chance among equals:
        then no two batches differ by more than one group, and none holds more than p.
        """
        load = np.zeros(self._n_batches, dtype=np.int64)
        members: list[list[int]] = [[] for _ in range(self._n_batches)]
        shuffled = rng.permutation(len(self._n_groups))
        for speaker in sorted(shuffled.tolist(), key=lambda s: -self._n_groups[s]):
            n_groups = self._n_groups[speaker]
            rank = load + rng.random(self._n_batches)
            for batch in np.argpartition(rank, n_groups - 1)[:n_groups].tolist():
                members[batch].append(speaker)
                load[batch] += 1
        for speakers in members:
            if missing := self._p - len(speakers):
                others = np.setdiff1d(np.arange(len(self._n_groups)), speakers)
                speakers.extend(rng.choice(others, missing, replace=False).tolist())
        return members

    def _groups(self, own: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """A speaker's utterances [n] dealt out: every one at least once, k at a time."""
        n_draws = -(-len(own) // self._k) * self._k
        rounds = [rng.permutation(own) for _ in range(-(-n_draws // len(own)))]
        if len(own) >= self._k and len(rounds) == 2:
            # The last group is filled from outside itself, so that it repeats nothing.
            last = rounds[0][len(own) - len(own) % self._k :]
            rounds[1] = rounds[1][~np.isin(rounds[1], last)]
        return list(np.concatenate(rounds)[:n_draws].reshape(-1, self._k))

    def _further(self, speaker: int, rng: np.random.Generator) -> NDArray[np.int64]:
        own = self._utterances[speaker]
        return np.resize(rng.permutation(own), self._k)


class ShuffledSampler:
    """Batches of ``batch_size`` from all utterances in random order, each once an epoch.

    The last batch is filled from the epoch's beginning, so that all are equally large; those are
    the only utterances that occur twice. Unlabelled utterances (-1) are welcome.

    Raises:
        SettingsError: one labelled speaker only, or a number below 1.
    """

    def __init__(
        self, speaker_index: Sequence[int], *, batch_size: int, n_speeds: int = 1, seed: int = 0
    ) -> None:
        _refuse_below_one(batch_size=batch_size, n_speeds=n_speeds)
        self._n = len(_checked(speaker_index, seed))
        self._batch_size, self._n_speeds, self._seed = batch_size, n_speeds, seed

    @property
    def n_batches(self) -> int:
        """Batches in every epoch."""
        return -(-self._n // self._batch_size)

    def epoch(self, epoch: int) -> list[list[Draw]]:
        """All global batches of an epoch, each of ``batch_size`` draws."""
        rng = np.random.default_rng([self._seed, epoch])
        shape = self.n_batches, self._batch_size
        utterances = np.resize(rng.permutation(self._n), shape)
        return _draws(utterances, rng.integers(self._n_speeds, size=shape), rng)


def _draws(
    utterances: NDArray[np.int64], speeds: NDArray[np.int64], rng: np.random.Generator
) -> list[list[Draw]]:
    n_batches = len(utterances)
    columns = [
        values.reshape(n_batches, -1).tolist()
        for values in (utterances, speeds, rng.integers(1 << 62, size=utterances.shape))
    ]
    return [
        [Draw(*row) for row in zip(*batch, strict=True)] for batch in zip(*columns, strict=True)
    ]


def _checked(speaker_index: Sequence[int], seed: int) -> NDArray[np.int64]:
    speakers = np.asarray(speaker_index, dtype=np.int64)
    if seed < 0:
        raise SettingsError(f"seed {seed}; wanted 0 or more")
    if speakers.ndim != 1 or len(speakers) == 0:
        raise SettingsError("no utterances to draw from; prepare a manifest with some first")
    if speakers[0] >= 0 and (speakers == speakers[0]).all():
        raise SettingsError(
            f"all {len(speakers)} utterances are of one speaker; "
            "training tells speakers apart and needs at least two"
        )
    return speakers


def _refuse_below_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise SettingsError(f"{name} is {number}; wanted 1 or more")

"""What is trained on, validated on, dropped: decided once, in memory, for all lists.

A plan holds the files' records and, for every utterance to be written, the indices of its parts;
utterances are made when they are asked for, so that 640,000 files fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.corpora.files import Corpus, Dropped
from groove.errors import CorpusError, SettingsError
from groove.manifest import Utterance
from groove.preparation.joining import Group, join_short
from groove.preparation.probing import indices_by_speaker, probe_files
from groove.preparation.progress import Progress, silent
from groove.preparation.splitting import choose_validation


@dataclass(frozen=True)
class Options:
    """What decides the lists, besides the files.

    Attributes:
        seed: of the choice of validation speakers.
        val_speakers: how many; None takes a twentieth, from 2 to 100.
        val_utterances: a validation speaker has at least so many usable utterances.
        join_s: training utterances shorter than this are joined to it; 0 joins nothing.
        min_s: utterances that are shorter (after joining) are dropped: no model embeds them.
        verify: decode every file to its end; see `groove.audio.probe_audio`.
    """

    seed: int = 0
    val_speakers: int | None = None
    val_utterances: int = 4
    join_s: float = 5.0
    min_s: float = 0.5
    verify: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 <= self.join_s < float("inf") or not 0 < self.min_s < float("inf"):
            raise SettingsError(
                f"join_s {self.join_s:g}, min_s {self.min_s:g}; wanted seconds, min_s above 0"
            )
        if self.val_utterances < 2:
            raise SettingsError(
                f"val_utterances {self.val_utterances}; wanted at least 2, for target trials"
            )


@dataclass(frozen=True)
class Plan:
    """The decision. ``train`` and ``val`` are groups of indices into ``corpus.files``."""

    corpus: Corpus
    options: Options
    seconds: NDArray[np.float64]  # [N]; NaN: the file is dropped
    train: list[Group]
    val: list[Group]
    dropped: list[Dropped]
    n_known: int

    def utterances(self, groups: list[Group]) -> Iterator[Utterance]:
        """The utterances of ``train`` or ``val``; parts have absolute paths."""
        return (self._utterance(group) for group in groups)

    def seconds_of(self, group: Group) -> float:
        """Length of an utterance: the sum of its parts."""
        return round(float(sum(self.seconds[i] for i in group)), 6)

    def speakers(self, groups: list[Group]) -> list[str]:
        """Their speakers, sorted."""
        return sorted({self.corpus.files[group[0]].speaker_id for group in groups})

    def without(self, failed: Mapping[str, tuple[str, str]]) -> Plan:
        """This plan less the utterances that could not be stored: utterance_id -> kind, reason."""
        dropped = list(self.dropped)
        train, val = (self._kept(groups, failed, dropped) for groups in (self.train, self.val))
        dropped.sort(key=lambda one: one.path)
        return replace(self, train=train, val=val, dropped=dropped)

    def _kept(
        self, groups: list[Group], failed: Mapping[str, tuple[str, str]], dropped: list[Dropped]
    ) -> list[Group]:
        kept = []
        for group, utterance in zip(groups, self.utterances(groups), strict=True):
            if (why := failed.get(utterance.utterance_id)) is None:
                kept.append(group)
                continue
            for file in (self.corpus.files[i] for i in group):
                dropped.append(Dropped(file.path, file.speaker_id, *why))
        return kept

    def _utterance(self, group: Group) -> Utterance:
        parts = [self.corpus.files[i] for i in group]
        first, sessions = parts[0], {part.session for part in parts}
        fields: dict[str, Any] = {"genre": first.genre} if first.genre else {}
        if len(sessions) == 1 and first.session:
            fields["session"] = first.session
        if len(parts) > 1:
            fields["parts"] = [
                {"path": parts[k].path, "seconds": round(float(self.seconds[i]), 6)}
                for k, i in enumerate(group)
            ]
        more = f"+{len(parts) - 1}" if len(parts) > 1 else ""
        return Utterance(
            first.utterance_id + more,
            first.speaker_id,
            Path(first.path),
            self.seconds_of(group),
            fields,
        )


def plan_corpus(
    corpus: Corpus,
    out: Path,
    options: Options | None = None,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Plan:
    """Listen to a corpus and decide; writes nothing but the journal in ``out``.

    Raises:
        CorpusError: a file to be used belongs to a speaker who is held out, or nothing is usable.
        SettingsError: the validation speakers cannot be chosen as asked, or ``out`` lies in a
            folder that is being listened to.
    """
    options = options or Options()
    _refuse_held_out(corpus)
    _refuse_inside(corpus, out)
    probed = probe_files(
        corpus.files, out, verify=options.verify, workers=workers, progress=progress
    )
    seconds, long_enough = probed.seconds, probed.seconds >= options.min_s
    n_usable = {name: len(at) for name, at in indices_by_speaker(corpus.files, long_enough)}
    readable = ~np.isnan(seconds)
    if not n_usable:
        raise CorpusError(
            f"{corpus.name}: none of {len(corpus.files):,} files can be used, for instance "
            f"{_first_reason(corpus, probed.dropped)}"
        )
    chosen = choose_validation(
        n_usable,
        seed=options.seed,
        n_speakers=options.val_speakers,
        min_utterances=options.val_utterances,
    )
    train: list[Group] = []
    val: list[Group] = []
    for speaker, indices in indices_by_speaker(corpus.files, readable):
        if speaker in chosen:
            val += [[i] for i in indices]
        else:
            genres = [corpus.files[i].genre for i in indices]
            train += join_short(indices, [seconds[i] for i in indices], genres, options.join_s)
    short: list[Dropped] = []
    train, val = (_drop_short(g, corpus, seconds, options.min_s, short) for g in (train, val))
    if len({corpus.files[group[0]].speaker_id for group in train}) < 2:
        raise CorpusError(f"{corpus.name}: fewer than 2 speakers are left to train on")
    dropped = sorted([*corpus.dropped, *probed.dropped, *short], key=lambda one: one.path)
    return Plan(corpus, options, seconds, train, val, dropped, probed.n_known)


def _refuse_held_out(corpus: Corpus) -> None:
    """The last gate: whatever the lists said, no evaluation speaker goes through."""
    for file in corpus.files:
        if file.speaker_id in corpus.held_out:
            raise CorpusError(
                f"{file.path}: {file.speaker_id} is an evaluation speaker and would be trained on"
            )


def _refuse_inside(corpus: Corpus, out: Path) -> None:
    inside = os.path.join(os.path.abspath(out), "")
    if corpus.files and corpus.files[0].path.startswith(inside):
        raise SettingsError(f"--out {out} holds the recordings themselves; choose another folder")


def _drop_short(
    groups: list[Group],
    corpus: Corpus,
    seconds: NDArray[np.float64],
    min_s: float,
    dropped: list[Dropped],
) -> list[Group]:
    kept = []
    for group in groups:
        total = sum(seconds[i] for i in group)
        if total >= min_s:
            kept.append(group)
            continue
        for i in group:
            file = corpus.files[i]
            reason = f"{seconds[i]:.2f} s; wanted at least {min_s:g} s"
            dropped.append(Dropped(file.path, file.speaker_id, "too short", reason))
    return kept


def _first_reason(corpus: Corpus, dropped: list[Dropped]) -> str:
    if dropped:
        return f"{dropped[0].path}: {dropped[0].reason}"
    return f"{corpus.files[0].path}: too short"

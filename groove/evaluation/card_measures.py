"""Measuring what a card promises: limits of speech, tables of thresholds, a calibration.

Trials of a length are of two kinds, both between different utterances: crop against crop, and crop
against whole utterance. Rules:

- no answer below the amount of speech at which crop against crop reaches 20 % EER, nor below the
  shortest measured;
- a warning below the amount at which it reaches twice the EER of whole utterances;
- a threshold table a length, from crop against whole (the stricter kind, as strangers score higher
  the longer either side is); crops with too little speech for an answer are left out; joined
  utterances contain their whole ones, so they are compared with one another;
- where utterances were heard through several channels, both sides of a trial are of one, and of the
  channels' thresholds for a rate the strictest counts: strangers on one kind of telephone are more
  alike than on two, and a promise is for whatever kind a pair comes from;
- one calibration on both kinds of all lengths, each kind and length with the same weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groove.calibration import fit_calibration, threshold_table
from groove.card import ModelCard, NarrowBand, ThresholdTable
from groove.errors import ScoringError
from groove.evaluation.card_trials import (
    EmbeddedSet,
    LengthTrials,
    channel_trials,
    length_trials,
    pooled,
)
from groove.metrics import eer
from groove.scoring import Calibration

Report = Callable[[str], None]

FULL = "full"
CROPS_S = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
JOINED_S = (4.0, 6.0, 10.0)
CONDITIONS = (FULL, *(f"{s:g}" for s in (*JOINED_S, *CROPS_S)))
REFUSE_EER, WARN_RATIO = 0.20, 2.0
N_TARGET, N_NONTARGET = 20_000, 200_000  # a kind and length, for the calibration
ANY_SPEECH_S = 0.01
SEED = 20261124


@dataclass(frozen=True)
class MeasuredCard:
    """The measured fields of a card."""

    min_speech_s: float
    short_speech_s: float
    thresholds: tuple[ThresholdTable, ...]
    calibration: Calibration

    def applied_to(self, card: ModelCard, *, on_telephone: MeasuredCard | None = None) -> ModelCard:
        """A copy of a card that says this, and what was measured on telephone sound.

        Of the telephone's tables only those are kept that measure every rate that each of the
        others does: a rate must not be refused to all for the telephone's sake. The limits of
        speech are those of wide-band speech.

        Raises:
            ScoringError: none of them does.
        """
        narrow_band = None
        if on_telephone is not None:
            kept = supporting(on_telephone.thresholds, self.thresholds)
            narrow_band = NarrowBand(kept, on_telephone.calibration)
        return replace(
            card,
            min_speech_s=self.min_speech_s,
            short_speech_s=self.short_speech_s,
            thresholds=self.thresholds,
            calibration=self.calibration,
            narrow_band=narrow_band,
        )


def supporting(
    narrow: Sequence[ThresholdTable], wide: Sequence[ThresholdTable]
) -> tuple[ThresholdTable, ...]:
    """The telephone's tables that measure every rate that each of the others does.

    Raises:
        ScoringError: none of them does.
    """
    common = set.intersection(*(_rates_of(table) for table in wide))
    kept = tuple(table for table in narrow if common <= _rates_of(table))
    if not kept:
        raise ScoringError(
            "no table of telephone sound measures all the false-match rates that the others do; "
            "calibrate on more speakers, or with --no-telephone"
        )
    return kept


def _rates_of(table: ThresholdTable) -> set[float]:
    return {row.fmr for row in table.rows if row.threshold is not None}


def measure_card(
    sets: Mapping[str, EmbeddedSet], measured_on: str, report: Report = lambda text: None
) -> MeasuredCard:
    """Limits, tables and calibration from one pool under `CONDITIONS`.

    Args:
        sets: condition -> embeddings; "full" and one length of crops are needed, the others are
            used where they are there.
        measured_on: name of the data, for the record.
        report: called with lines for people.

    Raises:
        ScoringError: too few trials for a table or for the calibration.
    """
    min_speech_s, short_speech_s = limits(sets, report)
    report(f"no answer below {min_speech_s:g} s of speech, a warning below {short_speech_s:g} s")
    random = np.random.default_rng(SEED)
    full = sets[FULL].at_least(min_speech_s)
    tables, kinds = [], []
    n_target = n_nontarget = 0  # trials behind the draws, each once in a channel
    for condition in [*_cropped(sets, min_speech_s), FULL, *_joined(sets)]:
        crops = full if condition == FULL else sets[condition].at_least(min_speech_s)
        found = [channel_trials(crops, crops)]
        if condition != FULL and condition not in _joined(sets):
            found.append(channel_trials(crops, full))
        strict = found[-1]
        if not all(trials.has_both for trials in strict):
            report(f"{_named(condition)}: no trials of both kinds: left out")
            continue
        usable = [kind for kind in map(pooled, found) if kind.has_both]
        kinds += [_drawn(kind, random) for kind in usable]
        n_target += sum(min(len(kind.target), N_TARGET) for kind in usable)
        n_nontarget += sum(min(len(kind.nontarget), N_NONTARGET) for kind in usable)
        table = strictest([table_of(trials, measured_on) for trials in strict])
        report(_line(condition, table, pooled(strict)))
        if table not in tables and any(row.threshold is not None for row in table.rows):
            tables.append(table)
    if not tables:
        raise ScoringError("no length has 30 false matches at any rate; calibrate on more speakers")
    fit = _fit(kinds, measured_on, report)
    calibration = replace(fit, n_target=n_target, n_nontarget=n_nontarget)
    return MeasuredCard(min_speech_s, short_speech_s, tuple(tables), calibration)


def table_of(trials: LengthTrials, measured_on: str) -> ThresholdTable:
    """Thresholds for trials of one length; its speech is the median of the shorter sides."""
    rows = threshold_table(trials.target, trials.nontarget, trials.n_speakers)
    return ThresholdTable(round(float(np.median(trials.nontarget_speech_s)), 2), measured_on, rows)


def strictest(tables: Sequence[ThresholdTable]) -> ThresholdTable:
    """Of one length's tables, by channel: for each rate the row with the highest threshold.

    A rate that one of them does not measure is not measured. The speech is the least of theirs, for
    a table is looked up by how much it was measured with at least, whichever channel decides.
    """
    rows = []
    for of_rate in zip(*(table.rows for table in tables), strict=True):
        unmeasured = [row for row in of_rate if row.threshold is None]
        rows.append((unmeasured or sorted(of_rate, key=lambda row: row.threshold or 0))[-1])
    return ThresholdTable(
        min(table.speech_s for table in tables), tables[0].measured_on, tuple(rows)
    )


def limits(
    sets: Mapping[str, EmbeddedSet], report: Report = lambda text: None
) -> tuple[float, float]:
    """Seconds of speech below which there is no answer, and below which there is a warning.

    A length without trials of both kinds says nothing: few short crops hold speech.

    Raises:
        ScoringError: neither whole utterances nor crops give trials of both kinds.
    """
    full = sets[FULL].at_least(ANY_SPEECH_S)
    full_eer = _eer(length_trials(full, full))
    speech, eers = [], []
    for condition in _cropped(sets, 0.0):
        crops = sets[condition].at_least(ANY_SPEECH_S)
        trials = length_trials(crops, crops)
        if not trials.has_both:
            report(f"{_named(condition)}: no trials of both kinds: left out")
            continue
        speech.append(float(np.median(crops.speech_s)))
        eers.append(_eer(trials))
        report(f"{_named(condition)}, {speech[-1]:.2f} s of speech: EER {100 * eers[-1]:.2f} %")
    if not speech:
        raise ScoringError(
            "no length of crops gives trials of both kinds; a calibration needs speakers with "
            "several utterances that hold speech"
        )
    report(
        f"whole utterances, {np.median(full.speech_s):.2f} s of speech: EER {100 * full_eer:.2f} %"
    )
    return _crossing(speech, eers, REFUSE_EER), _crossing(speech, eers, WARN_RATIO * full_eer)


def _cropped(sets: Mapping[str, EmbeddedSet], above_s: float) -> list[str]:
    return [name for s in CROPS_S if s > above_s and (name := f"{s:g}") in sets]


def _joined(sets: Mapping[str, EmbeddedSet]) -> list[str]:
    return [name for name in (f"{s:g}" for s in JOINED_S) if name in sets]


def _eer(trials: LengthTrials) -> float:
    """At least half an error, so that its logarithm exists."""
    if not trials.has_both:
        raise ScoringError(
            f"{len(trials.target)} target and {len(trials.nontarget)} non-target trials; a "
            "calibration needs speakers with several utterances that hold speech"
        )
    return max(eer(trials.target, trials.nontarget), 0.5 / len(trials.target))


def _crossing(speech_s: list[float], eers: list[float], level: float) -> float:
    """Where the falling curve of EER over log speech meets ``level``, rounded up to 0.1 s."""
    at = np.exp(np.interp(-np.log(level), -np.log(eers), np.log(speech_s)))
    return float(np.ceil(at * 10) / 10)


def _drawn(trials: LengthTrials, random: np.random.Generator) -> LengthTrials:
    """The same number of trials from every kind, so that each weighs the same."""
    t = random.choice(len(trials.target), N_TARGET, replace=len(trials.target) < N_TARGET)
    n = random.choice(
        len(trials.nontarget), N_NONTARGET, replace=len(trials.nontarget) < N_NONTARGET
    )
    return LengthTrials(
        trials.target[t],
        trials.nontarget[n],
        trials.target_speech_s[t],
        trials.nontarget_speech_s[n],
        trials.n_speakers,
    )


def _fit(kinds: list[LengthTrials], measured_on: str, report: Report) -> Calibration:
    def joined(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(kind, name) for kind in kinds]).astype(np.float64)

    classes = joined("target"), joined("nontarget")
    speech = joined("target_speech_s"), joined("nontarget_speech_s")
    n_speakers = max(kind.n_speakers for kind in kinds)
    try:
        return fit_calibration(*classes, *speech, n_speakers=n_speakers, measured_on=measured_on)
    except ScoringError as error:  # the score alone must do, as for a model that learnt little
        report(f"the calibration takes the score alone, without seconds of speech: {error}")
        return fit_calibration(*classes, n_speakers=n_speakers, measured_on=measured_on)


def _line(condition: str, table: ThresholdTable, trials: LengthTrials) -> str:
    one = next(row for row in table.rows if row.fmr == 0.01)
    start = (
        f"{_named(condition)}, {table.speech_s:.2f} s of speech: {len(trials.target):,} target, "
        f"{len(trials.nontarget):,} non-target trials, "
        f"EER {100 * eer(trials.target, trials.nontarget):.2f} %, "
    )
    if one.threshold is None or one.fnmr is None:
        return f"{start}threshold for FMR 1 % not measurable ({one.n_false_matches} false matches)"
    return f"{start}threshold for FMR 1 % {one.threshold:.4f}, FNMR {100 * one.fnmr:.2f} %"


def _named(condition: str) -> str:
    if condition == FULL:
        return "whole utterances"
    is_joined = condition in [f"{s:g}" for s in JOINED_S]
    return f"{'joined to ' if is_joined else ''}{condition} s{'' if is_joined else ' crops'}"

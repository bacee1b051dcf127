"""Who is this, among N people or nobody? Exact search, and a threshold that grows with N.

A stranger is compared with everybody, so he is wrongly named more often the more people there are:
with a false-match rate m of one comparison, 1 - (1 - m)^N of N independent ones. `threshold_for`
turns that round. The false-alarm rate f of the whole question (FPIR: how often a stranger is named)
is what one asks for; the comparison may then match falsely at m = 1 - (1 - f)^(1/N), and:

1. If the model's card measured a false-match rate of at most m, that row's threshold is used;
   but never one below the score at which the calibration holds the voice as likely as all of
   "nobody", llr = ln N: nobody is named whom the calibration calls unlikely.
2. Else the threshold was not measured, and the rule says so. The last decade of the table is
   continued: each further decade of m raises the threshold by what the last measured decade did.
   The scores of strangers have lighter tails than that (the steps shrink in every table that was
   measured), so it errs on the strict side. The calibration's floor holds here as well.
3. Beyond a cosine of 1 no score could keep the promise: it is refused.

``probability`` of a candidate i is Bayes' rule over N + 1 answers, with even odds beforehand that
the speaker is enrolled at all, and everybody equally likely then:
LR_i / (N + sum of all LR_j), and nobody's is N / (N + sum of all LR_j).

docs/voiceprints.md explains the choice. Source of the terms: ISO/IEC 19795-1 (FPIR).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groove.card import ModelCard, ThresholdTable
from groove.errors import ScoringError, SettingsError
from groove.scoring import Calibration, ThresholdRow
from groove.voiceprints.people import people_text

DEFAULT_FPIR = 0.01
BLOCK_ROWS = 16_384  # scored at a time by one thread

_Floats = NDArray[np.float32]


class Gallery:
    """Voiceprints in memory: ``matrix`` [N, D] of length 1, ``keys``, seconds of speech [N].

    ``narrow_band`` [N]: whether all that is enrolled of somebody is telephone sound.

    >>> scores = gallery.scores(embedding)              # [N]
    >>> gallery.best(scores, 5)                         # indices, best first
    """

    def __init__(
        self,
        keys: NDArray[np.int64],
        matrix: _Floats,
        speech_s: _Floats,
        narrow_band: NDArray[np.bool_],
    ) -> None:
        self.keys, self.matrix = keys, matrix
        self.speech_s, self.narrow_band = speech_s, narrow_band

    def __len__(self) -> int:
        return len(self.keys)

    def scores(self, embedding: NDArray[np.floating], *, threads: int = 2) -> _Floats:
        """Cosines [N] of one embedding [D] with everybody; every one is computed.

        Args:
            embedding: [D], length 1.
            threads: how many blocks are scored at once.

        Raises:
            ScoringError: another size than the gallery's.
        """
        if embedding.shape != self.matrix.shape[1:]:
            raise ScoringError(
                f"the embedding has shape {embedding.shape}, the gallery's {self.matrix.shape[1:]}"
            )
        query, scores = embedding.astype(np.float32), np.empty(len(self), np.float32)

        def score(start: int) -> None:
            rows = slice(start, start + BLOCK_ROWS)
            np.dot(self.matrix[rows], query, out=scores[rows])

        starts = range(0, len(self), BLOCK_ROWS)
        if len(starts) < 2 or threads < 2:
            for start in starts:
                score(start)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(score, starts))
        return scores

    def best(self, scores: _Floats, top: int) -> NDArray[np.int64]:
        """Indices of the ``top`` highest scores, best first; equal ones in the order of keys."""
        top = min(top, len(scores))
        if top <= 0:
            return np.zeros(0, np.int64)
        candidates: NDArray[np.int64] = np.arange(len(scores))
        if top < len(scores):  # everything that ties with the last place stays a candidate
            # `top` of the groups' maxima are at least `least`, so the best `top` scores are, too;
            # sorting out the few that remain costs a tenth of partitioning them all.
            groups = np.arange(0, len(scores), max(1, min(1024, len(scores) // top)))
            maxima = np.maximum.reduceat(scores, groups)
            least = np.partition(maxima, len(maxima) - top)[-top]
            candidates = np.flatnonzero(scores >= least)
        order = np.lexsort((self.keys[candidates], -scores[candidates]))
        return candidates[order[:top]]


class GalleryBuilder:
    """Adds up embeddings by person, block by block, in any order, holding the matrix only once."""

    def __init__(self, keys: NDArray[np.int64], size: int) -> None:
        """Make room for the people of these sorted keys."""
        self._keys = keys
        self._total = np.zeros((len(keys), size), np.float32)
        self._speech_s = np.zeros(len(keys), np.float32)
        self._narrow_band = np.ones(len(keys), np.bool_)

    def add(
        self,
        owners: NDArray[np.int64],
        embeddings: _Floats,
        speech_s: _Floats,
        narrow_band: NDArray[np.bool_],
    ) -> None:
        """Add embeddings [n, D] of length 1 of the people with these keys [n]."""
        rows = np.searchsorted(self._keys, owners)
        order = np.argsort(rows, kind="stable")
        sorted_rows = rows[order]
        first = np.flatnonzero(np.r_[True, sorted_rows[1:] != sorted_rows[:-1]])
        self._total[sorted_rows[first]] += np.add.reduceat(embeddings[order], first, axis=0)
        self._speech_s[sorted_rows[first]] += np.add.reduceat(speech_s[order], first)
        self._narrow_band[rows[~narrow_band]] = False

    def build(self) -> Gallery:
        """Scale every sum to length 1, in place."""
        for start in range(0, len(self._total), BLOCK_ROWS):
            block = self._total[start : start + BLOCK_ROWS]
            lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
            block /= np.maximum(lengths, np.float32(1e-12))[:, None]
        return Gallery(self._keys, self._total, self._speech_s, self._narrow_band)


@dataclass(frozen=True)
class PopulationThreshold:
    """The threshold for a population, and the rule behind it. ``measured``: see the module."""

    value: float
    rule: str
    measured: bool
    fmr: float  # of one comparison


def fmr_of_comparison(fpir: float, n_people: int) -> float:
    """The false-match rate of one of N independent comparisons that gives ``fpir`` for all.

    1 - (1 - f)^(1/N), computed so that small numbers keep their digits.

    Raises:
        SettingsError: ``fpir`` not between 0 and 1, or nobody enrolled.
    """
    if not 0 < fpir < 1:
        raise SettingsError(f"false-alarm rate {fpir:g}; wanted a number between 0 and 1")
    if n_people < 1:
        raise SettingsError("nobody is enrolled; there is no threshold")
    return -math.expm1(math.log1p(-fpir) / n_people)


def threshold_for(
    card: ModelCard,
    speech_s: float,
    n_people: int,
    *,
    fpir: float = DEFAULT_FPIR,
    narrow_band: bool = False,
) -> PopulationThreshold:
    """The threshold under which a stranger is named with a probability of at most ``fpir``.

    Args:
        card: the model's.
        speech_s: seconds of speech of the test recording.
        n_people: how many are enrolled.
        fpir: the false-alarm rate to promise for the whole question.
        narrow_band: whether both sides are telephone sound.

    Raises:
        SettingsError: a value out of range, no measured thresholds, or a promise that no score
            can keep.
    """
    fmr = fmr_of_comparison(fpir, n_people)
    table = card.table_for(speech_s, narrow_band=narrow_band)
    rows = _measured(table)
    if table is None or not rows:
        raise SettingsError(
            f"{card.name} holds no measured thresholds; give --threshold, or calibrate it"
        )
    promise = f"at most {100 * fpir:g} % false alarms among {people_text(n_people)}"
    need = f"a false-match rate of {fmr:.2g} a comparison"
    floor = -math.inf
    calibration = card.calibration_for(narrow_band=narrow_band)
    if calibration is not None:
        floor = _score_of(calibration, math.log(n_people), speech_s)
    low_enough = [row for row in rows if row.fmr <= fmr]
    if low_enough:
        row = low_enough[-1]
        assert row.threshold is not None
        if floor > 1:
            raise SettingsError(
                f"the calibration of {card.name} holds no score as likely as nobody among "
                f"{people_text(n_people)} with {speech_s:.1f} s of speech; use more speech, or "
                "give --threshold"
            )
        rule = (
            f"{promise}: {need}; measured {row.fmr:g} on {row.n_nontarget:,} pairs of different "
            f"voices ({row.n_speakers:,} speakers, {table.measured_on})"
        )
        if floor > row.threshold:
            rule += (
                f"; raised from {row.threshold:.4f} to where the calibration holds the voice as "
                "likely as nobody"
            )
        return PopulationThreshold(max(row.threshold, floor), rule, True, fmr)
    value = max(_continued(rows, fmr), floor)
    if value > 1:
        raise SettingsError(
            f"{promise} needs {need}; no score could keep that promise (measured: "
            f"{rows[0].fmr:g}). Ask for a larger --fpir, give --threshold, or use more speech"
        )
    rule = (
        f"{promise}: {need}, which was not measured (smallest measured: {rows[0].fmr:g}); the "
        "threshold is continued from the last measured decade, on the strict side"
    )
    return PopulationThreshold(value, rule, False, fmr)


def posteriors(llrs: NDArray[np.floating], indices: NDArray[np.int64]) -> tuple[list[float], float]:
    """Probabilities of some of N people, and of nobody; see the module.

    Args:
        llrs: [N], of everybody.
        indices: whose probabilities are wanted.
    """
    log_n = math.log(len(llrs))
    highest = max(float(llrs.max()), log_n)
    total = float(np.exp(llrs - llrs.dtype.type(highest)).sum(dtype=np.float64))
    log_total = highest + math.log(total + math.exp(log_n - highest))
    chosen = np.exp(llrs[indices].astype(np.float64) - log_total)
    return [float(p) for p in chosen], math.exp(log_n - log_total)


def llrs_of_kinds(
    card: ModelCard, scores: _Floats, gallery: Gallery, test_s: float, *, narrow_band: bool
) -> _Floats | None:
    """`llrs_of` with the calibration of each trial's kind; None where the card has none.

    Args:
        card: the model's.
        scores: [N], of everybody in the gallery.
        gallery: who is enrolled.
        test_s: seconds of speech of the test recording.
        narrow_band: whether it is telephone sound.
    """
    if card.calibration is None:
        return None
    llrs = llrs_of(card.calibration, scores, gallery.speech_s, test_s)
    if narrow_band and card.narrow_band is not None and gallery.narrow_band.any():
        rows = np.flatnonzero(gallery.narrow_band)
        calibration = card.narrow_band.calibration
        llrs[rows] = llrs_of(calibration, scores[rows], gallery.speech_s[rows], test_s)
    return llrs


def llrs_of(calibration: Calibration, scores: _Floats, speech_s: _Floats, test_s: float) -> _Floats:
    """Log-likelihood ratios [N] in float32, a block at a time (see `Calibration.llr`).

    Args:
        calibration: the card's.
        scores: [N].
        speech_s: [N], of the enrolled sides.
        test_s: of the test recording; the shorter side counts.
    """
    llrs = np.empty(len(scores), np.float32)
    for start in range(0, len(scores), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        shorter = np.minimum(speech_s[rows], np.float32(test_s))
        np.clip(shorter, calibration.min_speech_s, calibration.max_speech_s, out=shorter)
        q = np.log(shorter)
        weight = np.float32(calibration.w_score) + np.float32(calibration.w_score_speech) * q
        llrs[rows] = weight * scores[rows] + np.float32(calibration.w_speech) * q
        llrs[rows] += np.float32(calibration.bias)
    return llrs


def _measured(table: ThresholdTable | None) -> list[ThresholdRow]:
    """The measured rows, smallest rate first."""
    rows = table.rows if table is not None else ()
    return sorted((row for row in rows if row.threshold is not None), key=lambda row: row.fmr)


def _continued(rows: list[ThresholdRow], fmr: float) -> float:
    """Where the table's last decade leads; ``rows`` smallest rate first.

    With one row, or none a decade away, the widest span there is stands in for a decade, and a
    cosine of 1 for a table of one row: nothing can be continued from it.
    """
    last = rows[0]
    assert last.threshold is not None
    decade = next((row for row in rows if row.fmr >= 10 * last.fmr * (1 - 1e-9)), rows[-1])
    assert decade.threshold is not None
    if decade is last:
        return math.nextafter(1.0, 2.0)
    rise = (last.threshold - decade.threshold) / math.log10(decade.fmr / last.fmr)
    return last.threshold + rise * math.log10(last.fmr / fmr)


def _score_of(calibration: Calibration, llr: float, speech_s: float) -> float:
    """The score at which the calibration gives ``llr``."""
    at_zero = calibration.llr(0.0, speech_s)
    clipped = min(max(speech_s, calibration.min_speech_s), calibration.max_speech_s)
    return (llr - at_zero) / calibration.slope(clipped)

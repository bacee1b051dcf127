"""From embeddings to scores, and from scores to probabilities.

A score is the cosine of two embeddings, optionally normalised against a cohort (`as_norm`). A
`Calibration` turns it into a natural-log likelihood ratio of "same voice" against "different
voices", `probability` that into a probability. A `ThresholdRow` says which false-match rate a
threshold promises and on how many trials that was measured. How both are measured is the business
of `groove.calibration`; this room only applies them.

Everything is computed in float64. Sources: Karam et al. 2011 and Matějka et al. 2017 (adaptive
s-norm); Brümmer & du Preez 2006 (calibration); Mandasari et al. 2013 (duration as quality measure).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groove.errors import CardError, ScoringError

Floats = NDArray[np.float64]
Record = TypeVar("Record", "Calibration", "ThresholdRow")


def cosine(a: ArrayLike, b: ArrayLike) -> Any:
    """Cosine of the angle between embeddings, -1 to 1; symmetric to the last bit.

    >>> cosine(enrollment, test)      # [D], [D] -> float
    >>> cosine(enrollments, tests)    # [N, D], [K, D] -> [N, K]

    Embeddings need not have length 1. Matrices are multiplied both ways round and averaged: a
    BLAS product may add in another order when its sides are swapped, a sum of two terms may not.

    Raises:
        ScoringError: a zero or non-finite embedding, or sizes that do not fit.
    """
    left, right = unit_length(a), unit_length(b)
    if left.ndim != right.ndim or left.shape[-1] != right.shape[-1]:
        raise ScoringError(
            f"embeddings have shapes {left.shape} and {right.shape}; wanted [D] and [D], or [N, D] "
            "and [K, D], from the same model"
        )
    if left.ndim == 1:
        return float(np.clip(left @ right, -1.0, 1.0))
    scores = left @ right.T
    scores += (right @ left.T).T
    scores *= 0.5
    return np.clip(scores, -1.0, 1.0, out=scores)


def unit_length(embeddings: ArrayLike) -> Floats:
    """Embeddings [D] or [N, D] scaled to length 1, float64.

    Raises:
        ScoringError: another shape, or an embedding that is zero or not finite.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim not in (1, 2) or not vectors.shape[-1]:
        raise ScoringError(f"embeddings have shape {vectors.shape}; wanted [D] or [N, D]")
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ScoringError("an embedding is zero or not finite: its recording gave no voice")
    unit: Floats = vectors / lengths
    return unit


@dataclass(frozen=True)
class CohortStatistics:
    """Mean and standard deviation of each embedding's ``top_n`` highest cohort scores, [N] each."""

    mean: Floats
    std: Floats

    def take(self, indices: ArrayLike) -> CohortStatistics:
        """The statistics of a list of trials' enrollment (or test) sides, given as indices [N]."""
        rows = np.asarray(indices, dtype=np.intp)
        return CohortStatistics(self.mean[rows], self.std[rows])


def cohort_statistics(
    embeddings: ArrayLike, cohort: ArrayLike, *, top_n: int = 300, block: int = 1024
) -> CohortStatistics:
    """How each embedding scores against the cohort speakers that are most like it.

    Args:
        embeddings: [N, D].
        cohort: [K, D], one mean embedding per cohort speaker; none of them in the trials.
        top_n: how many of the highest scores count, 2 to K.
        block: embeddings scored at once; memory is block x K numbers.

    Raises:
        ScoringError: ``top_n`` out of range, sizes that do not fit, or equal cohort scores.
    """
    vectors, speakers = unit_length(embeddings), unit_length(cohort)
    if vectors.ndim != 2 or speakers.ndim != 2 or vectors.shape[1] != speakers.shape[1]:
        raise ScoringError(
            f"embeddings {vectors.shape} and cohort {speakers.shape}; wanted [N, D] and [K, D]"
        )
    if not 2 <= top_n <= len(speakers):
        raise ScoringError(f"top_n {top_n} of {len(speakers)} cohort speakers; wanted 2 to that")
    mean, std = np.empty(len(vectors)), np.empty(len(vectors))
    for start in range(0, len(vectors), block):
        rows = slice(start, start + block)
        scores = vectors[rows] @ speakers.T  # [block, K]
        nearest = np.partition(scores, len(speakers) - top_n, axis=1)[:, -top_n:]
        mean[rows], std[rows] = nearest.mean(axis=1), nearest.std(axis=1)
    if (std < 1e-12).any():  # rounding of equal cosines
        raise ScoringError(
            "cohort scores are all equal for an embedding; the cohort repeats itself"
        )
    return CohortStatistics(mean, std)


def as_norm(scores: ArrayLike, enrollment: CohortStatistics, test: CohortStatistics) -> Floats:
    """Adaptive symmetric score normalisation: the mean of both sides' standard scores.

    ((s - mean_e) / std_e + (s - mean_t) / std_t) / 2. Swapping the sides changes nothing.
    Source: Matějka et al. 2017, "Analysis of score normalization in multilingual speaker
    recognition", adaptive s-norm 1.

    Args:
        scores: [N] of N trials, or a matrix [N, K] of enrollments against tests.
        enrollment: statistics of the N enrollment sides.
        test: statistics of the N (or K) test sides.

    Returns:
        Float64 of the shape of ``scores``; no longer a cosine.

    Raises:
        ScoringError: sizes that do not fit.
    """
    raw = np.asarray(scores, dtype=np.float64)
    sides = (len(enrollment.mean), len(test.mean))
    if raw.ndim not in (1, 2) or sides != (raw.shape[0], raw.shape[-1]):
        raise ScoringError(f"scores {raw.shape} but statistics of {sides[0]} and {sides[1]} sides")
    column = (slice(None), None) if raw.ndim == 2 else slice(None)
    normalised: Floats = (raw - enrollment.mean[column]) / enrollment.std[column]
    normalised += (raw - test.mean) / test.std
    return normalised * 0.5


@dataclass(frozen=True)
class Calibration:
    """Score and speech to a natural-log likelihood ratio, with what it was measured on.

    llr = (w_score + w_score_speech q) score + w_speech q + bias, where q is the natural logarithm
    of the shorter side's seconds of speech, clipped to [min_speech_s, max_speech_s]. With both
    speech weights 0 the speech plays no part.
    """

    w_score: float
    w_score_speech: float
    w_speech: float
    bias: float
    min_speech_s: float
    max_speech_s: float
    n_target: int
    n_nontarget: int
    n_speakers: int
    measured_on: str

    def __post_init__(self) -> None:
        """Refuse a calibration under which a higher score could mean less."""
        weights = (self.w_score, self.w_score_speech, self.w_speech, self.bias)
        if not all(map(math.isfinite, weights)):
            raise CardError(f"calibration: weights {weights}; wanted finite numbers")
        if not 0 < self.min_speech_s <= self.max_speech_s < math.inf:
            raise CardError(
                f"calibration: speech from {self.min_speech_s:g} to {self.max_speech_s:g} s; "
                "wanted 0 < min <= max"
            )
        if min(self.slope(self.min_speech_s), self.slope(self.max_speech_s)) <= 0:
            raise CardError("calibration: a higher score would lower the llr; calibrate again")
        _refuse_negative("calibration", self, ("n_target", "n_nontarget", "n_speakers"))

    def slope(self, speech_s: float) -> float:
        """Rise of the llr per unit of score; linear in q, so least at an end of the range."""
        return self.w_score + self.w_score_speech * float(self._q(speech_s))

    @overload
    def llr(self, score: float, speech_s: float) -> float: ...
    @overload
    def llr(self, score: NDArray[Any], speech_s: ArrayLike) -> Floats: ...
    def llr(self, score: ArrayLike, speech_s: ArrayLike) -> float | Floats:
        """The log-likelihood ratio; positive speaks for "same voice".

        Args:
            score: one, or [N].
            speech_s: seconds of speech of the shorter side: one, or [N].

        Raises:
            ScoringError: NaN.
        """
        scores, q = np.asarray(score, dtype=np.float64), self._q(speech_s)
        llr = (self.w_score + self.w_score_speech * q) * scores + self.w_speech * q + self.bias
        if np.isnan(llr).any():
            raise ScoringError("a score or its seconds of speech is NaN; there is no llr")
        return llr if llr.ndim else float(llr)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            CardError: unknown or missing fields, or values out of range.
        """
        return _from_dict(cls, "calibration", values)

    def _q(self, speech_s: ArrayLike) -> Floats:
        speech = np.asarray(speech_s, dtype=np.float64)
        return np.asarray(np.log(np.clip(speech, self.min_speech_s, self.max_speech_s)))


@dataclass(frozen=True)
class ThresholdRow:
    """A promised false-match rate, the threshold that keeps it, and what that rests on.

    ``threshold`` and ``fnmr`` are None where fewer than 30 false matches support the rate; then
    ``n_false_matches`` says how many there were.
    """

    fmr: float
    threshold: float | None
    fnmr: float | None
    n_false_matches: int
    n_nontarget: int
    n_target: int
    n_speakers: int

    def __post_init__(self) -> None:
        """Refuse a row that is half measured, or that nothing can have measured."""
        if (self.threshold is None) != (self.fnmr is None):
            raise CardError("threshold row: threshold and fnmr are measured together or not at all")
        for name, rate in (("fmr", self.fmr), ("fnmr", self.fnmr)):
            if rate is not None and not 0 <= rate <= 1:
                raise CardError(f"threshold row: {name} is {rate!r}; wanted a rate from 0 to 1")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise CardError(f"threshold row: threshold is {self.threshold!r}; wanted a finite one")
        _refuse_negative("threshold row", self, ("n_false_matches", "n_nontarget", "n_target"))

    def __str__(self) -> str:
        """One line for people."""
        if self.threshold is None or self.fnmr is None:
            return f"fmr {self.fmr:g}: not measurable ({self.n_false_matches} false matches)"
        return f"fmr {self.fmr:g}: threshold {self.threshold:.4f}, fnmr {self.fnmr:.4f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ThresholdRow:
        """Read what `to_dict` wrote.

        Raises:
            CardError: unknown or missing fields, or values out of range.
        """
        return _from_dict(cls, "threshold row", values)


@overload
def probability(llr: float, prior: float = 0.5) -> float: ...
@overload
def probability(llr: NDArray[Any], prior: float = 0.5) -> Floats: ...
def probability(llr: ArrayLike, prior: float = 0.5) -> float | Floats:
    """Probability of "same voice"; cannot overflow.

    1 / (1 + exp(-(llr + ln(prior / (1 - prior)))))

    Args:
        llr: natural-log likelihood ratio, one or [N]; infinities give 0 and 1.
        prior: probability of "same voice" before listening.

    Raises:
        ScoringError: NaN, or a prior not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise ScoringError(f"prior {prior:g}; wanted a number between 0 and 1")
    log_odds = np.asarray(llr, dtype=np.float64) + math.log(prior) - math.log1p(-prior)
    if np.isnan(log_odds).any():
        raise ScoringError("the llr is NaN; there is no probability")
    result = np.asarray(np.exp(-np.logaddexp(0.0, -log_odds)))
    return result if result.ndim else float(result)


def _refuse_negative(what: str, record: object, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(record, name) < 0:
            raise CardError(f"{what}: {name} is {getattr(record, name)}; wanted at least 0")


def _from_dict(cls: type[Record], what: str, values: dict[str, Any]) -> Record:
    known = {field.name: str(field.type) for field in fields(cls)}
    unknown, missing = sorted(set(values) - set(known)), sorted(set(known) - set(values))
    if unknown or missing:
        raise CardError(f"{what}: unknown fields {unknown}, missing fields {missing}")
    for name, kind in known.items():
        if not isinstance(values[name], _KINDS[kind]) or isinstance(values[name], bool):
            raise CardError(f"{what}: {name} is {values[name]!r}; wanted {kind}")
        if isinstance(values[name], float) and not math.isfinite(values[name]):
            raise CardError(f"{what}: {name} is {values[name]!r}; wanted a finite number")
    return cls(**values)


_KINDS: dict[str, tuple[type, ...]] = {
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "int": (int,),
    "str": (str,),
}

"""Do two recordings hold the same voice? A score is never naked.

`Verifier.compare` gives a `Comparison`: the score (cosine of the two embeddings, -1 to 1), the
threshold and the rule behind it, the decision (same if score >= threshold), the log-likelihood
ratio and the probability that the card's calibration makes of them, and warnings. Where one side
holds too little speech the decision is "undecided" and there is no score: silence never matches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from groove.audio import AudioSource
from groove.audio.bytestream import source_name
from groove.card import ModelCard, ThresholdTable
from groove.cautions import CLOSE_CALL, MIXED_CHANNELS, NOT_FOR_TELEPHONE, SAME_SOUND, Caution
from groove.embedder import Embedder, Examined
from groove.encoder import Encoder
from groove.errors import SettingsError
from groove.scoring import ThresholdRow, cosine, probability
from groove.speech import SpeechReport

DEFAULT_FMR = 0.01
SAME_SOUND_SCORE = 0.99999  # from here on, of equally long recordings: see `_is_same_sound`
PRIOR = 0.5  # of "same voice" before listening; the probability is for even odds

Verdict = Literal["same", "different", "undecided"]
Channel = Literal["wide band", "telephone", "mixed"]  # of both sides together


@dataclass(frozen=True)
class Side:
    """One recording of a comparison."""

    name: str
    speech: SpeechReport


@dataclass(frozen=True)
class Judgement:
    """What follows from one score. ``score``, ``llr`` and ``probability`` may be None.

    ``llr`` is the natural-log likelihood ratio of "same voice" against "different voices";
    ``probability`` is what follows from it at even prior odds. Both need a calibrated card.
    ``channel`` says what was compared: "telephone" is telephone sound on both sides, which has
    thresholds and a calibration of its own.
    """

    decision: Verdict
    score: float | None
    threshold: float
    rule: str
    llr: float | None
    probability: float | None
    channel: Channel


@dataclass(frozen=True)
class Comparison(Judgement):
    """The answer for two recordings."""

    warnings: tuple[Caution, ...]
    model: str
    a: Side
    b: Side
    seconds: float  # wall-clock seconds that the comparison took

    @property
    def accepted(self) -> bool:
        """True only for "same"."""
        return self.decision == "same"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Threshold:
    value: float
    rule: str


class Verifier:
    """Compares recordings with one encoder and one rule for the threshold.

    >>> verifier = Verifier(encoder)                     # at most 1 % false matches
    >>> verifier.compare("a.wav", "b.wav").decision      # "same", "different" or "undecided"
    >>> Verifier(encoder, fmr=0.001)                     # stricter, if the card measured it
    >>> Verifier(encoder, threshold=0.5)                 # your own threshold
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        fmr: float | None = None,
        threshold: float | None = None,
        num_crops: int | None = None,
        crop_sec: float | None = None,
        channel: int | None = None,
    ) -> None:
        """Fix the encoder, the cutting and the rule.

        Args:
            encoder: the model.
            fmr: the false-match rate to promise; None means 0.01.
            threshold: use this cosine instead of a measured one.
            num_crops: see `Embedder`.
            crop_sec: see `Embedder`.
            channel: see `Embedder`.

        Raises:
            SettingsError: both ``fmr`` and ``threshold``, a value out of range, a false-match rate
                below the card's smallest measured row, or no threshold in the card.
        """
        if fmr is not None and threshold is not None:
            raise SettingsError("give --fmr or --threshold, not both")
        if threshold is not None and not -1 <= threshold <= 1:
            raise SettingsError(f"threshold {threshold:g}; wanted a cosine between -1 and 1")
        self.embedder = Embedder(encoder, num_crops=num_crops, crop_sec=crop_sec, channel=channel)
        self._given, self._fmr = threshold, DEFAULT_FMR if fmr is None else fmr
        if threshold is None:  # refuse what cannot be promised before listening
            _require_rows(encoder.card, self._fmr)

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.embedder.encoder.card

    @property
    def given_threshold(self) -> float | None:
        """The threshold that was given, if any."""
        return self._given

    def compare(
        self,
        a: AudioSource,
        b: AudioSource,
        *,
        progress: Callable[[str, float], None] | None = None,
    ) -> Comparison:
        """Compare two recordings; the order does not matter, to the last bit.

        Args:
            a: a path, bytes, a binary file object, or ``(array, sample_rate)``.
            b: likewise.
            progress: called with the recording's name and the seconds read so far.

        Raises:
            AudioError: a recording cannot be read.
        """
        started = time.perf_counter()
        examined = [self._examine(source, progress) for source in (a, b)]
        sides = [
            Side(source_name(source), item.speech)
            for source, item in zip((a, b), examined, strict=True)
        ]
        shorter_s = min(side.speech.speech_s for side in sides)
        channel = channel_of(*(side.speech.is_narrow_band for side in sides))
        judged = self.judge(_score(*examined), shorter_s, channel=channel)
        same = [SAME_SOUND] if _is_same_sound(*examined) else []
        return Comparison(
            **asdict(judged),
            warnings=tuple(dict.fromkeys([*same, *self.cautions(sides, judged)])),
            model=f"{self.card.name} {self.card.version}",
            a=sides[0],
            b=sides[1],
            seconds=time.perf_counter() - started,
        )

    def judge(
        self, score: float | None, speech_s: float, *, channel: Channel = "wide band"
    ) -> Judgement:
        """The decision for a score, or for none.

        Args:
            score: a cosine; None where a side gave no embedding.
            speech_s: seconds of speech of the shorter side.
            channel: see `channel_of`.
        """
        threshold = self._threshold(speech_s, channel)
        llr = self._llr(score, speech_s, channel)
        return Judgement(
            decision=_decide(score, threshold.value),
            score=score,
            threshold=threshold.value,
            rule=threshold.rule,
            llr=llr,
            probability=None if llr is None else probability(llr, PRIOR),
            channel=channel,
        )

    def cautions(
        self,
        sides: Iterable[Side],
        judged: Judgement | None = None,
        *,
        channel: Channel = "wide band",
    ) -> Iterator[Caution]:
        """What is wrong with recordings, with the rule that judges them, and with its answer.

        Args:
            sides: the recordings.
            judged: the answer; None where there is none.
            channel: of an answer that is no `Judgement`.
        """
        if judged is not None:
            channel = judged.channel
            if _is_close_call(judged):
                yield CLOSE_CALL
        if channel == "mixed":
            yield MIXED_CHANNELS
        if channel == "telephone" and self.card.narrow_band is None and self._is_measured:
            yield NOT_FOR_TELEPHONE
        for side in sides:
            for found in side.speech.warnings(self.card.min_speech_s, self.card.short_speech_s):
                yield Caution(found.code, found.text, side.name)
        if not self.embedder.is_card_setting:
            what = "threshold" if self._given is None else "probability"
            if what == "threshold" or self.card.calibration is not None:
                text = f"the {what} was not measured for these settings"
                yield Caution("settings", text, "")
        if self.card.calibration is None:
            yield Caution("uncalibrated", "the card holds no calibration: no probability", "")

    def _examine(
        self, source: AudioSource, progress: Callable[[str, float], None] | None
    ) -> Examined:
        if progress is None:
            return self.embedder.examine(source)
        name = source_name(source)
        return self.embedder.examine(source, lambda seconds: progress(name, seconds))

    @property
    def _is_measured(self) -> bool:
        """Whether an answer holds anything that was measured."""
        return self._given is None or self.card.calibration is not None

    def _llr(self, score: float | None, speech_s: float, channel: Channel) -> float | None:
        calibration = self.card.calibration_for(narrow_band=channel == "telephone")
        if score is None or calibration is None:
            return None
        return float(calibration.llr(score, speech_s))

    def row_for(
        self, speech_s: float, *, channel: Channel = "wide band"
    ) -> tuple[ThresholdTable, ThresholdRow] | None:
        """The measured row behind the threshold; None for a threshold that was given.

        Args:
            speech_s: seconds of speech of the shorter side.
            channel: see `channel_of`.
        """
        if self._given is not None:
            return None
        table = self.card.table_for(speech_s, narrow_band=channel == "telephone")
        assert table is not None  # `_require_rows` saw to it
        return table, table.row_for(self._fmr)

    def _threshold(self, speech_s: float, channel: Channel) -> _Threshold:
        """The threshold for a trial whose shorter side holds ``speech_s`` seconds of speech."""
        measured = self.row_for(speech_s, channel=channel)
        if measured is None:
            assert self._given is not None
            return _Threshold(self._given, "the threshold that you gave")
        table, row = measured
        assert row.threshold is not None
        rule = (
            f"at most {100 * row.fmr:g} % false matches: {row.n_false_matches:,} of "
            f"{row.n_nontarget:,} pairs of different voices ({row.n_speakers:,} speakers, "
            f"{table.measured_on})"
        )
        if not self.embedder.is_card_setting:
            rule += "; not measured for these settings"
        return _Threshold(row.threshold, rule)


def _require_rows(card: ModelCard, fmr: float) -> None:
    """Every table must measure the rate: which one is used is known only after listening."""
    if not card.thresholds:
        raise SettingsError(
            f"{card.name} holds no measured thresholds; give --threshold, or calibrate it"
        )
    for table in card.every_table:
        table.row_for(fmr)


def channel_of(a_is_narrow: bool, b_is_narrow: bool) -> Channel:
    """What two sides are together.

    Two strangers on the telephone sound more alike than two in a wide band, so they have thresholds
    of their own. One on the telephone and one in a wide band do not: the ordinary threshold keeps
    its promise (RESULTS.md, section 2).
    """
    if a_is_narrow and b_is_narrow:
        return "telephone"
    return "mixed" if a_is_narrow or b_is_narrow else "wide band"


def _score(a: Examined, b: Examined) -> float | None:
    if a.embedding is None or b.embedding is None:
        return None
    return float(cosine(a.embedding, b.embedding))


def _is_same_sound(a: Examined, b: Examined) -> bool:
    """One recording given twice, or a copy of it: as long to the sample, and one embedding.

    No two recordings of a voice come so near each other; a copy at another volume does.
    """
    score = _score(a, b)
    return score is not None and score > SAME_SOUND_SCORE and a.speech.seconds == b.speech.seconds


def _is_close_call(judged: Judgement) -> bool:
    """The promised false-match rate decides one way, the calibration at even odds the other."""
    if judged.probability is None:
        return False
    unlikely = {"same": judged.probability < PRIOR, "different": judged.probability > PRIOR}
    return unlikely[judged.decision]


def _decide(score: float | None, threshold: float) -> Verdict:
    if score is None:
        return "undecided"
    return "same" if score >= threshold else "different"

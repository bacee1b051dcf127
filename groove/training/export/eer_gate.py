"""What 8-bit arithmetic costs in error rate, on a trial list of speech the calibration never saw.

A cosine says little of a quantised network: its embeddings move, but together. So the equal error
rate decides, reference against exported, on the same trials: every pair of the trial speakers'
utterances, cut to 1 s, to 2 s and to at most 10 s. The margin is absolute (0.003 = 0.3 % points)
and must hold at every length; one target trial must weigh no more than the margin, or chance would
decide. Calibration and trials share no speaker.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.encoder import Encoder
from groove.errors import SettingsError
from groove.manifest import Utterance
from groove.metrics import eer
from groove.parity import Gate
from groove.scoring import cosine

DEFAULT_MARGIN = 0.003
CUTS_S = (1.0, 2.0, 10.0)
MIN_SPEAKERS = 20  # in the trials; fewer say nothing of an error rate
MIN_TARGETS = 100
N_CALIBRATION = 48  # utterances, one a speaker, of up to 3 s: more changed nothing
CALIBRATION_S = 3.0
MAX_PER_SPEAKER, MAX_SPEAKERS = 4, 100  # of the trials


@dataclass(frozen=True)
class LabelledSpeech:
    """Speech for an 8-bit export: for its ranges, and for its trials."""

    name: str
    calibration: tuple[NDArray[np.float32], ...]
    trials: tuple[tuple[str, NDArray[np.float32]], ...]  # speaker, waveform
    _known: list[tuple[Encoder, dict[float, float]]] = field(default_factory=list, compare=False)

    @property
    def n_target(self) -> int:
        """Target trials."""
        return int(self._pairs()[1].sum())

    def check(
        self,
        reference: Encoder,
        exported: Encoder,
        *,
        margin: float = DEFAULT_MARGIN,
        progress: Callable[[str], None] = lambda text: None,
    ) -> Gate:
        """Compare the two error rates at every length; the largest loss decides."""
        worst, where = -1.0, ""
        for seconds in CUTS_S:
            progress(f"error rate at {seconds:g} s")
            wanted, found = self._reference_eer(reference, seconds), self._eer(exported, seconds)
            if found - wanted > worst:
                worst = found - wanted
                where = f"{seconds:g} s: {found:.2%} against {wanted:.2%}"
        pairs = f"{self.n_target} target trials of {self.name}"
        return Gate("EER loss", worst, margin, where, pairs, worst <= margin)

    def _reference_eer(self, reference: Encoder, seconds: float) -> float:
        """Measured once for all the targets that are compared with this reference."""
        rates = next((rates for known, rates in self._known if known is reference), None)
        if rates is None:
            rates = {}
            self._known.append((reference, rates))
        if seconds not in rates:
            rates[seconds] = self._eer(reference, seconds)
        return rates[seconds]

    def _eer(self, encoder: Encoder, seconds: float) -> float:
        n = round(seconds * SAMPLE_RATE)
        embeddings = np.stack([encoder(_middle(w, n)[None])[0] for _, w in self.trials])
        pairs, is_target = self._pairs()
        scores = cosine(embeddings, embeddings)[pairs]
        return eer(scores[is_target], scores[~is_target])

    def _pairs(self) -> tuple[tuple[NDArray[np.intp], ...], NDArray[np.bool_]]:
        speakers = np.array([speaker for speaker, _ in self.trials])
        pairs = np.triu_indices(len(speakers), 1)
        return pairs, speakers[pairs[0]] == speakers[pairs[1]]


def labelled_speech(
    source: Path, utterances: Sequence[Utterance], *, margin: float = DEFAULT_MARGIN
) -> LabelledSpeech:
    """Read what an 8-bit export needs.

    Args:
        source: what the utterances came from, for messages.
        utterances: with speakers; see `groove.parity.read_utterances`.
        margin: the loss that will be allowed; so many target trials must be there that one of them
            weighs no more.

    Raises:
        SettingsError: too few speakers or target trials for an error rate.
        AudioError: a recording cannot be read.
    """
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker_id].append(utterance)
    order = np.random.RandomState(0).permutation(sorted(by_speaker)).tolist()
    n_calibration = min(N_CALIBRATION, len(order) // 3)
    repeated = [s for s in order[n_calibration:] if len(by_speaker[s]) > 1][:MAX_SPEAKERS]
    n_utterances = [min(MAX_PER_SPEAKER, len(by_speaker[s])) for s in repeated]
    n_target = sum(n * (n - 1) // 2 for n in n_utterances)
    wanted = max(MIN_TARGETS, math.ceil(1 / margin)) if margin > 0 else MIN_TARGETS
    if len(repeated) < MIN_SPEAKERS or n_target < wanted:
        raise SettingsError(
            f"{source}: {len(repeated)} speakers with two recordings and {n_target} target trials "
            f"beside the calibration; an 8-bit export is judged by its error rate and, to see a "
            f"loss of {margin:g}, wants {MIN_SPEAKERS} and {wanted}: give more labelled speech "
            "with --speech, or a larger --margin"
        )
    n = round(CALIBRATION_S * SAMPLE_RATE)
    return LabelledSpeech(
        str(source),
        tuple(read_audio(by_speaker[s][0].path)[:n] for s in order[:n_calibration]),
        tuple(
            (s, _middle(read_audio(u.path), round(CUTS_S[-1] * SAMPLE_RATE)))
            for s in repeated
            for u in by_speaker[s][:MAX_PER_SPEAKER]
        ),
    )


def _middle(waveform: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    start = max(0, (len(waveform) - n_samples) // 2)
    return waveform[start : start + n_samples]

"""Where there is speech, how much, how loud, how noisy: the warnings and refusals come from here.

Conventions
-----------
A frame is 32 ms (512 samples). Silero's network gives each frame the probability that somebody
speaks in it; a frame is speech if that is at least 0.45 and at least three such frames come in a
row. ``speech_s`` is their total, pauses not counted. What is left of the last frame counts for
nothing. Levels are in dB re a square wave of full scale (a sine of full scale has -3 dBFS), with
each frame's mean (DC) taken off.

The network hears every recording at the same level: each frame is scaled by the loudest frame so
far, a maximum that decays by 6 dB a second. This looks only backwards, so the result does not
depend on how a recording was cut into blocks, to the last bit, and speech at -60 dBFS is found as
well as at -20.

Two answers are corrected. Less than 0.3 s in a whole recording cannot be told from what the network
finds in noise; it is reported as none. And a sound whose spectrum keeps one shape while only its
level changes (a pulsing hum, a tone that swells) is not speech, whatever the network says.

Telephone sound is told by what lies above its band (`groove.bands`).

Sources: Silero VAD 6.2.3 (https://github.com/snakers4/silero-vad, MIT). The limits were measured by
``benchmarks/speech_checks.py`` and ``benchmarks/telephone.py``; their tables are in RESULTS.md.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.bands import FRAME, SAMPLE_RATE, band_powers, high_band_db
from groove.errors import ModelError
from groove.runtime import open_session

FRAME_S = FRAME / SAMPLE_RATE
ASSET_SHA256 = "341f72d372b1d6aaf66131189e40989c8f0fc9255a1302dfcb77c642db6b26f4"

THRESHOLD = 0.45  # accept a frame if its probability is at least this
MIN_RUN = 3  # frames in a row
NO_SPEECH_S = 0.3  # the pool's noise gives at most 0.16 s in 12 s
SAME_SHAPE = 0.93  # see `_Shape`

QUIET_DBFS = -50.0
CLIPPED_FRACTION = 0.001
NOISY_DB = 10.0
LOW_KBIT_S = 40  # of mp3; below, strangers are taken for one voice: RESULTS.md, section 6
NARROW_DB = -38.0  # 3.5 % of 200 recordings lie below it, by telephone all: RESULTS.md, section 2

_CONTEXT, _MIRROR = 64, 64  # samples of the frame before, and mirrored ones after
_TARGET_DBFS = -21.0  # the loudest frame, as the network hears it
_DECAY_DB = 6.0 * FRAME_S  # a frame
_FLOOR_DBFS = -90.0  # below this nothing is amplified further: the noise of 16 bits is at -101
_FRAMES_PER_RUN = 256  # 8 s; scratch stays in the cache, measured best between 64 and 1875
_SILENT_DBFS = -95.0  # frames of digital silence tell nothing about the noise
_PAUSE = 0.1  # a frame is a pause if its probability and its neighbours' are below this
_MIN_PAUSES = 5  # frames
_MAX_SNR_DB = 60.0

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SpeechWarning:
    """What is wrong with a recording. ``code`` is stable, ``text`` is for people.

    Codes: ``no_speech``, ``too_short``, ``short``, ``quiet``, ``clipped``, ``noisy``,
    ``narrow_band``, ``low_rate``.
    """

    code: str
    text: str


@dataclass(frozen=True)
class SpeechReport:
    """What one recording holds.

    ``speech_s`` is 0 where nobody talks; then ``level_dbfs``, ``snr_db`` and ``high_band_db`` are
    None. ``snr_db`` is also None where there is no pause to hear the noise in. ``peak_dbfs`` is
    None for silence.
    """

    seconds: float
    speech_s: float
    level_dbfs: float | None  # of the speech frames
    peak_dbfs: float | None
    snr_db: float | None  # speech against pauses; -10 to 60
    clipped_fraction: float  # of the samples, as `groove.audio` counted them
    high_band_db: float | None = None  # of the speech: above 4.4 kHz against below 3.4 kHz
    mp3_kbit_s: float | None = None  # of an mp3 file, see `groove.audio`

    @property
    def is_narrow_band(self) -> bool:
        """Whether the speech sounds like a telephone: nothing above 4 kHz."""
        return self.high_band_db is not None and self.high_band_db < NARROW_DB

    def warnings(self, min_speech_s: float, short_speech_s: float) -> tuple[SpeechWarning, ...]:
        """Why an answer may be wrong, or why there is none.

        Args:
            min_speech_s: less speech than this gives no embedding; the model's card says it.
            short_speech_s: less than this gives a less certain one.
        """
        found = []
        if self.speech_s < max(min_speech_s, short_speech_s):
            found.append(self._amount(min_speech_s, short_speech_s))
        if self.level_dbfs is not None and self.level_dbfs < QUIET_DBFS:
            text = (
                f"very quiet: speech at {self.level_dbfs:.0f} dBFS; move closer to the microphone"
            )
            found.append(SpeechWarning("quiet", text))
        if self.clipped_fraction >= CLIPPED_FRACTION:
            text = f"clipped: {self.clipped_fraction:.1%} of the samples are at full scale"
            found.append(SpeechWarning("clipped", f"{text}; lower the recording level"))
        if self.snr_db is not None and self.snr_db < NOISY_DB:
            text = f"noisy: speech is only {self.snr_db:.0f} dB above the background"
            found.append(SpeechWarning("noisy", text))
        if self.is_narrow_band:
            text = "telephone sound: next to nothing above 4 kHz; a wide-band one decides better"
            found.append(SpeechWarning("narrow_band", text))
        if self.mp3_kbit_s is not None and self.mp3_kbit_s < LOW_KBIT_S:
            text = f"an mp3 of {self.mp3_kbit_s:.0f} kbit/s misleads: strangers sound alike, one"
            text = f"{text} voice unlike itself; take {LOW_KBIT_S} or more"
            found.append(SpeechWarning("low_rate", text))
        return tuple(found)

    def refusal(self, min_speech_s: float) -> str:
        """One line for an error: why this recording gives no embedding."""
        return self._amount(min_speech_s, min_speech_s).text

    def _amount(self, min_speech_s: float, short_speech_s: float) -> SpeechWarning:
        heard = f"{self.speech_s:.1f} s of speech in {self.seconds:.1f} s"
        if self.speech_s == 0:
            text = f"no speech: nobody talks in these {self.seconds:.1f} s"
            return SpeechWarning("no_speech", f"{text}; record someone talking")
        if self.speech_s < min_speech_s:
            if round(self.speech_s, 1) >= min_speech_s:  # "0.5 s, wanted at least 0.5 s"
                heard = f"{self.speech_s:.3f} s of speech in {self.seconds:.3f} s"
            text = f"too little speech: {heard}, wanted at least {min_speech_s:g} s"
            return SpeechWarning("too_short", f"{text}; record more")
        text = f"little speech: {heard}; with {short_speech_s:g} s or more the answer is surer"
        return SpeechWarning("short", text)


class SpeechDetector:
    """Finds speech in recordings; the network is loaded with the first.

    >>> stream = SpeechDetector().stream()
    >>> for window in windows: stream.push(window)     # seconds of speech in each
    >>> stream.report().speech_s

    One detector may serve several threads; a stream belongs to one recording.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None

    def stream(self) -> SpeechStream:
        """A new recording.

        Raises:
            ModelError: the installed network is damaged.
        """
        with self._lock:
            if self._session is None:
                self._session = open_session(asset(), threads=1)
        return SpeechStream(self._session)


def asset() -> bytes:
    """The network: ``groove/assets/silero_vad.onnx``, licence beside it.

    It is ``silero_vad/data/silero_vad_16k_sequence.onnx`` of the wheel silero-vad 6.2.3 (SHA-256
    9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85), rewritten for speed by
    ``benchmarks/silero_asset.py``: the same weights, probabilities equal within 1e-5.

    Raises:
        ModelError: the file is missing or not the one that was shipped.
    """
    file = resources.files("groove") / "assets" / "silero_vad.onnx"
    data = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(data).hexdigest() != ASSET_SHA256:
        raise ModelError(f"{file}: missing or damaged; install groove-sv again")
    return data


class SpeechStream:
    """One recording, pushed block by block."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._n_samples = self._n_frames = self._n_speech = self._run = 0
        self._peak, self._loudest = 0.0, -np.inf
        self._rest = np.zeros(_CONTEXT, np.float32)  # context, then samples that fill no frame yet
        self._state = [np.zeros((1, 1, 128), np.float32) for _ in range(2)]
        self._probabilities: list[_Floats] = []
        self._levels: list[_Floats] = []  # dBFS
        self._bands: list[_Floats] = []  # power of the low and the high band, [T, 2]
        self._shape = _Shape()

    @property
    def seconds(self) -> float:
        """What was pushed so far."""
        return self._n_samples / SAMPLE_RATE

    @property
    def probabilities(self) -> _Floats:
        """Probability of speech in each whole frame so far [T]; frame i starts at i * 32 ms."""
        return np.concatenate([np.zeros(0, np.float32), *self._probabilities])

    def push(self, block: NDArray[np.floating[Any]]) -> float:
        """Listen to the next samples.

        Args:
            block: [S], in [-1, 1] at 16 kHz; any length.

        Returns:
            Seconds of speech found in the frames that this block completed. The sum over all
            blocks is the report's ``speech_s``, unless that is corrected to 0.
        """
        if block.ndim != 1:
            raise ValueError(f"block has shape {block.shape}; wanted [S]")
        self._n_samples += len(block)
        self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
        samples = np.concatenate([self._rest, block.astype(np.float32, copy=False)])
        n_frames = (len(samples) - _CONTEXT) // FRAME
        self._rest = samples[n_frames * FRAME :].copy()
        before = self._n_speech
        for first in range(0, n_frames, _FRAMES_PER_RUN):
            last = min(first + _FRAMES_PER_RUN, n_frames)
            self._listen(samples[first * FRAME : last * FRAME + _CONTEXT])
        return (self._n_speech - before) * FRAME_S

    def report(
        self, *, clipped_fraction: float = 0.0, mp3_kbit_s: float | None = None
    ) -> SpeechReport:
        """What was heard so far.

        Args:
            clipped_fraction: passed on; `groove.audio` sees clipping before the mix-down.
            mp3_kbit_s: likewise.
        """
        probabilities = self.probabilities
        speech = probabilities >= THRESHOLD
        speech_s = self._n_speech * FRAME_S
        talks = speech_s >= NO_SPEECH_S and self._shape.sameness < SAME_SHAPE
        levels = np.concatenate([np.zeros(0, np.float32), *self._levels]).astype(np.float64)
        power = 10 ** (levels / 10)
        pause = _pauses(power, probabilities)
        return SpeechReport(
            seconds=self.seconds,
            speech_s=speech_s if talks else 0.0,
            level_dbfs=float(10 * np.log10(power[speech].mean())) if talks else None,
            peak_dbfs=20 * float(np.log10(self._peak)) if self._peak else None,
            snr_db=_snr_db(power, speech, pause) if talks else None,
            clipped_fraction=clipped_fraction,
            high_band_db=(
                high_band_db(np.concatenate(self._bands), speech, pause) if talks else None
            ),
            mp3_kbit_s=mp3_kbit_s,
        )

    def _listen(self, samples: _Floats) -> None:
        """Take in whole frames, with their context before them."""
        frames, levels = self._frames(samples)
        feeds = {"frames": frames, "h": self._state[0], "c": self._state[1]}
        probabilities, spectra, *self._state = self._session.run(None, feeds)
        self._probabilities.append(probabilities)
        self._levels.append(levels)
        speech = probabilities >= THRESHOLD
        self._shape.add(spectra[speech])
        self._count(speech)

    def _frames(self, samples: _Floats) -> tuple[_Floats, _Floats]:
        """Frames [T, 640] at the network's level, and their levels [T] in dBFS before that."""
        width = _CONTEXT + FRAME
        frames = np.empty(((len(samples) - _CONTEXT) // FRAME, width + _MIRROR), np.float32)
        heard = frames[:, :width]
        heard[:] = np.lib.stride_tricks.sliding_window_view(samples, width)[::FRAME]
        heard -= heard.mean(axis=1, keepdims=True)
        power = np.einsum("ts,ts->t", heard, heard).astype(np.float64) / width
        levels = 10 * np.log10(np.maximum(power, 1e-20))
        self._bands.append(band_powers(heard[:, _CONTEXT:]))
        # max over s <= t of level[s] - decay * (t - s), with frames counted from the beginning
        decay = _DECAY_DB * (self._n_frames + np.arange(len(frames)))
        risen = np.maximum(levels, _FLOOR_DBFS) + decay
        loudest = np.maximum.accumulate(np.concatenate([[self._loudest], risen]))[1:]
        self._loudest, self._n_frames = float(loudest[-1]), self._n_frames + len(frames)
        heard *= (10 ** ((_TARGET_DBFS - loudest + decay) / 20)).astype(np.float32)[:, None]
        frames[:, width:] = heard[:, -2 : -2 - _MIRROR : -1]
        return frames, levels.astype(np.float32)

    def _count(self, speech: NDArray[np.bool_]) -> None:
        """Add the frames in runs of at least `MIN_RUN`; a run counts when it gets that long."""
        index = np.arange(1, len(speech) + 1)
        last_break = np.maximum.accumulate(np.where(speech, -self._run, index))
        place = np.where(speech, index - last_break, 0)  # 1 for the first of a run
        self._run = int(place[-1])
        self._n_speech += MIN_RUN * int((place == MIN_RUN).sum()) + int((place > MIN_RUN).sum())


class _Shape:
    """How much the spectra of the speech frames keep one shape: 1 if they differ only in level.

    The length of their sum against the sum of their lengths, squared; loud frames weigh most, so a
    little noise in the dips changes nothing.
    """

    def __init__(self) -> None:
        self._total, self._lengths = np.zeros(129), 0.0

    @property
    def sameness(self) -> float:
        return float(self._total @ self._total) / max(self._lengths, 1e-12) ** 2

    def add(self, spectra: _Floats) -> None:
        wide = spectra.astype(np.float64)
        lengths = np.sqrt(np.einsum("tf,tf->t", wide, wide))
        for row, length in zip(wide, lengths, strict=True):  # one by one: blocks must not matter
            self._total += row
            self._lengths += float(length)


def _snr_db(
    power: NDArray[np.float64], speech: NDArray[np.bool_], pause: NDArray[np.bool_] | None
) -> float | None:
    """Mean power of the speech frames, noise taken off, against the median of the pauses."""
    if pause is None:
        return None
    noise = float(np.median(power[pause]))
    ratio = float(power[speech].mean()) / noise - 1.0
    return float(np.clip(10 * np.log10(max(ratio, 0.1)), -10.0, _MAX_SNR_DB))


def _pauses(power: NDArray[np.float64], probabilities: _Floats) -> NDArray[np.bool_] | None:
    """The frames [T] in which nobody speaks, nor in their neighbours, and something is heard.

    None where they are too few to hear the noise in.
    """
    quiet = np.concatenate([[True], probabilities < _PAUSE, [True]])
    pause: NDArray[np.bool_] = quiet[1:-1] & quiet[:-2] & quiet[2:]
    pause &= power > 10 ** (_SILENT_DBFS / 10)
    return pause if pause.sum() >= _MIN_PAUSES else None

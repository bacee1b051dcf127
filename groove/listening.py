"""Who is talking just now? Sliding windows over a stream of sound. The door to sounddevice.

    sound      |--------------------------------------------------> time
    window k     [===== window_s =====]
    window k+1       [===== window_s =====]        hop_s later

Each window goes the way of every recording (`Embedder.examine`, then
`groove.voiceprints.identification`), so a name here is a name in ``groove identify``. A window in
which less than `MIN_SPEECH_S` is spoken says "silence".

Free of flicker: what is shown changes only when two windows in a row say the same new thing. The
probability shown is that of the latest window that agrees. A name therefore appears about
``MIN_SPEECH_S + hop_s`` after somebody begins to talk, and a change of speaker shows when most of a
window belongs to the new one. Each change to a name is noted in the store's audit log.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from groove.errors import MissingExtra, NobodyEnrolled, SettingsError
from groove.verifier import Channel
from groove.voiceprints.recognition import Recognizer

WINDOW_S, HOP_S = 3.0, 0.5
MIN_SPEECH_S = 1.0
AGREE = 2  # windows in a row before what is shown changes
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000  # Hz

State = Literal["named", "nobody", "silence"]


@dataclass(frozen=True)
class Heard:
    """What is shown after a window. ``changed``: it differs from what was shown before.

    ``probability`` is that of the person named, or of nobody; None in silence.
    """

    at_s: float  # end of the window, from the beginning of the sound
    state: State
    name: str | None
    person_id: str | None
    probability: float | None
    score: float | None  # of the best candidate
    changed: bool
    channel: Channel | None = None  # of the best candidate's trial; None where there is none

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Listener:
    """Listens to one stream of sound.

    >>> listener = Listener(recognizer, sample_rate=16_000)
    >>> for block in blocks: print(listener.push(block))     # [s] int16 or float
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        sample_rate: int,
        window_s: float = WINDOW_S,
        hop_s: float = HOP_S,
    ) -> None:
        """Fix the windows.

        Args:
            recognizer: who is known.
            sample_rate: of the sound that will be pushed, in Hz.
            window_s: seconds of a window.
            hop_s: seconds from window to window.

        Raises:
            SettingsError: a value out of range.
            NobodyEnrolled: there is none to compare with.
            ModelMismatch: somebody is enrolled with another model.
        """
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise SettingsError(
                f"sample rate {sample_rate} Hz; wanted {LOWEST_RATE} to {HIGHEST_RATE} Hz"
            )
        if not MIN_SPEECH_S <= window_s <= 30 or not 0.1 <= hop_s <= window_s:
            raise SettingsError(
                f"windows of {window_s:g} s every {hop_s:g} s; wanted {MIN_SPEECH_S:g} to 30 s, "
                "and a hop of 0.1 s up to the window"
            )
        self._recognizer, self.sample_rate = recognizer, sample_rate
        self._window, self._hop = round(window_s * sample_rate), round(hop_s * sample_rate)
        self._samples: NDArray[Any] = np.zeros(0, np.int16)  # the latest window, and what follows
        self._n_seen, self._due = 0, self._hop
        self.shown = Heard(0.0, "silence", None, None, None, None, False)
        self._rival, self._n_rival = ("", ""), 0
        if not len(recognizer.store.gallery(recognizer.tag)):
            raise NobodyEnrolled(
                f"{recognizer.store.path}: nobody is enrolled; enrol first:  "
                "groove enroll NAME FILES"
            )

    def push(self, block: NDArray[Any]) -> list[Heard]:
        """Take in the next samples [s]; one answer for every window that they complete."""
        if block.ndim != 1:
            raise ValueError(f"block has shape {block.shape}; wanted [s]")
        if not len(self._samples):
            self._samples = self._samples.astype(block.dtype)
        start = self._n_seen - len(self._samples)
        self._samples = np.concatenate([self._samples, block])
        self._n_seen += len(block)
        answers = []
        while self._due <= self._n_seen:
            end = self._due - start
            answers.append(self._hear(self._samples[max(0, end - self._window) : end]))
            self._due += self._hop
        keep = self._n_seen - max(0, self._due - self._window)
        self._samples = self._samples[max(0, len(self._samples) - keep) :]
        return answers

    def _hear(self, window: NDArray[Any]) -> Heard:
        examined = self._recognizer.verifier.embedder.examine((window, self.sample_rate))
        at_s = self._due / self.sample_rate
        if examined.embedding is None or examined.speech.speech_s < MIN_SPEECH_S:
            return self._show(Heard(at_s, "silence", None, None, None, None, False))
        store, tag = self._recognizer.store, self._recognizer.tag
        answer = self._recognizer.identify_examined(
            examined,
            store.gallery(tag),
            "<live>",
            top=1,
            record=False,
            started=time.perf_counter(),
        )
        best = answer.candidates[0] if answer.candidates else None
        score, channel = (best.score, best.channel) if best else (None, None)
        if answer.decision == "named":
            name, person_id, chance = answer.name, answer.person_id, answer.probability
            return self._show(Heard(at_s, "named", name, person_id, chance, score, False, channel))
        chance = answer.nobody_probability
        return self._show(Heard(at_s, "nobody", None, None, chance, score, False, channel))

    def _show(self, heard: Heard) -> Heard:
        """What is shown after this window: as before, until `AGREE` windows say another thing."""
        if _said(heard) == _said(self.shown):
            self._n_rival, self.shown = 0, heard
            return heard
        self._n_rival = self._n_rival + 1 if _said(heard) == self._rival else 1
        self._rival = _said(heard)
        if self._n_rival < AGREE:
            return replace(self.shown, at_s=heard.at_s)
        self._n_rival, self.shown = 0, heard
        if heard.person_id is not None:
            self._recognizer.store.record_use("listen", heard.person_id, heard.state)
        return replace(heard, changed=True)


def _said(heard: Heard) -> tuple[str, str]:
    return heard.state, heard.person_id or ""


def pcm_blocks(
    stream: BinaryIO, sample_rate: int, *, block_s: float = 0.1
) -> Iterator[NDArray[np.int16]]:
    """Blocks [s] of a stream of 16-bit little-endian mono samples, until it ends.

    A last odd byte is dropped.
    """
    n_bytes = 2 * max(1, round(block_s * sample_rate))
    while data := stream.read(n_bytes):
        whole = len(data) - len(data) % 2
        yield np.frombuffer(data[:whole], "<i2").astype(np.int16)


def microphone_blocks(
    sample_rate: int, *, device: str | None = None, block_s: float = 0.1
) -> Iterator[NDArray[np.int16]]:
    """Blocks [s] from the microphone, until the iterator is closed.

    Raises:
        MissingExtra: sounddevice is not there.
        SettingsError: the PortAudio library that it needs is not there, no such device, or it does
            not record at this rate.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtra("listening to the microphone", "listen", str(error)) from None
    except OSError as error:  # wheels for Linux come without the library
        raise SettingsError(
            f"listening to the microphone needs the PortAudio library ({error}); install the "
            "system's, on Debian and Ubuntu:  apt install libportaudio2"
        ) from None
    waiting: queue.SimpleQueue[NDArray[np.int16]] = queue.SimpleQueue()

    def take(data: Any, n_frames: int, when: Any, status: Any) -> None:
        waiting.put(np.array(data[:, 0], np.int16))

    try:
        stream = sounddevice.InputStream(
            samplerate=sample_rate,
            blocksize=round(block_s * sample_rate),
            channels=1,
            dtype="int16",
            device=device,
            callback=take,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise SettingsError(
            f"the microphone cannot be opened ({error}); give --device or another --rate, or "
            "pipe samples:  ... | groove listen --stdin"
        ) from None
    with stream:
        while True:
            yield waiting.get()

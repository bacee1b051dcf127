"""The formats of the base install, through libsndfile (the only door to soundfile)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from groove.audio.bytestream import Bytes, Shifted
from groove.audio.containers import Container
from groove.audio.reader import FLOAT, LOSSY, FullScale, pcm
from groove.errors import InvalidSamples, SettingsError, UnreadableAudio

STEP_FRAMES = 4096  # one flac block: how exactly the end of a damaged file is found
UNKNOWN_LENGTH = 1 << 40  # libsndfile gives 2^63 - 1 when a header does not say
OPUS_LEAST, OPUS_MOST = 6_000, 256_000  # bits per second and channel
_BAD_INFO = 24  # libsndfile's SFE_BAD_SF_INFO: the header's rate or channels are impossible

_FULL_SCALE: dict[str, FullScale] = {
    "PCM_S8": pcm(8), "PCM_U8": pcm(8), "PCM_16": pcm(16), "PCM_24": pcm(24), "PCM_32": pcm(32),
    "ALAC_16": pcm(16), "ALAC_20": pcm(20), "ALAC_24": pcm(24), "ALAC_32": pcm(32),
    "FLOAT": FLOAT, "DOUBLE": FLOAT,
    "ULAW": FullScale(32124 / 32768, flat=True),  # the outermost codes, ITU-T G.711
    "ALAW": FullScale(32256 / 32768, flat=True),
}  # fmt: skip


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that only reads onwards.

    soundfile seeks after every read; where the length is not known (flac from a pipe) that fails
    at the end, and in ogg it costs a search.
    """

    def seekable(self) -> bool:
        return False


class SoundFileReader:
    """A `groove.audio.reader.Reader` over libsndfile.

    Raises:
        UnreadableAudio: libsndfile refuses the file.
        InvalidSamples: its header names an impossible rate.
    """

    def __init__(self, data: Bytes, container: Container) -> None:
        self._data, self._container = data, container
        self.n_bytes = data.n_bytes
        self._file = self._open()
        coding = self._file.subtype
        self.format = f"{container.name}/{coding.lower()}"
        self.sample_rate: int = self._file.samplerate
        self.n_channels: int = self._file.channels
        self.full_scale = _FULL_SCALE.get(coding, LOSSY)
        self._n_skipped = 0
        self.n_stated = self._file.frames if self._file.frames < UNKNOWN_LENGTH else 0
        # Lossy coders round their length up to frames, so it promises nothing.
        self._promised = self._file.frames if coding in _FULL_SCALE else UNKNOWN_LENGTH

    def skip(self, n_frames: int) -> int:
        """Before `blocks`: leave the first frames out, where that costs no decoding.

        Returns:
            How many were left out: 0 in lossy formats and where the length is not known.
        """
        n_frames = 0 if self._promised >= UNKNOWN_LENGTH else min(n_frames, self._promised)
        if n_frames > 0:
            try:
                self._file.seek(n_frames)
            except soundfile.SoundFileError as error:
                raise self._damaged(self._held_frames(), error) from error
        self._n_skipped = n_frames
        return n_frames

    def blocks(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        """Consecutive blocks [s, C] of up to ``n_frames``."""
        n_read = self._n_skipped
        while True:
            try:
                block: NDArray[np.float32] = self._read(self._file, n_frames)
            except soundfile.SoundFileError as error:
                raise self._damaged(self._held_frames(), error) from error
            n_read += len(block)
            if len(block) == 0:
                break
            yield block
        if n_read < self._promised < UNKNOWN_LENGTH:
            raise self._damaged(n_read, None)

    @property
    def promised_frames(self) -> int | None:
        """Frames that the header states; None where it says nothing dependable."""
        return self._promised if self._promised < UNKNOWN_LENGTH else None

    def close(self) -> None:
        """Close libsndfile's side; the bytes belong to the caller."""
        self._file.close()

    @staticmethod
    def _read(file: Any, n_frames: int) -> NDArray[np.float32]:
        block: NDArray[np.float32] = file.read(n_frames, dtype="float32", always_2d=True)
        return block

    def _open(self) -> Any:
        # Never by path: soundfile and libsndfile would also look at the name. Costs 5 % in flac.
        self._data.file.seek(0)
        try:
            return _Forward(Shifted(self._data.file, patch=self._container.patch))
        except soundfile.SoundFileError as error:
            if getattr(error, "code", None) == _BAD_INFO:
                raise InvalidSamples("the header names an impossible sample rate") from error
            raise UnreadableAudio(
                f"damaged, or not the {self._container.name} file that it begins as "
                f"({_reason(error)})"
            ) from error

    def _held_frames(self) -> int:
        """Frames up to the damage: read once more, in small steps."""
        n_held = 0
        try:
            with self._open() as file:
                while n_block := len(self._read(file, STEP_FRAMES)):
                    n_held += n_block
        except soundfile.SoundFileError:
            pass
        return n_held

    def _damaged(self, n_held: int, error: Exception | None) -> UnreadableAudio:
        held_s = n_held / self.sample_rate
        if self._promised < UNKNOWN_LENGTH:
            return UnreadableAudio(
                f"damaged or cut short: the header promises {self._promised / self.sample_rate:.2f}"
                f" s, the file holds {held_s:.2f} s; copy or record it again"
            )
        return UnreadableAudio(f"damaged after {held_s:.2f} s ({_reason(error)})")


def through_opus(
    waveform: NDArray[np.float32], sample_rate: int, bits_per_s: int
) -> NDArray[np.float32]:
    """Encode a waveform [S] as Ogg Opus in memory and decode it again: [S], aligned.

    libsndfile names no bit rate for Opus; its compression level c in [0, 1] sets the rate of one
    channel to 256000 - 250000 c bits per second (ogg_opus.c), always at the encoder's highest
    effort. The rate is a mean: what is really spent follows the sound.

    Raises:
        SettingsError: a rate outside 6000 to 256000 bits per second.
    """
    if not OPUS_LEAST <= bits_per_s <= OPUS_MOST:
        raise SettingsError(
            f"Opus at {bits_per_s} bits per second; wanted {OPUS_LEAST} to {OPUS_MOST}"
        )
    level = (OPUS_MOST - bits_per_s) / (OPUS_MOST - OPUS_LEAST)
    file = io.BytesIO()
    soundfile.write(
        file, waveform, sample_rate, format="OGG", subtype="OPUS", compression_level=level
    )
    file.seek(0)
    decoded: NDArray[np.float32] = soundfile.read(file, dtype="float32")[0]
    return np.pad(decoded[: len(waveform)], (0, max(len(waveform) - len(decoded), 0)))


def _reason(error: Exception | None) -> str:
    """What libsndfile says, without the object that they name."""
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")

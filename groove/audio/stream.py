"""A recording as a stream of mono blocks at 16 kHz: pick or mix, check, measure, resample."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from groove.audio.arrays import ArrayReader
from groove.audio.bytestream import open_bytes, source_name
from groove.audio.containers import recognise
from groove.audio.decoders import open_decoder
from groove.audio.reader import ClipMeter, Reader
from groove.audio.resampling import StreamResampler
from groove.audio.soundfiles import SoundFileReader
from groove.errors import AudioError, EmptyAudio, InvalidSamples, SettingsError

SAMPLE_RATE = 16_000  # Hz; the rate of every waveform in Groove
LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000  # Hz; below there is no voice left, above no converter
LOUDEST = 32.0  # times full scale; beyond it floats hold integers that nobody divided
BLOCK_S = 10.0
LEAD_IN_S = 1  # read before a span at another rate, so that the resampler has settled
MAX_BLOCK_VALUES = 1 << 21  # frames x channels at a time, for files with very many channels

AudioSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | tuple[NDArray[Any], int]
)


def open_audio(
    source: AudioSource, *, channel: int | None = None, block_s: float = BLOCK_S
) -> AudioStream:
    """Open a recording as mono float32 blocks at 16 kHz, in bounded memory.

    >>> with open_audio("call.mp3") as audio:
    ...     for block in audio:            # [s] float32
    ...         ...
    >>> audio.seconds, audio.clipped_fraction

    Args:
        source: a path; the bytes of a file; a binary file object that can seek (read from where it
            stands, and left there again); or ``(array, sample_rate)`` with an array [S] or
            [S, channels] of floats, or of integers that are scaled by the range of their type.
        channel: which channel to use, counted from 1; None mixes all down by their mean.
        block_s: seconds read at a time. It changes how the samples are cut, never the samples.

    Raises:
        UnreadableAudio: missing, not audio, damaged, or cut short.
        UnsupportedFormat: needs the ``formats`` extra or ffmpeg.
        EmptyAudio: no bytes, or a header without samples; the latter may show while iterating.
        InvalidSamples: impossible rate or channel; NaN or infinite samples (while iterating).
        SettingsError: ``block_s`` is not positive.
    """
    if not 0 < block_s < float("inf"):
        raise SettingsError(f"block_s {block_s!r}; wanted seconds above 0")
    name = source_name(source)
    closers = ExitStack()
    try:
        reader = _open_reader(source, closers)
        _check_rate(reader.sample_rate)
        _check_channel(channel, reader.n_channels)
    except AudioError as error:
        closers.close()
        raise _named(error, name) from error
    except BaseException:
        closers.close()
        raise
    return AudioStream(reader, name, channel, block_s, closers)


def read_audio(source: AudioSource, *, channel: int | None = None) -> NDArray[np.float32]:
    """Read a whole recording: the concatenation of what `open_audio` yields.

    Args:
        source: as for `open_audio`.
        channel: which channel to use, counted from 1; None mixes all down by their mean.

    Returns:
        [S] float32 at 16 kHz.

    Raises:
        AudioError: as for `open_audio`.
    """
    with open_audio(source, channel=channel) as audio:
        return np.concatenate(list(audio))


def read_span(
    source: AudioSource, start: int, n_samples: int, *, channel: int | None = None
) -> NDArray[np.float32]:
    """Read a part of a recording, decoding little more than that where the format can seek.

    Lossless files (wav, flac, ...) are sought; lossy ones are decoded from their beginning, because
    a decoder that starts in the middle gives other samples. At 16 kHz the result is the slice
    ``read_audio(source)[start:start + n_samples]`` bit for bit; at other rates it agrees with it
    within the resampler's rounding.

    Args:
        source: as for `open_audio`.
        start: first sample, at 16 kHz.
        n_samples: how many, at 16 kHz.
        channel: as for `open_audio`.

    Returns:
        [s] float32 at 16 kHz with s <= ``n_samples``: shorter where the recording ends, empty
        beyond its end.

    Raises:
        AudioError: as for `open_audio`, but damage outside of the span is not seen.
        SettingsError: a negative start, or no samples wanted.
    """
    if start < 0 or n_samples < 1:
        raise SettingsError(f"{n_samples} samples from {start}; wanted at least 1 from 0 or later")
    block_s = min(max(n_samples / SAMPLE_RATE, 0.1), BLOCK_S)
    with open_audio(source, channel=channel, block_s=block_s) as audio:
        position = audio.skip_towards(start)
        held: list[NDArray[np.float32]] = []
        try:
            for block in audio:
                first, position = start - position, position + len(block)
                if first < len(block):
                    held.append(block[max(first, 0) : max(first, 0) + n_samples])
                    n_samples -= len(held[-1])
                if n_samples == 0:
                    break
        except EmptyAudio:  # sought beyond the end
            if position == 0:
                raise
    return np.concatenate(held) if held else np.zeros(0, dtype=np.float32)


class AudioStream:
    """An open recording: iterate over its mono float32 blocks [s] at 16 kHz, once.

    Closes itself at the end of iteration; use it as a context manager to stop earlier.
    """

    def __init__(
        self, reader: Reader, name: str, channel: int | None, block_s: float, closers: ExitStack
    ) -> None:
        self.name = name  # short, one line, for messages
        self._reader = reader
        self._channel = channel
        self._closers = closers
        self._clipping = ClipMeter(reader.full_scale)
        self._n_frames = 0
        n_frames = min(round(block_s * reader.sample_rate), MAX_BLOCK_VALUES // reader.n_channels)
        self._blocks = self._flow(max(n_frames, 1))

    @property
    def format(self) -> str:
        """Container and coding, such as ``wav/pcm_16``."""
        return self._reader.format

    @property
    def sample_rate(self) -> int:
        """Rate of the original in Hz; the blocks are at 16 kHz."""
        return self._reader.sample_rate

    @property
    def n_channels(self) -> int:
        """Channels of the original."""
        return self._reader.n_channels

    @property
    def seconds(self) -> float:
        """Seconds of the original that have been read so far; its length, once iterated."""
        return self._n_frames / self._reader.sample_rate

    @property
    def stated_seconds(self) -> float:
        """Length by the header, before anything is read; 0.0 where it does not say.

        Lossy formats round it up by some frames.
        """
        return getattr(self._reader, "n_stated", 0) / self._reader.sample_rate

    @property
    def promised_s(self) -> float | None:
        """Seconds that the header states; None where it says nothing dependable (mp3, ogg)."""
        n_frames: int | None = getattr(self._reader, "promised_frames", None)
        return None if n_frames is None else n_frames / self._reader.sample_rate

    @property
    def mp3_kbit_s(self) -> float | None:
        """Of an mp3 that was read, the bytes of the file (its tags too) by its seconds; else None.

        Other lossy formats are not asked: at the same rate opus does no harm.
        """
        if not self.format.startswith("mp3/") or not self._n_frames:
            return None
        return 8 * float(getattr(self._reader, "n_bytes", 0)) / self.seconds / 1000

    @property
    def clipped_fraction(self) -> float:
        """Share of clipped samples so far, in [0, 1].

        Measured on the original samples of the channels in use, before mixing and resampling:
        samples in runs of at least three at full scale (see `groove.audio.reader.ClipMeter`).
        """
        return self._clipping.fraction

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self

    def __next__(self) -> NDArray[np.float32]:
        return next(self._blocks)

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files; a file object goes back to where it stood. Iteration ends."""
        self._blocks.close()
        self._closers.close()

    def skip_towards(self, start: int) -> int:
        """Before the first block: go to sample ``start`` (at 16 kHz) or some way before it.

        Returns:
            The sample at 16 kHz with which the next block begins; 0 where the format cannot seek.
        """
        if not isinstance(self._reader, SoundFileReader):
            return 0
        rate = self._reader.sample_rate
        if rate == SAMPLE_RATE:
            wanted, per_frame = start, 1.0
        else:  # whole seconds: there both rates have a sample at the same time
            wanted = max(start // SAMPLE_RATE - LEAD_IN_S, 0) * rate
            per_frame = SAMPLE_RATE / rate
        try:
            return round(per_frame * self._reader.skip(wanted))
        except AudioError as error:
            raise _named(error, self.name) from error

    def _flow(self, n_frames: int) -> Generator[NDArray[np.float32], None, None]:
        resampler = StreamResampler(self._reader.sample_rate, SAMPLE_RATE)
        n_samples = 0
        try:
            for block in self._reader.blocks(n_frames):  # [s, C]
                used = block if self._channel is None else block[:, self._channel - 1, None]
                self._refuse_impossible(used)
                self._clipping.push(used)
                self._n_frames += len(block)
                mono = resampler.push(_mean(used))  # [s] at 16 kHz
                n_samples += len(mono)
                if len(mono):
                    yield mono
            last = resampler.flush()
            if n_samples + len(last) == 0:
                raise EmptyAudio("holds no samples; record again or choose another file")
            if len(last):
                yield last
        except AudioError as error:
            raise _named(error, self.name) from error
        finally:
            self._closers.close()

    def _refuse_impossible(self, block: NDArray[np.float32]) -> None:
        """Refuse NaN, infinite and absurdly large samples in a block [s, C]."""
        peak = float(np.abs(block).max())  # NaN and infinity come through
        if peak <= LOUDEST:
            return
        finite = np.isfinite(block).all(axis=1)
        if finite.all():
            raise InvalidSamples(
                f"samples reach {peak:.6g} times full scale; wanted floats in [-1, 1]: "
                "divide by the range of the integers they came from (32768 for 16 bits)"
            )
        first = int(np.argmin(finite))
        what = "NaN" if np.isnan(block[first]).any() else "an infinite sample"
        at_s = (self._n_frames + first) / self._reader.sample_rate
        raise InvalidSamples(f"{what} at {at_s:.3f} s; wanted finite samples")


def _mean(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over channels: [s, C] -> [s]; column by column, six times faster than mean(axis=1)."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    total = block[:, 0].astype(np.float64)
    for column in range(1, block.shape[1]):
        total += block[:, column]
    mean: NDArray[np.float32] = (total / block.shape[1]).astype(np.float32)
    return mean


def _open_reader(source: AudioSource, closers: ExitStack) -> Reader:
    """The reader for a source; what must be closed goes onto ``closers``."""
    reader: Reader
    if isinstance(source, tuple):
        if len(source) != 2:
            raise TypeError(f"a tuple of {len(source)}; wanted (array, sample_rate)")
        return ArrayReader(*source)
    data = closers.enter_context(open_bytes(source))
    container = recognise(data.file, data.n_bytes)
    if container.ffmpeg_format is None:
        reader = SoundFileReader(data, container)
    else:
        reader = open_decoder(data, container.name, container.ffmpeg_format)
    closers.callback(reader.close)
    return reader


def _check_rate(sample_rate: int) -> None:
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise InvalidSamples(
            f"sample rate {sample_rate} Hz; wanted {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        )


def _check_channel(channel: int | None, n_channels: int) -> None:
    if channel is None:
        return
    if isinstance(channel, bool) or not isinstance(channel, int | np.integer):
        raise InvalidSamples(f"channel {channel!r}; wanted a number counted from 1, or None")
    if not 1 <= channel <= n_channels:
        plural = "channel" if n_channels == 1 else "channels"
        raise InvalidSamples(f"no channel {channel}: it has {n_channels} {plural}, counted from 1")


def _named(error: AudioError, name: str) -> AudioError:
    """The same error with the recording's name in front."""
    return type(error)(f"{name}: {error}")

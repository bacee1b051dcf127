"""Where training waveforms come from: the audio files, or one packed file that was made of them.

    FileSource      decodes; a crop of a long wav or flac is sought, lossy files are decoded to it
    PackedSource    reads int16 samples from a memory map: no file is opened, nothing decoded
    CachedSource    keeps what another source read whole, up to so many bytes a process

A source counts utterances by their place in the list that it was given. An utterance may be joined
from short ones (``"parts"`` in its fields: paths as in the manifest, seconds of each); they are
read back to back and never written. Samples are mono float32 at 16 kHz.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_span
from groove.errors import EmptyAudio
from groove.joined import parts_of as joined_parts
from groove.manifest import Utterance

INT16 = np.float32(32768)
CACHE_BYTES = 256 << 20  # of a process; sixteen workers then hold 4 GiB at most


class WaveformSource(Protocol):
    """Utterances that can be read in parts."""

    def seconds(self, i: int) -> float:
        """Length of utterance ``i``; what a file really holds may differ by its rounding."""
        ...

    def read(self, i: int, start_s: float, length_s: float) -> NDArray[np.float32]:
        """Samples [s] at 16 kHz from ``start_s`` on; fewer where the utterance ends."""
        ...

    def version(self, i: int) -> str:
        """Changes when the audio of utterance ``i`` does; see `version_of`."""
        ...


@dataclass(frozen=True)
class Part:
    """One file of an utterance."""

    path: Path
    n_samples: int  # at 16 kHz, as the manifest says


def parts_of(utterance: Utterance) -> tuple[Part, ...]:
    """The files that an utterance is made of, in order: one, but for joined ones.

    Raises:
        ManifestError: see `groove.joined.parts_of`.
    """
    return tuple(Part(path, samples(seconds)) for path, seconds in joined_parts(utterance))


class FileSource:
    """Reads from the audio files themselves.

    Args:
        utterances: in the order of their indices.
    """

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._parts = [parts_of(utterance) for utterance in utterances]
        self._seconds = [utterance.seconds for utterance in utterances]

    def seconds(self, i: int) -> float:
        """What the manifest says."""
        return self._seconds[i]

    def version(self, i: int) -> str:
        """Of the files as they are now."""
        return version_of(files_now(self._parts[i]))

    def read(self, i: int, start_s: float, length_s: float) -> NDArray[np.float32]:
        """Samples [s] from ``start_s`` on; fewer where the utterance ends.

        Raises:
            AudioError: a file that cannot be read, or an utterance without a sample there.
        """
        start, wanted = samples(start_s), samples(length_s)
        held: list[NDArray[np.float32]] = []
        for n_part, part in enumerate(self._parts[i], start=1):
            is_last = n_part == len(self._parts[i])
            if start >= part.n_samples and not is_last:
                start -= part.n_samples
                continue
            n_here = wanted if is_last else min(wanted, part.n_samples - start)
            if n_here > 0:
                held.append(read_span(part.path, start, n_here))
            start, wanted = 0, wanted - n_here
        return joined(held, f"{self._parts[i][0].path}: no sample from {start_s:.2f} s on")


class CachedSource:
    """Keeps the first utterances of another source as int16, as many as ``budget`` bytes hold.

    Nothing is thrown out again: random access would only make it be decoded again. Those that do
    not fit are read by spans each time. Which are kept is settled beforehand, and all samples are
    rounded to 16 bits, so that what comes out does not depend on what was read before.
    """

    def __init__(
        self, source: WaveformSource, n_utterances: int, budget: int = CACHE_BYTES
    ) -> None:
        self._source = source
        sizes = np.cumsum([2 * samples(source.seconds(i)) for i in range(n_utterances)])
        self._n_kept = int(np.searchsorted(sizes, budget, side="right"))
        self._kept: dict[int, NDArray[np.int16]] = {}

    def seconds(self, i: int) -> float:
        """As the source says."""
        return self._source.seconds(i)

    def version(self, i: int) -> str:
        """As the source says."""
        return self._source.version(i)

    def read(self, i: int, start_s: float, length_s: float) -> NDArray[np.float32]:
        """As the source reads, rounded to 16 bits."""
        if i >= self._n_kept:
            return to_float(to_int16(self._source.read(i, start_s, length_s)))
        if i not in self._kept:
            self._kept[i] = to_int16(self._source.read(i, 0.0, self._source.seconds(i)))
        start = samples(start_s)
        return to_float(self._kept[i][start : start + samples(length_s)])


def files_now(parts: Sequence[Part]) -> str:
    """What the files are now: another size or time of change is another recording."""
    described = []
    for part in parts:
        try:
            stat = part.path.stat()
            described.append(f"{part.path.absolute()} {stat.st_size} {stat.st_mtime_ns}")
        except OSError:
            described.append(f"{part.path.absolute()} absent")
    return "; ".join(described)


def version_of(files: str) -> str:
    """Sixteen hex digits of the sizes and times that `files_now` told, wherever the files lie."""
    stated = re.findall(r" (\d+ \d+|absent)(?=; |$)", files)
    return hashlib.blake2b("; ".join(stated).encode(), digest_size=8).hexdigest()


def samples(seconds: float) -> int:
    """Samples at 16 kHz in so many seconds."""
    return round(seconds * SAMPLE_RATE)


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round to 16 bits; what lies beyond full scale is clipped."""
    clipped = np.clip(np.rint(waveform * INT16), -32768, 32767)
    rounded: NDArray[np.int16] = clipped.astype(np.int16)
    return rounded


def to_float(stored: NDArray[Any]) -> NDArray[np.float32]:
    """16-bit samples as floats in [-1, 1); always a copy."""
    waveform: NDArray[np.float32] = stored.astype(np.float32)
    waveform /= INT16
    return waveform


def joined(held: list[NDArray[np.float32]], empty: str) -> NDArray[np.float32]:
    """Pieces as one waveform; none at all is an error."""
    waveform = held[0] if len(held) == 1 else np.concatenate([*held, np.zeros(0, np.float32)])
    if len(waveform) == 0:
        raise EmptyAudio(f"{empty}; is the manifest of these files?")
    return waveform

"""Paths, bytes and file objects as one thing: a seekable binary file with a known length."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from groove.errors import EmptyAudio, UnreadableAudio


@dataclass(frozen=True)
class Bytes:
    """The bytes of a recording.

    Attributes:
        file: at position 0 lies the first byte of the recording.
        n_bytes: its length.
        path: where it lies on disk, if it was given as a path.
    """

    file: BinaryIO
    n_bytes: int
    path: Path | None


@contextmanager
def open_bytes(source: Any) -> Iterator[Bytes]:
    """Open a path, bytes or file object; a file object is put back to where it stood.

    Raises:
        UnreadableAudio: missing, a folder, not permitted, or a stream that cannot rewind.
        EmptyAudio: nothing in it.
        TypeError: something else than `groove.audio.AudioSource`.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield _measured(io.BytesIO(source), None)
    elif isinstance(source, str | os.PathLike):
        with _open_path(source) as file:
            yield _measured(file, Path(source))
    elif hasattr(source, "read"):
        start = _position(source)
        try:
            yield _measured(source if start == 0 else Shifted(source, start), None)
        finally:
            if not source.closed:
                source.seek(start)
    else:
        raise TypeError(
            f"{type(source).__name__} is not a recording; "
            "wanted a path, bytes, a binary file object, or (array, sample_rate)"
        )


def source_name(source: Any) -> str:
    """A short name of one line for messages."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        return f"<{len(source)} bytes>"
    elif isinstance(source, tuple):
        return "<array>"
    else:
        name = getattr(source, "name", None)
    if not isinstance(name, str):
        return "<file object>"
    # A name with line breaks or terminal codes must not forge a second line of output.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


class Shifted(io.RawIOBase):
    """A file seen from ``start`` on, with a few of its bytes overlaid.

    Args:
        file: a seekable binary file.
        start: where position 0 shall be.
        patch: ``(offset, bytes)`` to show in place of what is there.
    """

    def __init__(
        self, file: BinaryIO, start: int = 0, patch: tuple[int, bytes] | None = None
    ) -> None:
        self._file, self._start = file, start
        self._at, self._overlay = patch or (0, b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Position in the shifted file."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As for any file; position 0 is ``start``.

        An impossible position, as damaged headers ask for, leaves the file where it stands: the
        caller is C code, which looks where it arrived and cannot catch an exception.
        """
        shift = self._start if whence == os.SEEK_SET else 0
        with suppress(ValueError, OSError, OverflowError):
            self._file.seek(offset + shift, whence)
        return self.tell()

    def readinto(self, buffer: Any, /) -> int:
        """Read up to the buffer's length."""
        position = self.tell()
        data = bytearray(self._file.read(len(buffer)))
        for i, value in enumerate(self._overlay, self._at - position):
            if 0 <= i < len(data):
                data[i] = value
        buffer[: len(data)] = data
        return len(data)


def _measured(file: Any, path: Path | None) -> Bytes:
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    if n_bytes == 0:
        raise EmptyAudio("the file is empty (0 bytes)")
    return Bytes(file, n_bytes, path)


def _open_path(source: str | os.PathLike[str]) -> BinaryIO:
    try:
        path = Path(source)
        if path.is_dir():
            raise UnreadableAudio("is a folder; wanted a recording")
        if path.exists() and not path.is_file():
            raise UnreadableAudio("is not a regular file; wanted a recording that can be reread")
        return path.open("rb")
    except FileNotFoundError:
        raise UnreadableAudio("no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableAudio(f"cannot be opened ({reason})") from error


def _position(source: Any) -> int:
    if isinstance(source, io.TextIOBase):
        raise UnreadableAudio('the file object is in text mode; open it with mode "rb"')
    try:
        if source.seekable():
            return int(source.tell())
    except (AttributeError, OSError, ValueError) as error:
        raise UnreadableAudio(f"the file object cannot be used ({error})") from error
    raise UnreadableAudio("the stream cannot rewind; pass its bytes: stream.read()")

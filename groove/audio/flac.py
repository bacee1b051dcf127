"""Whether a flac file ends where its header says, from its first and its last bytes alone.

The header (STREAMINFO) states the number of samples; every frame states where it starts and how
many it holds, and carries two checksums. So a file is whole to its end if its last bytes are a
frame whose checksums hold and whose last sample is the one that the header promises. A file that
was cut anywhere fails (but for a lost last byte that was zero: then all samples are there); damage
in the middle is seen by decoding alone.

Source: RFC 9639, sections 8.2 (STREAMINFO), 9.1 (frame header), 9.3 (frame footer).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

MAX_TAIL = 1 << 16  # read when the header does not state its largest frame


def ends_whole(file: BinaryIO, n_bytes: int) -> bool:
    """Whether the last frame is whole and is the one that the header promises.

    False also for what this look cannot tell (an unknown number of samples, a tag behind the last
    frame, a tag before the first): decode such a file.

    Args:
        file: seekable, its first byte at position 0; it is left anywhere.
        n_bytes: its length.
    """
    file.seek(0)
    info = _stream_info(file.read(42))
    if info is None or info.n_samples == 0:
        return False
    file.seek(max(0, n_bytes - (info.largest_frame or MAX_TAIL)))
    tail = file.read()
    start = tail.rfind(b"\xff")
    while start >= 0:
        if _is_last_frame(tail[start:], info):
            return True
        start = tail.rfind(b"\xff", 0, start)
    return False


@dataclass(frozen=True)
class _StreamInfo:
    block_size: int
    largest_frame: int  # bytes; 0: not stated
    n_samples: int  # 0: not stated


def _stream_info(head: bytes) -> _StreamInfo | None:
    """The header [42 bytes]: magic, block header, STREAMINFO."""
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    return _StreamInfo(
        block_size=int.from_bytes(head[10:12], "big"),
        largest_frame=int.from_bytes(head[15:18], "big"),
        n_samples=int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF,
    )


def _is_last_frame(frame: bytes, info: _StreamInfo) -> bool:
    if len(frame) < 10 or frame[1] & 0xFE != 0xF8 or frame[3] & 1:
        return False
    size_code, rate_code = frame[2] >> 4, frame[2] & 15
    n_number = max(1, 8 - (frame[4] ^ 0xFF).bit_length())  # bytes of the UTF-8-like number
    at = 4 + n_number
    n_size = {6: 1, 7: 2}.get(size_code, 0)
    n_header = at + n_size + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if size_code == 0 or n_number > 7 or len(frame) <= n_header:
        return False
    if _crc(frame[: n_header + 1], _table(0x07, 8), 8):
        return False
    number = frame[4] if n_number == 1 else frame[4] & (0x7F >> n_number)
    for byte in frame[5:at]:
        number = number << 6 | byte & 0x3F
    if n_size:
        block = int.from_bytes(frame[at : at + n_size], "big") + 1
    else:
        block = 192 if size_code == 1 else (144 if size_code < 6 else 1) << size_code
    first = number if frame[1] & 1 else number * info.block_size
    return first + block == info.n_samples and not _crc(frame, _table(0x8005, 16), 16)


def _crc(data: bytes, table: tuple[int, ...], n_bits: int) -> int:
    """The remainder; 0 for data that is followed by its own checksum."""
    remainder, mask, shift = 0, (1 << n_bits) - 1, n_bits - 8
    for byte in data:
        remainder = (remainder << 8 & mask) ^ table[remainder >> shift ^ byte]
    return remainder


@lru_cache(maxsize=2)
def _table(polynomial: int, n_bits: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        remainder = byte << (n_bits - 8)
        for _ in range(8):
            carry = remainder >> (n_bits - 1)
            remainder = (remainder << 1 & (1 << n_bits) - 1) ^ (polynomial if carry else 0)
        table.append(remainder)
    return tuple(table)

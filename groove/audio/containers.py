"""What a file is, from its first bytes, and whether it holds what its header promises.

Only formats in the tables below are ever handed to a decoder, each under its own name: a decoder
that guesses (ffmpeg) would also follow playlists, concatenation scripts and subtitle files.

Cut short: a container that states the size of its samples (wav, rf64, w64, aiff, au, caf, sphere)
is compared with the length of the file; flac states its number of samples and is compared while
decoding. mp3 states nothing dependable, and an ogg stream may end anywhere: these read as the
shorter recording. A wav that was written to a pipe has no size (0, or 2 GiB and more): it is read
to its end; hence a wav of 2 GiB and more that was cut is not noticed.

Sources: Microsoft RIFF and Sony W64 descriptions, EBU Tech 3306 (RF64), Apple AIFF and CAF
specifications, RFC 3533 (Ogg), RFC 9639 (FLAC), NIST SPHERE 2.6.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from groove.errors import InvalidSamples, UnreadableAudio

PIPE_SIZE = 0x7FFF_0000  # a 32-bit size from here on was written before the size was known
MAX_CHUNKS = 1000  # a file with more before its samples is not a recording
_TAIL = 65_536 + 282  # the largest Ogg page with its header


@dataclass(frozen=True)
class Container:
    """What was recognised.

    Attributes:
        name: short, lower case.
        ffmpeg_format: ffmpeg's name of the format; None when libsndfile reads it.
        patch: ``(offset, bytes)`` that libsndfile must see in place of the header's.
    """

    name: str
    ffmpeg_format: str | None = None
    patch: tuple[int, bytes] | None = None


# Offset, bytes there, name, ffmpeg's format (None: libsndfile reads it). The first match counts.
_MAGIC: list[tuple[int, bytes, str, str | None]] = [
    (0, b"fLaC", "flac", None),
    (0, b"OggS", "ogg", None),
    (0, b"caff", "caf", None),
    (0, b".snd", "au", None),
    (0, b"dns.", "au", None),
    (0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", "w64", None),
    (0, b"NIST_1A\n", "nist", None),
    (0, b"Creative Voice File\x1a", "voc", None),
    (0, b"2BIT", "avr", None),
    (0, b"\x64\xa3", "ircam", None),  # little-endian, any version
    (0, b"\x00\x00\xa3\x64", "ircam", None),
    (0, b" paf", "paf", None),
    (0, b"fap ", "paf", None),
    (0, b"PVF1\n", "pvf", None),
    (8, b"AIFF", "aiff", None),
    (8, b"AIFC", "aiff", None),
    (8, b"8SVX", "svx", None),
    (8, b"16SV", "svx", None),
    (8, b"AVI ", "avi", "avi"),
    (4, b"ftyp", "mp4", "mov"),
    (4, b"moov", "mp4", "mov"),
    (4, b"mdat", "mp4", "mov"),
    (4, b"wide", "mp4", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "wma", "asf"),
    (0, b"#!AMR", "amr", "amr"),
    (0, b"FLV\x01", "flv", "flv"),
    (0, b"wvpk", "wavpack", "wv"),
    (0, b"MAC ", "ape", "ape"),
    (0, b"TTA1", "tta", "tta"),
    (0, b"\x0b\x77", "ac3", "ac3"),
    (0, b"\x00\x00\x01\xba", "mpeg", "mpeg"),
]
_OUTER = {8: (b"RIFF", b"FORM")}  # what must stand at 0 before a magic at offset 8
_WAV_TAGS = {1, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0x55, 0xFFFE}  # codings that libsndfile knows
_CAF_CODINGS = {b"lpcm", b"alac", b"alaw", b"ulaw"}
_LINEAR_TAGS = {1, 3, 6, 7, 0xFFFE}


def recognise(file: BinaryIO, n_bytes: int) -> Container:
    """Say what a file is; leaves it at position 0.

    Args:
        file: seekable, at position 0.
        n_bytes: its length.

    Raises:
        UnreadableAudio: nothing that Groove knows, or shorter than its header promises.
    """
    try:
        return _recognise(file, n_bytes)
    except struct.error:
        raise UnreadableAudio("cut short within its header") from None
    finally:
        file.seek(0)


def _recognise(file: BinaryIO, n_bytes: int) -> Container:
    head = _at(file, 0, 64)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav(file, n_bytes, head[:4])
    for offset, magic, name, ffmpeg_format in _MAGIC:
        outer = _OUTER.get(offset)
        if head[offset : offset + len(magic)] == magic and (not outer or head[:4] in outer):
            container = Container(name, ffmpeg_format)
            look_closer = _CLOSER.get(name)
            return look_closer(file, n_bytes, container) if look_closer else container
    if head[:3] == b"ID3" and len(head) >= 10:
        return _after_id3(file, head)
    return _mpeg(head, _at(file, 188, 1))


def _after_id3(file: BinaryIO, head: bytes) -> Container:
    """A tag that may precede mp3, aac and (against the rules) flac."""
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    after = _at(file, size + 10, 4)
    if after[:4] == b"fLaC":
        return Container("flac")
    if _is_sync(after) and not after[1] & 0x06:
        return Container("aac", "aac")
    return Container("mp3")


def _mpeg(head: bytes, at_188: bytes) -> Container:
    """Formats without a magic number: mp3, mp2, aac and transport streams."""
    if _is_sync(head):
        if not head[1] & 0x06:  # layer 0 is ADTS
            return Container("aac", "aac")
        if head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3:  # possible bit rate, sample rate
            return Container("mp3")
    if head[:1] == b"G" and at_188 == b"G":
        return Container("mpegts", "mpegts")
    raise UnreadableAudio("not audio, or a format that Groove does not know")


def _is_sync(head: bytes) -> bool:
    return len(head) >= 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _wav(file: BinaryIO, n_bytes: int, outer: bytes) -> Container:
    order = ">" if outer == b"RIFX" else "<"
    if outer == b"BW64":
        return Container("wav", "wav")
    tag, bytes_per_s, long_size = 1, 0, 0
    for kind, start, size in _chunks(file, 12, n_bytes, order + "4sI"):
        if kind == b"ds64":
            (long_size,) = struct.unpack(order + "8xQ", _at(file, start, 16))
        elif kind == b"fmt ":
            tag, n_channels, rate, per_s, align = struct.unpack(
                order + "HHIIH", _at(file, start, 14)
            )
            bytes_per_s = rate * align if tag in _LINEAR_TAGS else per_s
            if n_channels == 0 or rate == 0:
                raise InvalidSamples(f"the header says {n_channels} channels at {rate} Hz")
        elif kind == b"data":
            if tag not in _WAV_TAGS:
                return Container("wav", "wav")
            if size == 0 and not _ends_in_chunks(file, start, n_bytes, order):
                return Container("wav", patch=(start - 4, b"\xff\xff\xff\xff"))
            size = long_size if outer == b"RF64" else size
            if outer == b"RF64" or size < PIPE_SIZE:
                _refuse_cut(n_bytes - start, size, bytes_per_s)
            break
    return Container("wav")


def _ends_in_chunks(file: BinaryIO, start: int, n_bytes: int, order: str) -> bool:
    """Whether only further chunks (or nothing) follow: then a data size of 0 is meant."""
    position = start
    for kind, body, size in _chunks(file, start, n_bytes, order + "4sI"):
        if not kind.isascii() or not kind.decode().isprintable():
            return False
        position = body + size
    return position >= n_bytes - 1 and position <= n_bytes + 1


def _w64(file: BinaryIO, n_bytes: int, container: Container) -> Container:
    bytes_per_s = 0
    for guid, start, size in _chunks(file, 40, n_bytes, "<16sQ", align=8, whole=True):
        if guid[:4] == b"fmt ":
            (bytes_per_s,) = struct.unpack("<8xI", _at(file, start, 12))
        elif guid[:4] == b"data":
            _refuse_cut(n_bytes - start, size, bytes_per_s)
            break
    return container


def _aiff(file: BinaryIO, n_bytes: int, container: Container) -> Container:
    seconds = 0.0
    for kind, start, size in _chunks(file, 12, n_bytes, ">4sI"):
        if kind == b"COMM":
            n_frames, exponent, mantissa = struct.unpack(">2xI2xHQ", _at(file, start, 18))
            rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63) if exponent < 16500 else 0
            seconds = n_frames / rate if rate else 0.0
        elif kind == b"SSND" and 8 < size < PIPE_SIZE:
            _refuse_cut(n_bytes - start - 8, size - 8, (size - 8) / seconds if seconds else 0)
            break
    return container


_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # encoding -> bytes a sample


def _au(file: BinaryIO, n_bytes: int, container: Container) -> Container:
    order = ">" if _at(file, 0, 4) == b".snd" else "<"
    start, size, coding, rate, n_channels = struct.unpack(order + "5I", _at(file, 4, 20))
    if size < PIPE_SIZE:
        _refuse_cut(n_bytes - start, size, _AU_BYTES.get(coding, 0) * rate * n_channels)
    return container


def _caf(file: BinaryIO, n_bytes: int, container: Container) -> Container:
    bytes_per_s = 0.0
    for kind, start, size in _chunks(file, 8, n_bytes, ">4sq", align=1):
        if kind == b"desc":
            rate, coding, n_bytes_packet, n_frames_packet = struct.unpack(
                ">d4s4xII", _at(file, start, 24)
            )
            if coding not in _CAF_CODINGS:
                return Container("caf", "caf")
            bytes_per_s = rate * n_bytes_packet / max(n_frames_packet, 1)
        elif kind == b"data" and size >= 4:  # -1: not known; an edit count comes first
            _refuse_cut(n_bytes - start - 4, size - 4, bytes_per_s)
    return container


def _nist(file: BinaryIO, n_bytes: int, container: Container) -> Container:
    header = _at(file, 0, 1024).decode("latin-1")
    fields = {key: int(value) for key, value in re.findall(r"(\w+) -i (\d{1,12})\b", header)}
    start = re.match(r"NIST_1A\n *(\d{1,6})\n", header)
    samples = fields.get("sample_count", 0) * fields.get("channel_count", 1)
    width, rate = fields.get("sample_n_bytes", 0), fields.get("sample_rate", 0)
    if start and "shorten" not in header:  # compressed: the size says nothing
        bytes_per_s = rate * width * fields.get("channel_count", 1)
        _refuse_cut(n_bytes - int(start[1]), samples * width, bytes_per_s)
    return container


def _ogg(file: BinaryIO, n_bytes: int, container: Container) -> Container:
    """Vorbis and opus go to libsndfile, one stream only: it would drop what is chained behind."""
    first = _at(file, 0, 64)
    tail = _at(file, max(n_bytes - _TAIL, 0), _TAIL)
    last = tail.rfind(b"OggS\x00")
    is_one_stream = last < 0 or tail[last + 14 : last + 18] in (first[14:18], b"")
    coding = first[28:36]
    if is_one_stream and (coding == b"OpusHead" or coding[:7] == b"\x01vorbis"):
        return container
    return Container("ogg", "ogg")


_CLOSER = {"w64": _w64, "aiff": _aiff, "au": _au, "caf": _caf, "nist": _nist, "ogg": _ogg}


def _chunks(
    file: BinaryIO, start: int, n_bytes: int, layout: str, align: int = 2, whole: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Identifier, first byte and size of each chunk; ``whole`` sizes count their own header."""
    n_header = struct.calcsize(layout)
    for _ in range(MAX_CHUNKS):
        if start + n_header > n_bytes:
            return
        kind, size = struct.unpack(layout, _at(file, start, n_header))
        size -= n_header if whole else 0
        yield kind, start + n_header, size
        start += n_header + -(-max(size, 0) // align) * align


def _refuse_cut(n_held: int, n_promised: int, bytes_per_s: float) -> None:
    if n_held >= n_promised:
        return
    unit, scale = ("s", bytes_per_s) if bytes_per_s > 0 else ("bytes", 1)
    digits = 2 if unit == "s" else 0
    raise UnreadableAudio(
        f"cut short: the header promises {n_promised / scale:.{digits}f} {unit}, "
        f"the file holds {max(n_held, 0) / scale:.{digits}f} {unit}; copy or record it again"
    )


def _at(file: BinaryIO, offset: int, n_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(n_bytes)

"""The formats beyond libsndfile: PyAV if it is installed, else an ffmpeg program.

The only door to ``av`` and to a subprocess. Both are told the format that `containers` recognised
and may open nothing but the bytes at hand: PyAV gets a file object and no protocol, ffmpeg one
absolute path and the ``file`` protocol; no shell. So a playlist in disguise opens nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.audio.bytestream import Bytes
from groove.audio.reader import LOSSY, Reader
from groove.errors import UnreadableAudio, UnsupportedFormat

# Containers whose stated duration is meant; others (aac, mpegts, flv) only estimate it.
STATES_DURATION = {"mov", "matroska", "asf", "avi", "wv", "tta", "wav", "caf"}
TOLERANCE_S = 0.5  # priming and padding of coders


def open_decoder(data: Bytes, name: str, ffmpeg_format: str) -> Reader:
    """Open a recording with whichever decoder there is.

    Args:
        data: its bytes.
        name: what `containers` calls the format, for messages.
        ffmpeg_format: what ffmpeg calls it.

    Raises:
        UnsupportedFormat: neither PyAV nor ffmpeg is there.
        UnreadableAudio: damaged, or no audio in it.
    """
    if has_av():
        return AvReader(data, name, ffmpeg_format)
    program = find_ffmpeg()
    if program is not None:
        return FfmpegReader(data, name, ffmpeg_format, program)
    raise UnsupportedFormat(
        f"{name} needs another decoder: run  pip install 'groove-sv[formats]'  or install ffmpeg"
    )


def has_av() -> bool:
    """Whether the ``formats`` extra is installed."""
    return importlib.util.find_spec("av") is not None


def find_ffmpeg() -> str | None:
    """The ffmpeg program, if there is one."""
    return shutil.which("ffmpeg")


class AvReader:
    """A `Reader` over PyAV: the first audio stream."""

    full_scale = LOSSY

    def __init__(self, data: Bytes, name: str, ffmpeg_format: str) -> None:
        import av

        self._av: Any = av
        self._name = name
        data.file.seek(0)
        try:
            # A whitelist of a protocol that does not exist: nothing else can be opened.
            self._container: Any = av.open(
                data.file, format=ffmpeg_format, options={"protocol_whitelist": "none"},
                metadata_errors="ignore",
            )  # fmt: skip
        except (av.FFmpegError, ValueError, OSError) as error:
            raise _refusal(name, 0.0, _words(error)) from error
        try:
            self._describe(ffmpeg_format)
        except BaseException:
            self._container.close()
            raise

    def blocks(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        """Consecutive blocks [s, C] of at least ``n_frames`` but for the last."""
        held: list[NDArray[np.float32]] = []
        n_held = n_read = 0
        for frame in self._frames():  # [s, C]
            held.append(frame)
            n_held += len(frame)
            n_read += len(frame)
            if n_held >= n_frames:
                yield np.concatenate(held)
                held, n_held = [], 0
        if held:
            yield np.concatenate(held)
        _refuse_cut(n_read / self.sample_rate, self._promised_s)

    def close(self) -> None:
        """Close PyAV's side; the bytes belong to the caller."""
        self._container.close()

    def _describe(self, ffmpeg_format: str) -> None:
        streams: Any = self._container.streams
        if not streams.audio:
            raise UnreadableAudio(f"the {self._name} file holds no audio stream")
        self._stream = streams.audio[0]
        coding = self._stream.codec_context
        if not coding or not coding.sample_rate or not coding.channels:
            raise _refusal(self._name, 0.0, "no sample rate or channels in its header")
        self.sample_rate = int(coding.sample_rate)
        self.n_channels = int(coding.channels)
        self.format = f"{self._name}/{coding.name}"
        self._promised_s = 0.0
        if ffmpeg_format in STATES_DURATION:
            if self._stream.duration:
                self._promised_s = float(self._stream.duration * self._stream.time_base)
            elif len(streams) == 1 and self._container.duration:
                self._promised_s = self._container.duration / 1e6  # microseconds

    def _frames(self) -> Iterator[NDArray[np.float32]]:
        """Decoded frames [s, C] in float32."""
        av = self._av
        resampler = av.AudioResampler(format="flt", rate=self.sample_rate)  # changes only the type
        n_read = 0
        try:
            for decoded in self._container.decode(self._stream):
                for frame in resampler.resample(decoded):
                    samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
                    if samples.shape[1] != self.n_channels:
                        raise UnreadableAudio(f"its channels change at {self._at(n_read)}")
                    n_read += len(samples)
                    if len(samples):
                        yield samples
        except (av.FFmpegError, ValueError, OSError) as error:
            _refuse_cut(n_read / self.sample_rate, self._promised_s)
            raise _refusal(self._name, n_read / self.sample_rate, _words(error)) from error

    def _at(self, n_frames: int) -> str:
        return f"{n_frames / self.sample_rate:.2f} s"


class FfmpegReader:
    """A `Reader` over an ffmpeg program, which writes 32-bit float AU (header: 24 bytes) to us."""

    full_scale = LOSSY

    def __init__(self, data: Bytes, name: str, ffmpeg_format: str, program: str) -> None:
        self._name = name
        self._states_duration = ffmpeg_format in STATES_DURATION
        self._closers = ExitStack()
        try:
            path = self._path(data)
            self._messages = self._closers.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            self._process = subprocess.Popen(
                _command(program, path, ffmpeg_format),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._messages,
            )  # fmt: skip
            self._closers.callback(self._stop)
            self._read_header()
        except BaseException:
            self._closers.close()
            raise
        self.format = f"{name}/ffmpeg"

    def blocks(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        """Consecutive blocks [s, C] of ``n_frames`` but for the last."""
        assert self._process.stdout is not None
        n_read, width = 0, 4 * self.n_channels
        while raw := self._process.stdout.read(n_frames * width):
            whole = raw[: len(raw) // width * width]
            n_read += len(whole) // width
            if whole:
                yield (
                    np.frombuffer(whole, dtype=">f4")
                    .astype(np.float32)
                    .reshape(-1, self.n_channels)
                )
        seconds = n_read / self.sample_rate
        failed = self._process.wait() != 0
        said = self._said()
        _refuse_cut(seconds, _stated_s(said) if self._states_duration else 0.0)
        if failed:
            raise _refusal(self._name, seconds, _complaint(said))

    def close(self) -> None:
        """End the program and remove what was written for it."""
        self._closers.close()

    def _path(self, data: Bytes) -> Path:
        """Where ffmpeg finds the bytes; mp4 must seek, so a pipe will not do."""
        if data.path is not None:
            return data.path.absolute()
        folder = self._closers.enter_context(tempfile.TemporaryDirectory(prefix="groove-"))
        path = Path(folder) / "recording"
        data.file.seek(0)
        with path.open("wb") as copy:
            shutil.copyfileobj(data.file, copy)
        return path

    def _read_header(self) -> None:
        assert self._process.stdout is not None
        header = self._process.stdout.read(24)
        if len(header) < 24:
            self._process.wait()
            said = self._said()
            if "matches no streams" in said or "does not contain any stream" in said:
                raise UnreadableAudio(f"the {self._name} file holds no audio stream")
            raise _refusal(self._name, 0.0, _complaint(said))
        start, _, _, rate, n_channels = struct.unpack(">4x5I", header)
        self._process.stdout.read(start - 24)
        self.sample_rate, self.n_channels = int(rate), int(n_channels)

    def _stop(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _said(self) -> str:
        self._messages.seek(0)
        return self._messages.read(65_536).decode("utf-8", "replace")


def _command(program: str, path: Path, ffmpeg_format: str) -> list[str]:
    listen = ["-protocol_whitelist", "file", "-f", ffmpeg_format, "-i", f"file:{os.fspath(path)}"]
    quiet = ["-nostdin", "-hide_banner", "-nostats", "-v", "info", "-xerror"]
    out = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    return [program, *quiet, *listen, *out]


def _stated_s(said: str) -> float:
    """The duration that ffmpeg read from a file with one stream; 0.0 if none was stated."""
    about_input = said.split("Output #0")[0]
    stated = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", about_input)
    if not stated or about_input.count("Stream #0:") > 2:  # once described, once mapped
        return 0.0
    return int(stated[1]) * 3600 + int(stated[2]) * 60 + float(stated[3])


def _complaint(said: str) -> str:
    """The last words of ffmpeg, without its addresses and our paths."""
    lines = [re.sub(r"\[[^]]*\] |file:\S*:? ?", "", line) for line in said.splitlines()]
    return next((line.strip()[:120] for line in reversed(lines) if line.strip()), "no reason given")


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n")[0][:120]


def _refuse_cut(held_s: float, promised_s: float) -> None:
    if held_s < promised_s - max(TOLERANCE_S, promised_s / 100):
        raise UnreadableAudio(
            f"cut short: the header promises {promised_s:.2f} s, the file holds {held_s:.2f} s; "
            "copy or record it again"
        )


def _refusal(name: str, at_s: float, reason: str) -> UnreadableAudio:
    return UnreadableAudio(f"damaged {name} file, after {at_s:.2f} s ({reason})")

"""How fast Groove is on this machine: cold compare, steady speed, where the time goes, memory.

Ratios of one run mean more than times: other processes share most machines. Every figure is a
median of repetitions; the spread is given beside it.
"""

from __future__ import annotations

import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.embedder import Embedder
from groove.encoder import OnnxEncoder
from groove.errors import SettingsError
from groove.fbank import log_mel
from groove.speech import SpeechDetector

FRONT_END = "front_end"  # how the exporter names the nodes of the front end


@dataclass(frozen=True)
class Timing:
    """Median, fastest and slowest of some repetitions, in seconds."""

    median_s: float
    min_s: float
    max_s: float
    n: int


@dataclass(frozen=True)
class Steady:
    """Embedding utterances of one length, one after another, from wav bytes in memory."""

    seconds: float
    threads: int
    per_utterance: Timing
    audio_s_per_s: float
    decode_share: float
    speech_share: float
    features_share: float
    encoder_share: float


@dataclass(frozen=True)
class Bench:
    """Everything that `run` measures."""

    machine: str
    model: str
    cold_compare: Timing
    cold_peak_mib: float
    python_start: Timing
    steady: tuple[Steady, ...]


def run(
    model: Path,
    a: Path,
    b: Path,
    *,
    lengths_s: tuple[float, ...] = (3.0, 10.0, 60.0),
    threads: tuple[int, ...] = (1, 2),
    repeat: int = 7,
    progress: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Measure on this machine.

    Args:
        model: a model file.
        a: a recording with speech; the utterances are made by repeating it and ``b``.
        b: another.
        lengths_s: utterance lengths of the steady part.
        threads: thread counts of the steady part.
        repeat: repetitions of each figure.
        progress: told what is being measured.

    Raises:
        AudioError: a recording cannot be read.
        SettingsError: the recordings hold too little audio.
    """
    progress("cold compare")
    command = [sys.executable, "-m", "groove", "compare", str(a), str(b), "--model", str(model)]
    command += ["--json"]
    cold, peak = _cold(command, repeat)
    bare, _ = _cold([sys.executable, "-c", "pass"], repeat)
    speech = np.concatenate([read_audio(a), read_audio(b)])
    if len(speech) < SAMPLE_RATE:
        raise SettingsError("the two recordings hold less than 1 s; give longer ones")
    steady = []
    for count in threads:
        encoder = OnnxEncoder(model, threads=count)
        for seconds in lengths_s:
            progress(f"{seconds:g} s utterances, {count} threads")
            steady.append(_steady(encoder, speech, seconds, count, repeat))
    return Bench(
        machine(), f"{encoder.card.name} {encoder.card.version}", cold, peak, bare, tuple(steady)
    )


def machine() -> str:
    """Processor, cores and Python of this machine."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


def timed(action: Callable[[], object], repeat: int) -> Timing:
    """Call ``action`` once to warm up, then ``repeat`` times."""
    action()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return Timing(statistics.median(times), min(times), max(times), repeat)


def _cold(command: list[str], repeat: int) -> tuple[Timing, float]:
    """Whole processes: wall time, and the largest resident set in MiB."""
    peaks = []

    def once() -> None:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace").strip()
        process.stderr.close()
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            unit = 1024 if sys.platform != "darwin" else 1024 * 1024
            peaks.append(usage.ru_maxrss / unit)
        elif process.wait():
            pass
        if process.returncode not in (0, 1):
            raise SettingsError(
                f"{' '.join(command)} failed: {said or 'no answer for these files'}"
            )

    timing = timed(once, repeat)
    return timing, max(peaks, default=float("nan"))


def _steady(
    encoder: OnnxEncoder, speech: NDArray[np.float32], seconds: float, threads: int, repeat: int
) -> Steady:
    n = round(seconds * SAMPLE_RATE)
    waveform = np.tile(speech, -(-n // len(speech)))[:n]
    data = wav_bytes(waveform)
    embedder, detector = Embedder(encoder), SpeechDetector()
    window = waveform[: round(encoder.card.window_s * SAMPLE_RATE)]
    whole = timed(lambda: embedder.embed(data), repeat)
    decode = timed(lambda: read_audio(data), repeat)
    check = timed(lambda: detector.stream().push(window), repeat)
    encode = timed(lambda: encoder(window[None]), repeat)
    if encoder.card.input == "fbank":
        features = timed(lambda: log_mel(window, encoder.card.fbank), repeat).median_s
    else:
        features = encode.median_s * front_end_share(encoder.path, window, threads)
    total = whole.median_s
    return Steady(
        seconds=seconds,
        threads=threads,
        per_utterance=whole,
        audio_s_per_s=seconds / total,
        decode_share=decode.median_s / total,
        speech_share=check.median_s / total,
        features_share=features / total,
        encoder_share=(encode.median_s - features) / total,
    )


def front_end_share(model: Path, waveform: NDArray[np.float32], threads: int) -> float:
    """The front end's part of a model file's time, from onnxruntime's own profile."""
    from groove.runtime import profile_nodes

    times = profile_nodes(model, {"waveform": waveform[None]}, threads=threads, repeat=3)
    inside = sum(t for name, t in times.items() if FRONT_END in name)
    return inside / max(sum(times.values()), 1e-12)


def wav_bytes(waveform: NDArray[np.float32]) -> bytes:
    """A 16-bit wav file in memory."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def to_text(bench: Bench) -> str:
    """A table for people."""
    cold, bare = bench.cold_compare, bench.python_start
    lines = [
        bench.machine,
        bench.model,
        f"cold compare   {cold.median_s:.2f} s ({cold.min_s:.2f} to {cold.max_s:.2f}, {cold.n} "
        f"runs), peak {bench.cold_peak_mib:.0f} MiB; a bare Python {bare.median_s:.3f} s",
        "utterance  threads   ms each  audio s/s   decode   speech  features  encoder",
    ]
    for s in bench.steady:
        lines.append(
            f"{s.seconds:>7g} s  {s.threads:>7}  {1000 * s.per_utterance.median_s:>8.1f}  "
            f"{s.audio_s_per_s:>9.0f}  {s.decode_share:>7.1%}  {s.speech_share:>7.1%}  "
            f"{s.features_share:>8.1%}  {s.encoder_share:>7.1%}"
        )
    return "\n".join(lines)


def to_json(bench: Bench) -> str:
    """One JSON object."""
    return json.dumps(bench, default=lambda value: value.__dict__, ensure_ascii=False)

"""How fast every exported form of one model is here: one run, one table.

Targets are the model files of an export folder; with torch at hand also PyTorch itself (eager, and
compiled where asked: that takes minutes) from the split export's ``model.pt``, and the processor's
peak, measured by a matrix product. Each round times every target once before any is timed again,
because other processes share most machines: what disturbs a round disturbs all, and medians of
rounds compare. Load time and peak memory are a fresh process's.

    python -m groove.bench_targets OPENER PATH          what that fresh process runs
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.bench import machine
from groove.encoder import Encoder
from groove.errors import GrooveError, SettingsError
from groove.parity import Voices, bundled_voices
from groove.scoring import cosine

FILES = "groove.loading:open_encoder"
EAGER, COMPILED = (f"groove.training.export.speed:open_{kind}" for kind in ("eager", "compiled"))
SECONDS = 3.0  # of every utterance that is timed
BATCHES = (1, 16)
CALLS = 5  # of batch 1 in each round
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Target:
    """One form of the model; ``opener`` is "module:function", so a fresh process can call it."""

    name: str
    path: Path
    opener: str = FILES

    def open(self, threads: int | None = None) -> Encoder:
        """Open it."""
        module, function = self.opener.split(":")
        opened: Encoder = getattr(importlib.import_module(module), function)(
            self.path, threads=threads
        )
        return opened


@dataclass(frozen=True)
class Timed:
    """One target with one number of threads."""

    target: str
    threads: int
    audio_s_per_s: dict[int, float]  # by batch
    latency_ms: dict[int, float]  # by percentile, of batch 1
    gemm_fraction: float | None  # of the measured peak; None without torch or for other precisions


@dataclass(frozen=True)
class Measured:
    """One target, whatever the number of threads; ``failed`` says why it is not in the table."""

    target: str
    file_mb: float
    load_s: float | None
    peak_mib: float | None
    min_cosine: float | None  # to the first target
    failed: str = ""


@dataclass(frozen=True)
class TargetBench:
    """Everything that `run` measures."""

    machine: str
    model: str
    seconds: float
    reference: str
    gflop_per_audio_s: float | None
    gemm_gflops: dict[int, float]  # by threads
    targets: tuple[Measured, ...]
    timed: tuple[Timed, ...]


def find_targets(folder: Path, *, compiled: bool = False) -> list[Target]:
    """The files of an export folder, PyTorch first.

    Args:
        folder: what ``groove export`` wrote to.
        compiled: also torch.compile.

    Raises:
        SettingsError: there is no model file in it; or ``compiled`` without ``model.pt`` or torch.
    """
    found = sorted(
        (path for suffix in ("onnx", "mnn", "plan") for path in folder.glob(f"model*.{suffix}")),
        key=lambda path: (path.suffix != ".onnx", path.name.count("."), path.name),
    )
    if not found:
        raise SettingsError(
            f"{folder}: no model.onnx or model.mnn in it; write them with  groove export"
        )
    targets = [Target(path.name, path) for path in found]
    parts = folder / "model.pt"
    has_torch = parts.is_file() and importlib.util.find_spec("torch") is not None
    if has_torch:
        targets.insert(0, Target("PyTorch eager", parts, EAGER))
    if has_torch and compiled:
        targets.append(Target("torch.compile", parts, COMPILED))
    elif compiled:
        raise SettingsError(f"torch.compile wants torch and {parts}; write it with --split")
    return targets


def run(
    targets: Sequence[Target],
    *,
    threads: Sequence[int] = (1, 2),
    rounds: int = 7,
    voices: Voices | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> TargetBench:
    """Measure on this machine.

    Args:
        targets: the first is what the others' embeddings are compared with.
        threads: thread counts.
        rounds: each times every target once at every batch size.
        voices: the speech; None takes `bundled_voices`.
        progress: told what is being measured.

    Raises:
        GrooveError: no target could be opened.
    """
    voices = voices or bundled_voices()
    measured, usable = [], []
    reference: list[NDArray[np.float32]] = []
    for target in targets:
        progress(f"opening {target.name}")
        found = _measure(target, voices, reference)
        measured.append(found)
        if not found.failed:
            usable.append(target)
    if not usable:
        raise SettingsError(f"no target could be opened: {measured[0].failed}")
    gflop, peaks = _peak(targets, threads, progress)
    timed = []
    for count in threads:
        peak = peaks.get(count)
        timed += _time(usable, count, rounds, voices, gflop, peak, progress)
    card = usable[0].open(1).card
    return TargetBench(
        machine(),
        f"{card.name} {card.version}, {card.architecture}",
        SECONDS,
        usable[0].name,
        gflop,
        peaks,
        tuple(measured),
        tuple(timed),
    )


def _measure(target: Target, voices: Voices, reference: list[NDArray[np.float32]]) -> Measured:
    size = target.path.stat().st_size / 1e6
    try:
        encoder = target.open()
        found = [encoder(voices.rows(SECONDS, batch)) for batch in BATCHES]
        fresh = _fresh(target)
    except (GrooveError, ImportError, RuntimeError) as error:
        return Measured(target.name, size, None, None, None, " ".join(str(error).split())[:200])
    if not reference:
        reference += found
    pairs = [p for a, b in zip(reference, found, strict=True) for p in zip(a, b, strict=True)]
    return Measured(
        target.name,
        size,
        fresh["load_s"],
        fresh["peak_mib"],
        min(float(cosine(a, b)) for a, b in pairs),
    )


def _fresh(target: Target) -> dict[str, float]:
    """Load time and peak memory of a process of its own, over batches of 1 and 16."""
    command = [sys.executable, "-m", "groove.bench_targets", target.opener, str(target.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise SettingsError(f"a fresh process failed: {lines[-1]}")
    values: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return values


def _peak(
    targets: Sequence[Target], threads: Sequence[int], progress: Callable[[str], None]
) -> tuple[float | None, dict[int, float]]:
    """Operations per audio second, and the processor's peak, where torch can tell."""
    parts = [target.path for target in targets if target.opener == EAGER]
    if not parts:
        return None, {}
    speed: Any = importlib.import_module("groove.training.export.speed")
    progress("matrix products")
    return speed.gflop_per_audio_s(parts[0]), {count: speed.gemm_gflops(count) for count in threads}


def _time(
    targets: Sequence[Target],
    threads: int,
    rounds: int,
    voices: Voices,
    gflop: float | None,
    peak: float | None,
    progress: Callable[[str], None],
) -> list[Timed]:
    encoders = {target.name: target.open(threads) for target in targets}
    batches = {batch: voices.rows(SECONDS, batch) for batch in BATCHES}
    for encoder in encoders.values():
        for rows in batches.values():
            encoder(rows)  # warm up, and compile where there is something to compile
    spent: dict[tuple[str, int], list[float]] = defaultdict(list)
    for turn in range(rounds):
        progress(f"{threads} threads, round {turn + 1} of {rounds}")
        for name, encoder in encoders.items():
            for batch, rows in batches.items():
                for _ in range(CALLS if batch == 1 else 1):
                    started = time.perf_counter()
                    encoder(rows)
                    spent[name, batch].append(time.perf_counter() - started)
    timed = []
    for name in encoders:
        speeds = {b: b * SECONDS / statistics.median(spent[name, b]) for b in BATCHES}
        best = max(speeds.values())
        latency = np.percentile(spent[name, 1], PERCENTILES) * 1000
        on_this_peak = "int8" not in name and not name.endswith(".plan")  # the processor's, float
        fraction = best * gflop / peak if gflop and peak and on_this_peak else None
        timed.append(
            Timed(
                name,
                threads,
                speeds,
                dict(zip(PERCENTILES, map(float, latency), strict=True)),
                fraction,
            )
        )
    return timed


def to_text(bench: TargetBench) -> str:
    """Tables for people."""
    lines = [bench.machine, f"{bench.model}; utterances of {bench.seconds:g} s"]
    lines += [
        f"peak       {gflops:.0f} GFLOP/s on {threads} threads (matrix product); the model wants "
        f"{bench.gflop_per_audio_s:.2f} GFLOP per audio second"
        for threads, gflops in bench.gemm_gflops.items()
    ]
    lines.append(
        f"{'target':<18} threads  batch 1  batch 16 audio s/s   p50   p90   p99 ms   of peak"
    )
    for t in bench.timed:
        p50, p90, p99 = (t.latency_ms[p] for p in PERCENTILES)
        share = "" if t.gemm_fraction is None else f"{t.gemm_fraction:.0%}"
        lines.append(
            f"{t.target:<18} {t.threads:>7}  {t.audio_s_per_s[1]:>7.0f}  "
            f"{t.audio_s_per_s[16]:>8.0f}           {p50:>5.1f} {p90:>5.1f} {p99:>5.1f}   "
            f"{share:>10}"
        )
    lines.append(f"{'target':<18} file MB  load s  peak MiB  cosine to {bench.reference}")
    for m in bench.targets:
        if m.failed:
            lines.append(f"{m.target:<18} {m.file_mb:>7.1f}  not measured: {m.failed}")
        else:
            lines.append(
                f"{m.target:<18} {m.file_mb:>7.1f}  {m.load_s:>6.2f}  {m.peak_mib:>8.0f}  "
                f"{m.min_cosine:.6f}"
            )
    return "\n".join(lines)


def to_json(bench: TargetBench) -> str:
    """One JSON object."""
    return json.dumps(asdict(bench), ensure_ascii=False)


def _report_fresh(opener: str, path: str) -> None:
    """The body of the fresh process: load, run, and print what that cost."""
    module, function = opener.split(":")
    open_it = getattr(importlib.import_module(module), function)
    started = time.perf_counter()
    encoder = open_it(Path(path), threads=1)
    load_s = time.perf_counter() - started
    for batch in BATCHES:
        encoder(bundled_voices().rows(SECONDS, batch))
    sys.stdout.write(json.dumps({"load_s": load_s, "peak_mib": _peak_mib()}) + "\n")


def _peak_mib() -> float:
    """This process's largest resident set.

    Linux's getrusage would start at the size of the process that this one was forked from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    _report_fresh(*sys.argv[1:])

"""How well groove.speech tells speech from everything else: the table in RESULTS.md.

    python -m benchmarks.speech_checks --speech DIR

DIR holds the pools ``train/``, ``unlabelled/`` and ``noise/``. Every utterance of the first two is
heard clean, with noise of the pool at 10 dB (over the whole file, seeded) and at -60 dBFS in 16
bits. The limits were chosen on train, mostly on half of its speakers (both halves are shown);
nothing was chosen on unlabelled. Every noise file and many synthetic sounds are heard at several
levels. Takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.pools import PoolUtterance, read_pool
from benchmarks.synthetic_sounds import at_level, wordless
from groove.audio import SAMPLE_RATE, read_audio
from groove.speech import NO_SPEECH_S, NOISY_DB, QUIET_DBFS, SpeechDetector, SpeechReport

SEED = 20261124
POOLS = ("train", "unlabelled")
CONDITIONS = ("clean", "10 dB noise", "-60 dBFS")
LEVELS_DBFS = (-80.0, -60.0, -40.0, -20.0, -6.0)
SNR_DB = 10.0
MIN_SPEECH_S = 0.5  # of the cards of groove-ecapa and campplus-zh-en

# The noise files in which somebody talks, found by listening to what the detector marks.
TALK = {"coffee-shop": "guests talk at the tables"}


@dataclass(frozen=True)
class Heard:
    """One recording under one condition."""

    condition: str
    name: str
    chosen_on: bool  # belongs to the half on which the limits were chosen
    found_s: float  # before it is corrected to 0
    sameness: float
    report: SpeechReport


def hear(
    detector: SpeechDetector, waveform: NDArray[np.float32], condition: str, name: str, chosen: bool
) -> Heard:
    stream = detector.stream()
    found_s = stream.push(waveform)
    return Heard(condition, name, chosen, found_s, stream._shape.sameness, stream.report())


def with_noise(
    waveform: NDArray[np.float32], noise: NDArray[np.float32], snr_db: float, shift: int
) -> NDArray[np.float32]:
    """Speech with noise that repeats from ``shift``; the ratio is of the whole files' powers."""
    fitted = np.resize(np.roll(noise, -shift), len(waveform))
    powers = [float(np.mean(x.astype(np.float64) ** 2)) for x in (waveform, fitted)]
    gain = np.sqrt(powers[0] / max(powers[1], 1e-20)) * 10 ** (-snr_db / 20)
    return (waveform + gain * fitted).astype(np.float32)


def in_16_bits(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return (np.round(waveform * 32768) / 32768).astype(np.float32)


def wordless_files(noise_pool: Path) -> list[tuple[str, Path]]:
    """Name and path of the pool's files in which nobody talks, impulse responses included."""
    rows = [(Path(u.path).stem, u.path) for u in read_noise(noise_pool)]
    return [(name, path) for name, path in rows if name.rsplit("_", 1)[0] not in TALK]


def read_noise(noise_pool: Path) -> list[PoolUtterance]:
    lines = (noise_pool / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    return [
        PoolUtterance(noise_pool / r["path"], r["corpus"], "", r["kind"], float(r["seconds"]))
        for r in rows
    ]


def hear_pool(detector: SpeechDetector, root: Path, pool: str) -> Iterator[Heard]:
    utterances = read_pool(root / pool)
    speakers = sorted({u.speaker_id for u in utterances})
    rng = np.random.default_rng(SEED)
    chosen = {speakers[i] for i in rng.permutation(len(speakers))[: len(speakers) // 2]}
    noises = [
        read_audio(path) for _, path in wordless_files(root / "noise") if "rir" not in path.parts
    ]
    for utterance in utterances:
        name, mine = str(utterance.path.relative_to(root)), utterance.speaker_id in chosen
        clean = read_audio(utterance.path)
        noise = noises[rng.integers(len(noises))]
        noisy = with_noise(clean, noise, SNR_DB, int(rng.integers(len(noise))))
        yield hear(detector, clean, f"{pool}, clean", name, mine)
        yield hear(detector, noisy, f"{pool}, 10 dB noise", name, mine)
        yield hear(detector, in_16_bits(at_level(clean, -60)), f"{pool}, -60 dBFS", name, mine)


def hear_wordless(detector: SpeechDetector, root: Path) -> Iterator[Heard]:
    for u in read_noise(root / "noise"):
        waveform, name = read_audio(u.path), u.path.stem
        kind = "talk" if name.rsplit("_", 1)[0] in TALK else u.language
        yield hear(detector, waveform, f"pool: {kind}", name, True)
        for level in LEVELS_DBFS:
            yield hear(
                detector, at_level(waveform, level), f"pool: {kind}", f"{name} {level}", True
            )
    for kind, name, waveform in wordless(6.0, 10):
        for level in LEVELS_DBFS:
            yield hear(detector, at_level(waveform, level), kind, f"{name} {level}", True)


def print_tables(heard: list[Heard]) -> None:
    groups: dict[str, list[Heard]] = defaultdict(list)
    for h in heard:
        groups[h.condition].append(h)
    print(
        "| real speech | utterances | no speech | below 0.5 s | the same, other half | median s |"
    )
    print("|---|---|---|---|---|---|")
    for condition in [f"{pool}, {c}" for pool in POOLS for c in CONDITIONS]:
        group = groups.pop(condition)
        rates = [_refused(part, limit) for part, limit in (
            (group, NO_SPEECH_S), (group, MIN_SPEECH_S),
            ([h for h in group if not h.chosen_on], MIN_SPEECH_S),
        )]  # fmt: skip
        median = np.median([h.report.speech_s for h in group])
        print(f"| {condition} | {len(group)} | {' | '.join(rates)} | {median:.2f} |")
    print("\n| nobody talks | sounds x levels | speech found | most seconds | which |")
    print("|---|---|---|---|---|")
    for condition, group in groups.items():
        wrong = [h for h in group if h.report.speech_s > 0]
        worst = max(group, key=lambda h: (h.report.speech_s, h.found_s))
        print(f"| {condition} | {len(group)} | {len(wrong)} | {worst.found_s:.2f} | {worst.name} |")


def print_details(heard: list[Heard]) -> None:
    """The spread behind the limits and the warnings."""
    for condition in ("train, clean", "train, 10 dB noise"):
        group = [h for h in heard if h.condition == condition]
        same = np.array([h.sameness for h in group if h.found_s >= NO_SPEECH_S])
        snr = np.array([h.report.snr_db for h in group if h.report.snr_db is not None])
        level = np.array([h.report.level_dbfs for h in group if h.report.level_dbfs is not None])
        print(
            f"\n{condition}: sameness 99 % {np.quantile(same, 0.99):.3f}, largest {same.max():.3f}"
        )
        print(
            f"  SNR known for {len(snr) / len(group):.1%}, 5/50/95 %",
            np.quantile(snr, [0.05, 0.5, 0.95]).round(1),
        )
        noisy, quiet = np.mean(snr < NOISY_DB), np.mean(level < QUIET_DBFS)
        print(f"  below {NOISY_DB:g} dB {noisy:.1%}; quieter than {QUIET_DBFS:g} dBFS {quiet:.1%}")
    clean = [h for h in heard if h.condition.endswith(", clean")]
    refused = [h for h in clean if h.report.speech_s < MIN_SPEECH_S]
    print("\nclean utterances below 0.5 s:")
    for h in sorted(refused, key=lambda h: h.found_s):
        print(f"  {h.found_s:.2f} of {h.report.seconds:.1f} s, sameness {h.sameness:.3f}: {h.name}")


def print_cost(detector: SpeechDetector, root: Path) -> None:
    parts = [read_audio(u.path) for u in read_pool(root / "train")[::400]]
    minute = np.concatenate(parts)[: 60 * SAMPLE_RATE]
    times = []
    for _ in range(9):
        started = time.perf_counter()
        detector.stream().push(minute)
        times.append(time.perf_counter() - started)
    seconds = len(minute) / SAMPLE_RATE
    print(f"\ncost: {1e3 * np.median(times):.1f} ms for {seconds:.0f} s on one thread "
          f"({seconds / np.median(times):.0f} audio seconds per second, {min(times) * 1e3:.1f} to "
          f"{max(times) * 1e3:.1f} ms, {len(times)} runs)")  # fmt: skip


def _refused(group: list[Heard], limit_s: float) -> str:
    n = sum(h.report.speech_s < limit_s for h in group)
    return f"{n} ({100 * n / len(group):.2f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--speech", type=Path, required=True, help="the folder with the pools")
    root = parser.parse_args().speech
    detector = SpeechDetector()
    heard = [h for pool in POOLS for h in hear_pool(detector, root, pool)]
    heard += hear_wordless(detector, root)
    print_tables(heard)
    print_details(heard)
    print_cost(detector, root)


if __name__ == "__main__":
    main()

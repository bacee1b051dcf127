"""CN-Celeb in miniature: its exact folders, names and lists, over a few short recordings.

    CN-Celeb_flac/data/<speaker>/<genre>-<session>-<utterance>.flac
    CN-Celeb_flac/dev/dev.lst
    CN-Celeb_flac/eval/{enroll,test}/, eval/lists/{enroll.lst,enroll.map,test.lst,trials.lst}
    CN-Celeb2_flac/data/<speaker>/..., CN-Celeb2_flac/spk.lst

The lists say ``.wav`` where the files are ``.flac``. As in the corpus, ``data/`` holds the
evaluation speakers too, the last of whom has tests but no enrollment; a genre has an underscore.
Voices are made of harmonics whose pitch and resonance belong to the speaker, or taken from a pool
of real speech (``pool``, a folder with manifest.tsv).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from groove.audio import read_audio
from tests.conftest import read_pool

RATE = 16_000
GENRES = ("singing", "live_broadcast", "interview")
DEV = ("id00000", "id00003", "id00012", "id00231", "id00640", "id00799")
EVALUATION = ("id00800", "id00803", "id00999")
SECOND = ("id10000", "id10007", "id10501", "id11995")
SECONDS = (0.9, 1.6, 2.3, 5.4, 3.1, 1.2)  # of the first utterances of every speaker, then again


@dataclass(frozen=True)
class Miniature:
    """Where it lies and who is in it."""

    root: Path
    root2: Path
    dev: tuple[str, ...]
    evaluation: tuple[str, ...]
    second: tuple[str, ...]
    n_utterances: int  # of each speaker


def build_cnceleb(
    folder: Path,
    *,
    dev: tuple[str, ...] = DEV,
    evaluation: tuple[str, ...] = EVALUATION,
    second: tuple[str, ...] = SECOND,
    n_utterances: int = 6,
    pool: Path | None = None,
) -> Miniature:
    """Lay it out below ``folder``; the same arguments give the same bytes."""
    root, root2 = folder / "CN-Celeb_flac", folder / "CN-Celeb2_flac"
    voices = _Voices([*dev, *evaluation, *second], pool)
    for speaker in (*dev, *evaluation):
        _write_speaker(root / "data" / speaker, speaker, voices, n_utterances)
    for speaker in second:
        _write_speaker(root2 / "data" / speaker, speaker, voices, n_utterances)
    _write_list(root / "dev" / "dev.lst", list(dev))
    _write_list(root2 / "spk.lst", list(second))
    _write_evaluation(root, evaluation)
    return Miniature(root, root2, dev, evaluation, second, n_utterances)


def names_of(n_utterances: int) -> list[str]:
    """The stems of a speaker's files: singing-01-001, live_broadcast-01-001, ..."""
    stems = []
    for i in range(n_utterances):
        number = i // len(GENRES)
        stems.append(f"{GENRES[i % len(GENRES)]}-{number // 2 + 1:02d}-{number % 2 + 1:03d}")
    return stems


def voice(speaker: str, take: int, seconds: float) -> NDArray[np.float32]:
    """A made-up voice [S]: harmonics of the speaker's pitch under the speaker's resonances."""
    own = np.random.default_rng(int(speaker.removeprefix("id")))
    pitch_hz, peaks_hz = own.uniform(90, 260), own.uniform([300, 900, 1500], [800, 1400, 2400])
    rng = np.random.default_rng([int(speaker.removeprefix("id")), take])
    time_s = np.arange(round(seconds * RATE)) / RATE
    wobble = 1 + 0.04 * np.sin(2 * np.pi * rng.uniform(2, 5) * time_s + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch_hz * wobble) / RATE
    sound = np.zeros_like(time_s)
    for k in range(1, int(2600 / pitch_hz)):
        level = sum(np.exp(-(((k * pitch_hz - peak) / 250) ** 2)) for peak in peaks_hz) + 0.02
        sound += level * np.sin(k * phase + rng.uniform(0, 6))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(3, 5) * time_s)
    sound = sound * syllables + 0.01 * rng.standard_normal(len(time_s))
    loud: NDArray[np.float32] = (0.3 * sound / np.abs(sound).max()).astype(np.float32)
    return loud


class _Voices:
    """Recording number ``take`` of a speaker, made up or from the pool's fullest speakers."""

    def __init__(self, speakers: list[str], pool: Path | None) -> None:
        self._takes: dict[str, list[str]] = {}
        if pool is None:
            return
        real: dict[str, list[str]] = {}
        for row in read_pool(pool):
            real.setdefault(f"{row['corpus']}/{row['speaker']}", []).append(row["path"])
        fullest = sorted(real, key=lambda name: (-len(real[name]), name))[: len(speakers)]
        self._takes = {s: sorted(real[name]) for s, name in zip(speakers, fullest, strict=True)}

    def __call__(self, speaker: str, take: int) -> NDArray[np.float32]:
        if self._takes:
            paths = self._takes[speaker]
            return read_audio(paths[take % len(paths)])
        return voice(speaker, take, SECONDS[take % len(SECONDS)])


def _write_speaker(folder: Path, speaker: str, voices: _Voices, n_utterances: int) -> None:
    folder.mkdir(parents=True)
    for take, stem in enumerate(names_of(n_utterances)):
        soundfile.write(folder / f"{stem}.flac", voices(speaker, take), RATE, subtype="PCM_16")


def _write_evaluation(root: Path, evaluation: tuple[str, ...]) -> None:
    """Two originals make an enrollment, the others are tests; all trials are in the list."""
    enroll, test = root / "eval" / "enroll", root / "eval" / "test"
    enroll.mkdir(parents=True)
    test.mkdir()
    models: list[str] = []
    maps: list[str] = []
    tests: list[str] = []
    for speaker in evaluation:
        files = sorted((root / "data" / speaker).iterdir())
        has_model = speaker != evaluation[-1] or len(evaluation) == 1
        originals, others = (files[:2], files[2:]) if has_model else ([], files)
        if has_model:
            joined = np.concatenate([read_audio(file) for file in originals])
            soundfile.write(enroll / f"{speaker}-enroll.flac", joined, RATE, subtype="PCM_16")
            models.append(speaker)
            names = " ".join(f"{speaker}/{file.stem}.wav" for file in originals)
            maps.append(f"{speaker}-enroll {names}")
        for file in others:
            (test / f"{speaker}-{file.name}").write_bytes(file.read_bytes())
            tests.append(f"test/{speaker}-{file.stem}.wav")
    lists = root / "eval" / "lists"
    _write_list(lists / "enroll.lst", [f"{s}-enroll enroll/{s}-enroll.wav" for s in models])
    _write_list(lists / "enroll.map", maps)
    _write_list(lists / "test.lst", tests)
    trials = [f"{s}-enroll {t} {int(t.startswith(f'test/{s}-'))}" for s in models for t in tests]
    _write_list(lists / "trials.lst", trials)


def _write_list(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

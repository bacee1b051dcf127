"""Background sounds by kind, to be mixed under speech.

    bank = NoiseBank(("musan", "office"))            # decoded when first used, kept up to a bound
    bank = NoiseBank(("musan",), pack="musan.i16")   # one memory-mapped file, see packing

Kinds are ``noise``, ``music`` and ``babble`` (several voices of a ``speech`` folder at once).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, open_audio
from groove.errors import AudioError, ManifestError, SettingsError
from groove.manifest import Utterance
from groove.training.folders import audio_files
from groove.training.packing import PackedSource
from groove.training.signals import power
from groove.training.waveforms import (
    CACHE_BYTES,
    CachedSource,
    FileSource,
    WaveformSource,
    files_now,
    parts_of,
    version_of,
)

KIND_OF_FOLDER = {"noise": "noise", "music": "music", "speech": "babble"}


class NoiseBank:
    """Every audio file below some folders, by kind.

    Args:
        folders: MUSAN or any other folder, see `groove.training.folders`.
        pack: of `groove.training.packing.pack`, made of these folders; empty: the files.
        cache_bytes: decoded sound that a process keeps; what is beyond is decoded anew each time.

    Raises:
        SettingsError: a folder that is missing or holds no audio.
        ManifestError: a pack that is missing or holds other files.
    """

    def __init__(
        self, folders: Sequence[str], *, pack: str = "", cache_bytes: int = CACHE_BYTES
    ) -> None:
        if not folders:
            raise SettingsError("no folder for noise; give one or switch noise off")
        self.paths: list[Path] = []  # of all files, in the order of their indices
        self._of_kind: dict[str, list[int]] = {}
        utterances = noise_utterances(folders)
        for i, utterance in enumerate(utterances):
            kind = KIND_OF_FOLDER[utterance.fields["kind"]]
            self.paths.append(utterance.path)
            self._of_kind.setdefault(kind, []).append(i)
        self._source: WaveformSource
        if pack:
            packed = PackedSource(pack, utterances)
            for i, utterance in enumerate(utterances):
                if packed.version(i) != version_of(files_now(parts_of(utterance))):
                    raise ManifestError(
                        f"{utterance.path}: changed since {pack} was made; make it again with  "
                        "groove prepare noise"
                    )
            self._source = packed
        else:
            self._source = CachedSource(FileSource(utterances), len(utterances), cache_bytes)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are there, of noise, music and babble."""
        return tuple(kind for kind in KIND_OF_FOLDER.values() if kind in self._of_kind)

    def files(self, kind: str) -> list[int]:
        """Indices of the files of a kind."""
        return self._of_kind[kind]

    def name(self, i: int) -> str:
        """The path of file ``i``."""
        return self.paths[i].as_posix()

    def read(self, i: int, position: float, n_samples: int) -> NDArray[np.float32]:
        """A piece [n_samples] of a file; one that is too short is repeated.

        Args:
            i: which file.
            position: in [0, 1): where in the file, of all the places where the piece fits in.
            n_samples: how long.

        Raises:
            SettingsError: the file cannot be read.
        """
        length_s = n_samples / SAMPLE_RATE
        spare_s = max(self._source.seconds(i) - length_s, 0.0)
        try:
            piece = self._source.read(i, position * spare_s, length_s)
        except (AudioError, OSError) as error:
            raise SettingsError(f"noise {error}; remove or replace the file") from None
        if len(piece) < n_samples:
            piece = np.roll(np.resize(piece, n_samples), int(position * n_samples))
        return piece


def noise_utterances(folders: Sequence[str]) -> list[Utterance]:
    """The files of noise folders as utterances, for a bank or for `groove.training.packing.pack`.

    The length is taken from the header where the format has it; lossy files are decoded once.
    """
    listed: dict[Path, str] = {}
    for folder in folders:
        for path, kind in audio_files(folder, "noise"):
            listed.setdefault(path, kind)
    return [
        Utterance(path.as_posix(), kind, path, _seconds(path), {"kind": kind})
        for path, kind in listed.items()
    ]


def mix(
    waveform: NDArray[np.float32], noise: NDArray[np.float32], snr_db: float
) -> NDArray[np.float32]:
    """Add noise [S] to a waveform [S] at a signal-to-noise ratio.

    The ratio is that of the mean squares of both over the whole crop, pauses included (as in
    Kaldi's and WeSpeaker's recipes), so 10 log10(mean(waveform^2) / mean(noise added^2)) = snr_db
    exactly. Where either is silent, nothing is added.
    """
    speech, sound = power(waveform), power(noise)
    if speech == 0 or sound == 0:
        return waveform
    gain = math.sqrt(speech / sound) * 10 ** (-snr_db / 20)
    mixed: NDArray[np.float32] = noise * np.float32(gain)
    mixed += waveform
    return mixed


def babble(voices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Several voices [S] at once, each equally loud."""
    total = np.zeros_like(voices[0])
    for voice in voices:
        level = power(voice)
        if level > 0:
            total += voice * np.float32(1 / math.sqrt(level))
    return total


def _seconds(path: Path) -> float:
    try:
        with open_audio(path) as audio:
            if audio.stated_seconds > 0:
                return audio.stated_seconds
            for _ in audio:
                pass
            return audio.seconds
    except AudioError as error:
        raise SettingsError(f"noise {error}; remove or replace the file") from None

"""What happens to a crop on its way: a room, other sounds, another level, a telephone.

    augmenter = open_augmenter(AugmentConfig(noise_folders=("musan",), noise_probability=0.6))
    augmentation = augmenter.draw(seed)              # a record of numbers and names
    noisy = augmenter.apply(waveform, augmentation)  # [S] -> [S], the same today and tomorrow

The steps are taken in the order in which sound takes them, each with its own probability:

    waveform -> reverberation -> noise -> gain -> codec

Conventions: nothing shifts or changes the length. Reverberation keeps the power of the crop. The
signal-to-noise ratio is defined in `groove.training.noises.mix`. Where a step lets the peak exceed
full scale, the whole crop is turned down to it: nothing is ever clipped. Speed is not here: it
makes another speaker, so it is a matter of the sampler and the dataset. A sound or an impulse
response that cannot be read is passed over for the next one of its kind, always the same, and told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio.soundfiles import OPUS_LEAST, OPUS_MOST
from groove.errors import SettingsError
from groove.training.codecs import CODECS, apply_codec
from groove.training.noises import NoiseBank, babble, mix
from groove.training.rooms import N_SIMULATED, RoomFolder, Rooms, SimulatedRooms, reverberate
from groove.training.signals import turned_down

MOST_PASSED_OVER = 50  # files in a row that are damaged before it is given up


@dataclass(frozen=True)
class AugmentConfig:
    """What may happen, and how often; all off: the crop stays as it is.

    >>> AugmentConfig(noise_folders=("musan",), noise_probability=0.4, reverb_probability=0.3)
    """

    noise_folders: tuple[str, ...] = ()  # MUSAN, or any folder of sounds
    noise_pack: str = ""  # made once of these folders; workers then share it and decode nothing
    noise_probability: float = 0.0
    noise_snr_db: tuple[float, float] = (0.0, 15.0)
    music_snr_db: tuple[float, float] = (5.0, 15.0)
    babble_snr_db: tuple[float, float] = (13.0, 20.0)
    babble_voices: tuple[int, int] = (3, 7)
    rir_folders: tuple[str, ...] = ()  # impulse responses; none: rooms are simulated
    reverb_probability: float = 0.0
    n_rooms: int = N_SIMULATED
    room_t60_s: tuple[float, float] = (0.15, 0.7)
    room_seed: int = 0
    gain_probability: float = 0.0
    gain_db: tuple[float, float] = (-20.0, 6.0)
    codec_probability: float = 0.0
    codecs: tuple[str, ...] = ("alaw", "ulaw")  # and "opus", which costs 50 times as much
    opus_bits_per_s: tuple[int, int] = (8_000, 24_000)

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= value <= 1:
                raise SettingsError(f"augment.{field.name} is {value!r}; wanted 0 to 1")
            is_range = isinstance(value, tuple) and "folders" not in field.name
            if is_range and field.name != "codecs" and (len(value) != 2 or value[0] > value[1]):
                raise SettingsError(f"augment.{field.name} is {value!r}; wanted (least, most)")
        unknown = sorted(set(self.codecs) - set(CODECS))
        if unknown or (self.codec_probability > 0 and not self.codecs):
            raise SettingsError(f"augment.codecs is {self.codecs!r}; wanted some of {CODECS}")
        if not OPUS_LEAST <= self.opus_bits_per_s[0] <= self.opus_bits_per_s[1] <= OPUS_MOST:
            raise SettingsError(
                f"augment.opus_bits_per_s is {self.opus_bits_per_s}; "
                f"wanted {OPUS_LEAST} to {OPUS_MOST}"
            )
        if self.babble_voices[0] < 1:
            raise SettingsError(f"augment.babble_voices is {self.babble_voices}; wanted 1 or more")
        for name, folders_ in (("noise", self.noise_folders), ("reverb", self.rir_folders)):
            if folders_ and not getattr(self, f"{name}_probability"):
                key = "rir" if name == "reverb" else name
                raise SettingsError(
                    f"augment.{key}_folders: given, but augment.{name}_probability is 0, so they "
                    "would never be heard; set it, to 0.4 say, or leave the folders out"
                )
        if self.noise_pack and not self.noise_folders:
            raise SettingsError(
                "augment.noise_pack: given without augment.noise_folders, whose sounds it holds; "
                "name the folders as they were written when packing"
            )
        if self.noise_probability > 0 and not self.noise_folders:
            raise SettingsError(
                f"augment.noise_probability is {self.noise_probability:g} without any "
                "augment.noise_folders; name a folder of noise or set the probability to 0"
            )

    @property
    def chances(self) -> dict[str, float]:
        """The probabilities above 0, by the settings' names."""
        names = [field.name for field in fields(self) if field.name.endswith("_probability")]
        return {name: getattr(self, name) for name in names if getattr(self, name) > 0}

    @property
    def is_off(self) -> bool:
        """Whether nothing can ever happen."""
        return not self.chances


@dataclass(frozen=True)
class Noise:
    """Sounds to add: one, or for babble several voices."""

    kind: str
    files: tuple[int, ...]
    positions: tuple[float, ...]  # in [0, 1): where in each file
    snr_db: float


@dataclass(frozen=True)
class Codec:
    """A codec to go through."""

    name: str
    bits_per_s: int


@dataclass(frozen=True)
class Augmentation:
    """What happens to one crop; None and 0 dB: nothing."""

    room: int | None = None
    noise: Noise | None = None
    gain_db: float = 0.0
    codec: Codec | None = None


class Augmenter:
    """Draws augmentations and applies them.

    Args:
        config: what may happen.
        noise: the sounds; None only where ``config.noise_probability`` is 0.
        rooms: the impulse responses; None only where ``config.reverb_probability`` is 0.
    """

    def __init__(
        self, config: AugmentConfig, noise: NoiseBank | None = None, rooms: Rooms | None = None
    ) -> None:
        if config.noise_probability > 0 and noise is None:
            raise SettingsError("augmentation by noise without a bank of noises; pass one")
        if config.reverb_probability > 0 and not rooms:
            raise SettingsError("augmentation by reverberation without rooms; pass some")
        self.config = config
        self._noise, self._rooms = noise, rooms
        self._damaged: dict[str, str] = {}  # names of files -> why they were passed over
        self._untold: list[tuple[str, str]] = []

    def files(self) -> dict[str, list[Path]]:
        """The files of each setting that names folders, in the order in which draws count them."""
        found: dict[str, list[Path]] = {}
        if self._noise is not None:
            found["augment.noise_folders"] = self._noise.paths
        if isinstance(self._rooms, RoomFolder):
            found["augment.rir_folders"] = self._rooms.paths
        return found

    def draw(self, seed: int) -> Augmentation:
        """The augmentation of a seed; the same seed draws the same."""
        config, rng = self.config, np.random.default_rng([seed, 1])
        chances = rng.random(4)  # drawn first: switching one step off leaves the others' choice
        return Augmentation(
            room=self._draw_room(rng) if chances[0] < config.reverb_probability else None,
            noise=self._draw_noise(rng) if chances[1] < config.noise_probability else None,
            gain_db=rng.uniform(*config.gain_db) if chances[2] < config.gain_probability else 0.0,
            codec=self._draw_codec(rng) if chances[3] < config.codec_probability else None,
        )

    def apply(
        self, waveform: NDArray[np.float32], augmentation: Augmentation
    ) -> NDArray[np.float32]:
        """Do to a waveform [S] what the record says.

        Returns:
            [S] float32, finite if the waveform is; at most 1 in magnitude where anything was done.
        """
        if augmentation == Augmentation():
            return waveform
        out = waveform
        if augmentation.room is not None:
            assert self._rooms is not None
            out = reverberate(out, self._response(augmentation.room))
        if augmentation.noise is not None:
            out = mix(out, self._sound(augmentation.noise, len(out)), augmentation.noise.snr_db)
        if augmentation.gain_db != 0:
            out = out * np.float32(10 ** (augmentation.gain_db / 20))
        out = turned_down(out)
        if augmentation.codec is not None:
            out = apply_codec(out, augmentation.codec.name, augmentation.codec.bits_per_s)
            out = turned_down(out)
        return out

    def _draw_room(self, rng: np.random.Generator) -> int:
        assert self._rooms is not None
        return int(rng.integers(len(self._rooms)))

    def _draw_noise(self, rng: np.random.Generator) -> Noise:
        assert self._noise is not None
        config, kinds = self.config, self._noise.kinds
        kind = kinds[int(rng.integers(len(kinds)))]
        ranges = {
            "noise": config.noise_snr_db,
            "music": config.music_snr_db,
            "babble": config.babble_snr_db,
        }
        least, most = config.babble_voices if kind == "babble" else (1, 1)
        n_files = int(rng.integers(least, most, endpoint=True))
        files = rng.choice(self._noise.files(kind), n_files)
        positions = tuple(rng.random(n_files).tolist())
        return Noise(kind, tuple(files.tolist()), positions, rng.uniform(*ranges[kind]))

    def _draw_codec(self, rng: np.random.Generator) -> Codec:
        name = self.config.codecs[int(rng.integers(len(self.config.codecs)))]
        if name != "opus":
            return Codec(name, 64_000)
        least, most = (math.log(rate) for rate in self.config.opus_bits_per_s)
        return Codec(name, round(math.exp(rng.uniform(least, most))))

    def _sound(self, noise: Noise, n_samples: int) -> NDArray[np.float32]:
        assert self._noise is not None
        bank, files = self._noise, self._noise.files(noise.kind)
        pieces = [
            self._whole(
                files,
                file,
                bank.name,
                partial(bank.read, position=position, n_samples=n_samples),
            )
            for file, position in zip(noise.files, noise.positions, strict=True)
        ]
        return babble(pieces) if noise.kind == "babble" else pieces[0]

    def _response(self, room: int) -> NDArray[np.float32]:
        rooms = self._rooms
        assert rooms is not None
        if not isinstance(rooms, RoomFolder):
            return rooms.response(room)
        return self._whole(
            range(len(rooms)), room, lambda i: rooms.path(i).as_posix(), rooms.response
        )

    def _whole(
        self,
        files: Sequence[int],
        first: int,
        name: Callable[[int], str],
        read: Callable[[int], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """What the first file gives; where it is damaged, what the next of its kind does."""
        at = files.index(first)
        for k in range(min(len(files), MOST_PASSED_OVER)):
            file = files[(at + k) % len(files)]
            if name(file) in self._damaged:
                continue
            try:
                return read(file)
            except SettingsError as error:
                self._damaged[name(file)] = str(error)
                self._untold.append((name(file), str(error)))
        raise SettingsError(f"{self._damaged[name(first)]} (and so are those after it)")

    def damaged(self) -> tuple[tuple[str, str], ...]:
        """Files that were passed over since this was asked last: name and reason."""
        told, self._untold = tuple(self._untold), []
        return told


def open_augmenter(config: AugmentConfig) -> Augmenter | None:
    """The augmenter of a configuration with its noises and rooms; None if all is off.

    Raises:
        SettingsError: a folder that is missing or holds no audio.
    """
    if config.is_off:
        return None
    noise: NoiseBank | None = None
    rooms: Rooms | None = None
    if config.noise_probability > 0:
        noise = NoiseBank(config.noise_folders, pack=config.noise_pack)
    if config.reverb_probability > 0 and config.rir_folders:
        rooms = RoomFolder(config.rir_folders)
    elif config.reverb_probability > 0:
        rooms = SimulatedRooms(config.n_rooms, seed=config.room_seed, t60_s=config.room_t60_s)
    return Augmenter(config, noise, rooms)

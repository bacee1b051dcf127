"""Impulse responses of rooms: read from a folder, or simulated by the image-source method.

Simulation
----------
A shoebox room of size L = (Lx, Ly, Lz), whose walls reflect a share ``reflection`` of the pressure.
The sound of a source comes straight and from its mirror images: with u in {0, 1}^3 and l in Z^3 the
image lies at (1 - 2u) source + 2 l L, and has been reflected |l - u| + |l| times along each axis.
It arrives after distance / c with the pressure reflection^n / (4 pi distance), here laid onto the
nearest sample; the slow drift that positive samples build up is taken out by the high-pass filter
of the same paper. Source: J. B. Allen and D. A. Berkley, "Image method for efficiently simulating
small-room acoustics", JASA 65(4), 1979.

The reflection is chosen for a wanted reverberation time by Eyring's formula
T60 = 24 ln(10) V / (-c S ln(1 - a)), a = 1 - reflection^2 (V volume, S surface); Sabine's has a in
place of -ln(1 - a). With equal walls the rays along the long axis decay last, so that the measured
time is somewhat longer than Eyring's; tests/training/test_rooms.py holds how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import GrooveError, SettingsError
from groove.fourier import fast_length
from groove.training.folders import audio_files
from groove.training.signals import power

SOUND_SPEED = 343.0  # m/s, in air at 20 degrees
LONGEST_S = 1.0  # of an impulse response; what comes later is cut off
KEPT_DB = 60.0  # so far below the whole energy a tail is no longer worth its transform
ONSET_S = 0.05  # before the highest sample, where an obstructed direct path may lie
MOST_BEFORE, MOST_AFTER = 0.1, 0.5  # shares of the energy: before that, and after `LONGEST_S`
MOST_KEPT = 2000  # responses that a process keeps, 128 MB at most; others are read each time
N_SIMULATED = 500  # rooms where no number is asked for: 3 ms each, 13 MB in all
WALL_GAP_M = 0.4  # of source and microphone to a wall


class Rooms(Protocol):
    """Impulse responses by number."""

    def __len__(self) -> int: ...

    def response(self, i: int) -> NDArray[np.float32]:
        """Impulse response [L] at 16 kHz, its direct path anywhere."""
        ...


@dataclass(frozen=True)
class Room:
    """A shoebox with one source and one microphone, in metres from one corner."""

    size: tuple[float, float, float]
    source: tuple[float, float, float]
    microphone: tuple[float, float, float]
    t60_s: float

    @property
    def reflection(self) -> float:
        """Share of the pressure that a wall gives back, by Eyring's formula."""
        x, y, z = self.size
        surface = 2 * (x * y + y * z + z * x)
        exponent = 24 * math.log(10) * x * y * z / (SOUND_SPEED * surface * self.t60_s)
        return math.exp(-exponent / 2)  # reflection = sqrt(1 - absorption)


class SimulatedRooms:
    """Rooms drawn by a seed; each is computed when it is first asked for, and kept.

    Args:
        n_rooms: how many.
        seed: other rooms.
        t60_s: range of the reverberation time; small rooms get the lower end.
    """

    def __init__(
        self, n_rooms: int = N_SIMULATED, *, seed: int = 0, t60_s: tuple[float, float] = (0.15, 0.7)
    ) -> None:
        if n_rooms < 1 or not 0.05 <= t60_s[0] <= t60_s[1] <= 3:
            raise SettingsError(
                f"{n_rooms} simulated rooms with {t60_s} s of reverberation; "
                "wanted at least 1, and 0.05 <= least <= most <= 3"
            )
        self._rooms = [draw_room(np.random.default_rng([seed, i]), t60_s) for i in range(n_rooms)]
        self._kept: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def response(self, i: int) -> NDArray[np.float32]:
        """Impulse response [L] of room ``i``."""
        if i not in self._kept:
            room = self._rooms[i]
            length_s = min(LONGEST_S, 1.1 * room.t60_s)
            self._kept[i] = trimmed(image_source(room, samples=round(length_s * SAMPLE_RATE)))
        return self._kept[i]


class RoomFolder:
    """Measured impulse responses: every audio file below some folders.

    Raises:
        SettingsError: a folder that is missing or holds no audio.
    """

    def __init__(self, folders: tuple[str, ...]) -> None:
        self.paths = [  # in the order of their indices
            path for folder in folders for path, _ in audio_files(folder, "reverberation")
        ]
        self._kept: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, i: int) -> Path:
        """The file of response ``i``."""
        return self.paths[i]

    def response(self, i: int) -> NDArray[np.float32]:
        """Impulse response [L] of file ``i``; the first channel.

        Raises:
            SettingsError: the file cannot be read, or is silent.
        """
        if i in self._kept:
            return self._kept[i]
        response = trimmed(_read_response(self.paths[i]))
        if len(self._kept) < MOST_KEPT:
            self._kept[i] = response
        return response


def draw_room(rng: np.random.Generator, t60_s: tuple[float, float]) -> Room:
    """A room from a bathroom to a small hall, with a speaker and a microphone in it."""
    size = rng.uniform([2.5, 2.5, 2.3], [9.0, 7.0, 3.5])
    places = rng.uniform(WALL_GAP_M, size - WALL_GAP_M, size=(2, 3))
    # Large rooms ring longer: the upper end belongs to the largest.
    largest = (size.prod() / (9.0 * 7.0 * 3.5)) ** (1 / 3)
    seconds = rng.uniform(t60_s[0], t60_s[0] + largest * (t60_s[1] - t60_s[0]))
    source, microphone = (tuple(float(v) for v in place) for place in places)
    sized = tuple(float(v) for v in size)
    return Room(sized, source, microphone, float(seconds))  # type: ignore[arg-type]


def image_source(room: Room, *, samples: int, highpass: bool = True) -> NDArray[np.float32]:
    """Impulse response [samples] at 16 kHz by Allen and Berkley's method."""
    farthest = samples / SAMPLE_RATE * SOUND_SPEED
    axes = [
        _images_of_axis(size, source, microphone, farthest)
        for size, source, microphone in zip(room.size, room.source, room.microphone, strict=True)
    ]
    response = np.zeros(samples)
    log_reflection = math.log(max(room.reflection, 1e-30))
    (x, n_x), (y, n_y), (z, n_z) = axes
    plane = np.add.outer(y * y, z * z).ravel()
    n_plane = np.add.outer(n_y, n_z).ravel()
    order = np.argsort(plane)  # so that each x needs a piece of it only
    plane, n_plane = plane[order], n_plane[order]
    for offset, n_reflections in zip(x, n_x, strict=True):
        n_used = np.searchsorted(plane, farthest * farthest - offset * offset)
        distance = np.sqrt(plane[:n_used] + offset * offset)
        pressure = np.exp(log_reflection * (n_plane[:n_used] + n_reflections))
        pressure /= 4 * np.pi * np.maximum(distance, 1e-3)
        sample = np.rint(distance * (SAMPLE_RATE / SOUND_SPEED)).astype(np.int64)
        response += np.bincount(sample, pressure, minlength=samples + 1)[:samples]
    return (_highpassed(response) if highpass else response).astype(np.float32)


def trimmed(response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the tail where 60 dB less than the whole energy is left, at the latest after 1 s.

    The second counts from the direct path, so that a late one is not cut away.
    """
    direct = int(np.argmax(np.abs(response)))
    kept = response[: direct + round(LONGEST_S * SAMPLE_RATE)]
    left = np.cumsum(np.square(kept[::-1], dtype=np.float64))[::-1]
    n_kept = int(np.count_nonzero(left > left[0] * 10 ** (-KEPT_DB / 10)))
    return np.ascontiguousarray(kept[: max(n_kept, direct + 1)])


def reverberate(
    waveform: NDArray[np.float32], response: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Put a waveform [S] into a room: same length, in place, as loud as before.

    The direct path (the largest sample of the response) is moved to 0, so that what is said stays
    where it was said. The power of the whole crop is kept; silence stays silence.
    """
    n_samples, direct = len(waveform), int(np.argmax(np.abs(response)))
    n_fft = fast_length(n_samples + len(response) - 1)
    spectrum = np.fft.rfft(waveform, n_fft)
    spectrum *= np.fft.rfft(response, n_fft)
    wet = np.fft.irfft(spectrum, n_fft)[direct : direct + n_samples].astype(np.float32, copy=False)
    wet_power = power(wet)
    if wet_power > 0:
        wet *= np.float32(math.sqrt(power(waveform) / wet_power))
    return wet


def _images_of_axis(
    size: float, source: float, microphone: float, farthest: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Along one axis: places of the images from the microphone, and how often each bounced."""
    reach = math.ceil(farthest / (2 * size)) + 1
    offsets, counts = [], []
    for mirrored, turn in product((0, 1), range(-reach, reach + 1)):
        offset = (1 - 2 * mirrored) * source + 2 * turn * size - microphone
        if abs(offset) <= farthest:
            offsets.append(offset)
            counts.append(abs(turn - mirrored) + abs(turn))
    return np.array(offsets), np.array(counts)


def _highpassed(response: NDArray[np.float64]) -> NDArray[np.float64]:
    """Allen and Berkley's filter (their appendix): second order, at 100 Hz.

    Run as a product of spectra; the padding holds its tail, which is gone within 0.1 s.
    """
    angle = 2 * np.pi * 100.0 / SAMPLE_RATE
    decay = math.exp(-angle)
    n_fft = fast_length(len(response) + SAMPLE_RATE // 4)
    z = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)
    numerator = 1 - (1 + decay) * z + decay * z * z
    denominator = 1 - 2 * decay * math.cos(angle) * z + decay * decay * z * z
    spectrum = np.fft.rfft(response, n_fft) * numerator / denominator
    return np.fft.irfft(spectrum, n_fft)[: len(response)]


def _read_response(path: Path) -> NDArray[np.float32]:
    try:
        response = read_audio(path, channel=1)
    except GrooveError as error:
        raise SettingsError(f"impulse response {error}; remove or replace the file") from None
    if not response.any():
        raise SettingsError(f"impulse response {path}: silent; remove or replace the file")
    energy = np.square(response, dtype=np.float64)
    direct = int(np.argmax(energy))
    before = energy[: max(0, direct - round(ONSET_S * SAMPLE_RATE))].sum()
    after = energy[direct + round(LONGEST_S * SAMPLE_RATE) :].sum()
    if before > MOST_BEFORE * energy.sum() or after > MOST_AFTER * energy.sum():
        raise SettingsError(
            f"impulse response {path}: its energy is not where its highest sample is, as with "
            "noise and speech; give the folder of impulse responses alone"
        )
    return response

"""Rooms: images against a loop over mirrors, Eyring and Sabine; convolution against numpy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import soundfile

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import SettingsError
from groove.fourier import fast_length
from groove.training.rooms import (
    SOUND_SPEED,
    Room,
    RoomFolder,
    SimulatedRooms,
    draw_room,
    image_source,
    reverberate,
    trimmed,
)
from tests.conftest import VOICE_A

ROOM = Room((4.1, 5.3, 2.7), (1.0, 1.7, 1.1), (2.9, 3.8, 1.5), 0.3)


def mirrored(room: Room, n_samples: int, reach: int) -> np.ndarray:
    """Reflect the source at the walls one by one; no formula for images."""

    def bounces(place: float, size: float) -> list[tuple[float, int]]:
        found = [(place, 0)]
        for first in (0, 1):  # which wall is met first
            image = place
            for n in range(1, reach + 1):
                wall = 0.0 if (n + first) % 2 else size
                image = 2 * wall - image
                found.append((image, n))
        return found

    response = np.zeros(n_samples)
    axes = [bounces(s, size) for s, size in zip(room.source, room.size, strict=True)]
    for (x, a), (y, b), (z, c) in product(*axes):
        distance = math.dist((x, y, z), room.microphone)
        at = round(distance / SOUND_SPEED * SAMPLE_RATE)
        if at < n_samples:
            response[at] += room.reflection ** (a + b + c) / (4 * math.pi * distance)
    return response


def test_image_sources_are_the_mirrored_ones():
    n_samples = 640  # 13.7 m: up to five bounces between walls 2.7 m apart
    got = image_source(ROOM, samples=n_samples, highpass=False)
    np.testing.assert_allclose(got, mirrored(ROOM, n_samples, reach=7), rtol=1e-5, atol=1e-7)


def test_the_direct_path_comes_first_and_strongest():
    got = image_source(ROOM, samples=2000, highpass=False)
    distance = math.dist(ROOM.source, ROOM.microphone)
    at = round(distance / SOUND_SPEED * SAMPLE_RATE)
    assert np.flatnonzero(got)[0] == at == np.argmax(got)
    assert got[at] == pytest.approx(1 / (4 * math.pi * distance), rel=1e-5)


def decay_s(response: np.ndarray) -> float:
    """Reverberation time by Schroeder's backward integral, the slope from -5 to -35 dB."""
    left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    level_db = 10 * np.log10(left / left[0] + 1e-30)
    used = (level_db <= -5) & (level_db >= -35)
    slope = np.polyfit(np.flatnonzero(used) / SAMPLE_RATE, level_db[used], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("t60_s", [0.2, 0.4, 0.7])
def test_energy_decays_in_about_the_time_that_eyring_and_sabine_name(t60_s):
    measured, sabine = [], []
    for seed in range(6):
        drawn = draw_room(np.random.default_rng(seed), (t60_s, t60_s))
        measured.append(decay_s(image_source(drawn, samples=round(1.5 * t60_s * SAMPLE_RATE))))
        x, y, z = drawn.size
        absorption = 1 - drawn.reflection**2
        surface = 2 * (x * y + y * z + z * x)
        sabine.append(24 * math.log(10) * x * y * z / (SOUND_SPEED * surface * absorption))
    # Long axes decay last in a box with equal walls, so its rooms ring longer than diffuse ones.
    assert 0.9 < np.mean(measured) / t60_s < 1.4
    assert 0.7 < np.mean(measured) / np.mean(sabine) < 1.4


def test_the_high_pass_removes_the_drift_and_leaves_speech():
    plain = image_source(ROOM, samples=8000, highpass=False).astype(np.float64)
    passed = image_source(ROOM, samples=8000)
    gain = np.abs(np.fft.rfft(passed, 16_000)) / np.abs(np.fft.rfft(plain, 16_000))
    assert gain[:5].max() < 0.05  # 0 to 4 Hz
    np.testing.assert_allclose(np.median(gain[1000:7000]), 1.0, atol=0.05)


def test_the_same_seed_gives_the_same_rooms():
    one, same, other = (
        SimulatedRooms(3, seed=1),
        SimulatedRooms(5, seed=1),
        SimulatedRooms(3, seed=2),
    )
    assert len(one) == 3
    for i in (2, 0):
        np.testing.assert_array_equal(one.response(i), same.response(i))
    assert not np.array_equal(one.response(0)[:500], other.response(0)[:500])


@pytest.mark.parametrize("direct", [0, 1, 400, 3000])
def test_reverberation_is_a_convolution_with_the_direct_path_at_zero(direct, rng):
    waveform = rng.standard_normal(8000).astype(np.float32)
    response = (0.2 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 800)).astype(np.float32)
    response[direct] = 1.5
    wet = reverberate(waveform, response)
    wanted = np.convolve(waveform.astype(float), response.astype(float))[direct : direct + 8000]
    wanted *= np.sqrt(np.mean(waveform.astype(float) ** 2) / np.mean(wanted**2))
    assert wet.shape == waveform.shape and wet.dtype == np.float32
    np.testing.assert_allclose(wet, wanted, atol=2e-5)


def test_a_late_direct_path_alone_changes_nothing(rng):
    waveform = rng.standard_normal(5000).astype(np.float32)
    response = np.zeros(9000, dtype=np.float32)
    response[7000] = -0.3  # inverted, as some measurements are
    np.testing.assert_allclose(reverberate(waveform, response), -waveform, atol=1e-5)


def test_silence_stays_silence():
    response = SimulatedRooms(1).response(0)
    assert not reverberate(np.zeros(4000, dtype=np.float32), response).any()


def test_trimming_keeps_all_but_a_millionth_of_the_energy(rng):
    response = (rng.standard_normal(32_000) * np.exp(-np.arange(32_000) / 900)).astype(np.float32)
    kept = trimmed(response)
    assert len(kept) < 8000
    lost = np.sum(response[len(kept) :].astype(float) ** 2) / np.sum(response.astype(float) ** 2)
    assert 0 < lost <= 1.01e-6
    late = np.zeros(60_000, dtype=np.float32)
    late[50_000] = 1
    assert len(trimmed(late)) == 50_001


def test_fast_lengths_have_small_factors_and_are_the_smallest():
    def smooth(n: int) -> bool:
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        return n == 1

    for n in [1, 2, 7, 97, 1000, 1001, 47_999]:
        assert fast_length(n) == next(m for m in range(n, 2 * n + 1) if smooth(m))


def test_a_folder_of_responses(tmp_path, rng):
    with pytest.raises(SettingsError, match="does not exist"):
        RoomFolder((str(tmp_path / "none"),))
    with pytest.raises(SettingsError, match="no audio file in the folder for reverberation"):
        RoomFolder((str(tmp_path),))
    soundfile.write(tmp_path / "b.wav", [0.0, 0.0, 1.0, 0.5, 0.0], SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(50), SAMPLE_RATE)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "text.wav").write_text("no audio at all")
    rooms = RoomFolder((str(tmp_path),))
    assert [rooms.path(i).name for i in range(len(rooms))] == ["b.wav", "text.wav", "silent.wav"]
    np.testing.assert_array_equal(rooms.response(0), [0, 0, 1, 0.5])
    with pytest.raises(SettingsError, match=r"text.wav.*remove or replace"):
        rooms.response(1)
    with pytest.raises(SettingsError, match=r"silent.wav: silent"):
        rooms.response(2)


def test_noise_and_speech_are_no_impulse_responses(tmp_path, rng):
    """As in a folder that holds both, such as RIRS_NOISES."""
    noise = 0.1 * rng.standard_normal(SAMPLE_RATE)
    noise[-100] = 0.9
    soundfile.write(tmp_path / "noise.wav", noise, SAMPLE_RATE)
    soundfile.write(tmp_path / "speech.wav", read_audio(VOICE_A), SAMPLE_RATE)
    room = image_source(draw_room(rng, (0.6, 0.7)), samples=SAMPLE_RATE)
    late = np.concatenate([np.zeros(4000, np.float32), room / np.abs(room).max()])
    soundfile.write(tmp_path / "room.wav", late, SAMPLE_RATE, subtype="FLOAT")
    rooms = RoomFolder((str(tmp_path),))
    for i in range(3):
        if rooms.path(i).name == "room.wav":
            assert len(rooms.response(i))
        else:
            with pytest.raises(SettingsError, match="its energy is not where its highest"):
                rooms.response(i)


def test_impossible_rooms_are_refused():
    with pytest.raises(SettingsError, match="0 simulated rooms"):
        SimulatedRooms(0)
    with pytest.raises(SettingsError, match="least <= most"):
        SimulatedRooms(2, t60_s=(0.5, 0.2))

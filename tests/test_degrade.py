"""The conditions of the benchmark do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import degrade
from groove.audio import read_audio
from tests.conftest import VOICE_A


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(VOICE_A)


@pytest.mark.parametrize("snr_db", [20.0, 5.0, 0.0])
def test_noise_stands_at_the_promised_ratio(speech: np.ndarray, snr_db: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 5_000).astype(np.float32)
    quiet = speech * 0.2  # so that nothing is scaled down
    mixed = degrade.add_noise(quiet, noise, snr_db, np.random.default_rng(1))
    added = mixed.astype(float) - quiet
    ratio = 10 * np.log10(np.mean(quiet.astype(float) ** 2) / np.mean(added**2))
    assert ratio == pytest.approx(snr_db, abs=0.01)
    again = degrade.add_noise(quiet, noise, snr_db, np.random.default_rng(1))
    np.testing.assert_array_equal(mixed, again)


def test_babble_is_every_voice_equally_loud() -> None:
    rng = np.random.default_rng(0)
    loud, faint = (g * rng.normal(0, 1, 8_000).astype(np.float32) for g in (0.5, 0.01))
    mixed = degrade.babble([loud, faint], 16_000, np.random.default_rng(1)).astype(float)
    for voice in (loud, faint):  # found by its circular correlation, at a power of 1
        spectrum = np.fft.rfft(mixed[:8_000]) * np.conj(np.fft.rfft(voice))
        peak = np.fft.irfft(spectrum).max() / 8_000 / np.sqrt(np.mean(voice.astype(float) ** 2))
        assert peak == pytest.approx(1.0, abs=0.1)
    assert np.mean(mixed**2) == pytest.approx(2.0, rel=0.1)


def test_a_room_is_a_convolution(speech: np.ndarray) -> None:
    response = np.zeros(900, np.float32)
    response[100], response[500] = 1.0, 0.5
    wet = degrade.reverberate(speech, response)
    wanted = speech.astype(float).copy()
    wanted[400:] += 0.5 * speech[:-400]
    wanted *= np.sqrt(np.mean(speech.astype(float) ** 2) / np.mean(wanted**2))
    wanted /= max(1.0, np.abs(wanted).max() / 0.99)
    np.testing.assert_allclose(wet, wanted, atol=1e-5)


def test_alaw_is_that_of_g711() -> None:
    """Against CCITT's bit-by-bit expansion (code xor 0x55), over all 256 codes and all inputs."""
    decoded = []
    for code in range(256):
        bits = code ^ 0x55
        value, segment = (bits & 0x0F) << 4, (bits & 0x70) >> 4
        value += 0x008 if segment == 0 else 0x108
        value <<= max(segment - 1, 0)
        decoded.append(value if bits & 0x80 else -value)
    values = np.sort(np.array(decoded)) / 32768
    np.testing.assert_array_equal(degrade._alaw_values(), values)
    samples = np.linspace(-1, 1, 4_001).astype(np.float32)
    nearest = np.abs(samples[:, None] - values[None]).min(axis=1)
    np.testing.assert_allclose(np.abs(degrade.alaw(samples) - samples), nearest, atol=1e-6)


def test_the_telephone_lets_nothing_through_above_4_khz(speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, len(speech)).astype(np.float32)
    heard = degrade.telephone(noise)
    assert len(heard) == len(speech)
    power = np.abs(np.fft.rfft(heard)) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / 16_000)
    assert power[hz > 4_200].sum() < 1e-3 * power[hz < 3_800].sum()


def test_opus_runs_at_about_16_kbit_s(speech: np.ndarray) -> None:
    coded, kbit_s = degrade.opus(speech)
    assert len(coded) == len(speech) and 11 < kbit_s < 21
    assert 0.3 < float(np.corrcoef(coded, speech)[0, 1]) < 0.9999

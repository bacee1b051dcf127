"""Codecs: G.711 against libsndfile's on every sample, the band by tones, place and length."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from groove.audio import SAMPLE_RATE
from groove.telephone import g711_table, telephone
from groove.training.codecs import CODECS, apply_codec

EVERY = np.arange(-32768, 32768).astype(np.int16)


def decoded(law: str) -> np.ndarray:
    return g711_table(law)[EVERY.view(np.uint16)].astype(int)


@pytest.mark.parametrize("law", ["alaw", "ulaw"])
def test_g711_is_libsndfile_s(law):
    file = io.BytesIO()
    soundfile.write(file, EVERY, 8000, format="WAV", subtype=law.upper())
    file.seek(0)
    theirs = soundfile.read(file, dtype="int16")[0].astype(int)
    ours = decoded(law)
    np.testing.assert_array_equal(ours[EVERY >= 0], theirs[EVERY >= 0])
    # Below zero libraries differ by where a step begins; never by more than that one step.
    differs = ours != theirs
    assert differs.mean() < 0.02
    assert np.all(np.abs(ours - EVERY) <= np.abs(theirs - EVERY) + 8)


@pytest.mark.parametrize(
    ("law", "values", "n_values"),
    [
        # ITU-T G.711 (11/88), tables 1a and 2a, columns 5 and 8: decision values to decoder
        # outputs in 13 (14) bits; first, some in between, last.
        (
            "alaw",
            [(0, 1), (2, 3), (62, 63), (64, 66), (1024, 1056), (2048, 2112), (4095, 4032)],
            256,
        ),
        ("ulaw", [(0, 0), (1, 2), (31, 33), (35, 37), (95, 99), (4063, 4191), (8158, 8031)], 255),
    ],
)
def test_g711_has_the_recommendation_s_values(law, values, n_values):
    bits = 13 if law == "alaw" else 14
    shift = 16 - bits
    table = g711_table(law)
    for decision, output in values:
        assert table[decision << shift] == output << shift, (decision, output)
    assert len(set(decoded(law).tolist())) == n_values


@pytest.mark.parametrize(("law", "step"), [("alaw", 16), ("ulaw", 8)])
def test_g711_errs_by_half_a_step_at_most(law, step):
    """Steps grow with the level: 1/16 of a segment, whose ends are a factor of two apart."""
    error = np.abs(decoded(law) - EVERY.astype(int))
    bound = np.maximum(step / 2, (np.abs(EVERY.astype(int)) + 132) / 32) + 4
    inside = np.abs(EVERY.astype(int)) <= 32_124  # beyond it mu-law is at its end
    assert np.all(error[inside] <= bound[inside])


@pytest.mark.parametrize("law", ["alaw", "ulaw"])
def test_the_telephone_passes_its_band_and_no_more(law):
    t = np.arange(32_000) / SAMPLE_RATE
    for hz, gain_db in [(500, 0), (1000, 0), (3000, 0), (300, -6), (3400, -6)]:
        tone = (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)
        heard = telephone(tone, law)[4000:-4000]
        # What is left of the tone, in place: the projection onto itself.
        gain = np.dot(heard, tone[4000:-4000]) / np.dot(tone[4000:-4000], tone[4000:-4000])
        assert 20 * np.log10(gain) == pytest.approx(gain_db, abs=0.3), hz
    for hz in (50, 100, 4500, 7000):
        tone = (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)
        heard = telephone(tone, law)[4000:-4000]
        assert np.sqrt(np.mean(heard**2)) < 2e-3, hz


def test_g711_noise_lies_at_its_known_level():
    """About 38 dB below a loud tone, in A-law as in mu-law (G.711's design figure)."""
    t = np.arange(32_000) / SAMPLE_RATE
    tone = (0.5 * np.sin(2 * np.pi * 1013 * t)).astype(np.float32)
    for law in ("alaw", "ulaw"):
        heard = telephone(tone, law)[4000:-4000].astype(float)
        gain = np.dot(heard, tone[4000:-4000]) / np.sum(tone[4000:-4000].astype(float) ** 2)
        error = heard - gain * tone[4000:-4000]
        snr_db = 10 * np.log10(np.mean(heard**2) / np.mean(error**2))
        assert 36 < snr_db < 42


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("n_samples", [1, 999, 32_240])
def test_length_silence_and_type(name, n_samples, rng):
    waveform = (0.1 * rng.standard_normal(n_samples)).astype(np.float32)
    heard = apply_codec(waveform, name, 12_000)
    assert heard.shape == waveform.shape and heard.dtype == np.float32
    assert np.isfinite(heard).all()
    quiet = apply_codec(np.zeros(n_samples, dtype=np.float32), name, 12_000)
    assert np.abs(quiet).max() < 1e-3


@pytest.mark.parametrize("name", CODECS)
def test_nothing_moves(name, rng):
    n_fft = 1 << 16
    hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    shape = ((hz > 500) & (hz < 3000)).astype(float)
    noise = np.fft.irfft(shape * np.fft.rfft(rng.standard_normal(n_fft)))[:30_000]
    waveform = (0.1 * noise / noise.std()).astype(np.float32)
    heard = apply_codec(waveform, name, 24_000)
    spectra = np.fft.rfft(waveform, n_fft).conj() * np.fft.rfft(heard, n_fft)
    lag = int(np.argmax(np.fft.irfft(spectra)))
    assert min(lag, n_fft - lag) <= (1 if name == "opus" else 0)

"""Parts of a recording, speed, and Opus in memory: what groove.audio offers to training."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from groove.audio import SAMPLE_RATE, change_speed, open_audio, read_audio, read_span, through_opus
from groove.errors import EmptyAudio, InvalidSamples, SettingsError, UnreadableAudio

SPANS = [(0, 1), (0, 16_000), (15_999, 2), (40_000, 32_000), (47_000, 32_000), (111_999, 1)]


def speech_like(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    return (0.1 * np.cumsum(rng.standard_normal(n_samples)) / 50).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "AIFF"])
@pytest.mark.parametrize(("start", "n_samples"), SPANS)
def test_a_span_is_the_slice_of_the_whole(format, start, n_samples, tmp_path, rng):
    path = tmp_path / "a"
    soundfile.write(path, speech_like(112_000, rng), SAMPLE_RATE, format=format)
    whole = read_audio(path)
    span = read_span(path, start, n_samples)
    np.testing.assert_array_equal(span, whole[start : start + n_samples])


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_a_lossy_span_is_the_slice_too(format, subtype, tmp_path, rng):
    path = tmp_path / "a"
    soundfile.write(path, speech_like(96_000, rng), SAMPLE_RATE, format=format, subtype=subtype)
    np.testing.assert_array_equal(read_span(path, 50_000, 9_000), read_audio(path)[50_000:59_000])


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_span_at_another_rate_agrees_within_rounding(rate, tmp_path, rng):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(6 * rate, rng), rate, subtype="FLOAT")
    whole = read_audio(path)
    for start, n_samples in [(0, 16_000), (70_001, 20_000), (95_990, 100)]:
        span = read_span(path, start, n_samples)
        wanted = whole[start : start + n_samples]
        assert len(span) == len(wanted)
        np.testing.assert_allclose(span, wanted, atol=2e-6)


def test_two_channels_and_arrays(tmp_path, rng):
    stereo = np.stack([speech_like(40_000, rng), speech_like(40_000, rng)], axis=1)
    path = tmp_path / "a.flac"
    soundfile.write(path, stereo, SAMPLE_RATE, subtype="PCM_24")
    np.testing.assert_array_equal(
        read_span(path, 30_000, 500, channel=2), read_audio(path, channel=2)[30_000:30_500]
    )
    np.testing.assert_array_equal(
        read_span((stereo, SAMPLE_RATE), 30_000, 500),
        read_audio((stereo, SAMPLE_RATE))[30_000:30_500],
    )


def test_beyond_the_end_is_empty_and_at_the_end_short(tmp_path, rng):
    for suffix in (".wav", ".flac", ".ogg"):
        path = tmp_path / f"a{suffix}"
        soundfile.write(path, speech_like(20_000, rng), SAMPLE_RATE)
        n_samples = len(read_audio(path))
        assert len(read_span(path, n_samples - 100, 500)) == 100
        assert len(read_span(path, 5 * n_samples, 500)) == 0


def test_a_span_needs_no_more_than_its_part_of_the_file(tmp_path, rng):
    path = tmp_path / "long.flac"
    soundfile.write(path, 0.1 * rng.standard_normal(60 * SAMPLE_RATE), SAMPLE_RATE)

    class Counting(io.BytesIO):
        n_read = 0

        def read(self, size=-1):
            data = super().read(size)
            Counting.n_read += len(data)
            return data

    file = Counting(path.read_bytes())
    read_span(file, 30 * SAMPLE_RATE, 2 * SAMPLE_RATE)
    assert Counting.n_read < path.stat().st_size / 6


def test_damage_within_the_span_is_refused(tmp_path, rng):
    path = tmp_path / "a.flac"
    soundfile.write(path, speech_like(160_000, rng), SAMPLE_RATE)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    assert len(read_span(path, 0, 16_000)) == 16_000
    with pytest.raises(UnreadableAudio, match="a.flac: damaged"):
        read_span(path, 120_000, 16_000)


def test_bad_spans_are_refused(rng):
    source = (speech_like(1000, rng), SAMPLE_RATE)
    with pytest.raises(SettingsError, match="0 samples from 5"):
        read_span(source, 5, 0)
    with pytest.raises(SettingsError, match="3 samples from -1"):
        read_span(source, -1, 3)
    with pytest.raises(EmptyAudio):
        read_span((np.zeros(0), SAMPLE_RATE), 0, 5)
    with pytest.raises(InvalidSamples):
        read_span((np.full(100, np.nan), SAMPLE_RATE), 0, 5)


def test_the_stated_length_is_the_header_s(tmp_path, rng):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(24_000, rng), 8_000)
    with open_audio(path) as audio:
        assert audio.stated_seconds == 3.0
    with open_audio((np.ones(100), SAMPLE_RATE)) as audio:
        assert audio.stated_seconds == 0.0


@pytest.mark.parametrize("speed", [0.9, 1.1, 0.95, 1.5])
def test_speed_moves_a_tone_by_its_factor(speed):
    tone = np.sin(2 * np.pi * 1000 * np.arange(32_000) / SAMPLE_RATE).astype(np.float32)
    faster = change_speed(tone, speed)
    assert faster.dtype == np.float32
    assert len(faster) == round(32_000 / speed)
    wanted = np.sin(2 * np.pi * 1000 * speed * np.arange(len(faster)) / SAMPLE_RATE)
    np.testing.assert_allclose(faster[800:-800], wanted[800:-800], atol=1e-4)


def test_speed_one_changes_nothing_and_the_impossible_is_refused(rng):
    waveform = speech_like(1000, rng)
    assert change_speed(waveform, 1.0) is waveform
    for speed in (0.0, -1.0, 3.0, float("nan")):
        with pytest.raises(SettingsError, match="wanted 0.5 to 2"):
            change_speed(waveform, speed)


def test_opus_keeps_length_and_place_and_spends_the_bits_it_is_given(examples_voice):
    for rate, least in ((12_000, 4.0), (32_000, 10.0)):
        decoded = through_opus(examples_voice, SAMPLE_RATE, rate)
        assert decoded.shape == examples_voice.shape
        n_fft = 1 << 17
        spectra = np.fft.rfft(examples_voice, n_fft).conj() * np.fft.rfft(decoded, n_fft)
        lag = int(np.argmax(np.fft.irfft(spectra)))
        assert min(lag, n_fft - lag) <= 1
        error = decoded - examples_voice
        snr_db = 10 * np.log10(np.sum(examples_voice**2) / np.sum(error**2))
        assert least < snr_db < 40, f"{rate} bits per second: {snr_db:.1f} dB"


@pytest.fixture
def examples_voice() -> np.ndarray:
    return read_audio(Path(__file__).parent.parent / "examples" / "voice_a_1.wav")[:32_000]


def test_opus_refuses_impossible_rates(rng):
    for rate in (5_999, 256_001):
        with pytest.raises(SettingsError, match="6000 to 256000"):
            through_opus(speech_like(1000, rng), SAMPLE_RATE, rate)

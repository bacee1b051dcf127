"""Kaldi's own values (kaldi-native-fbank) and a float64 computation are the independent checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.errors import CardError, EmptyAudio
from groove.fbank import FbankConfig, fold_matrices, log_mel, reflect_edges

CONFIGS = {
    "default": FbankConfig(),
    "3d-speaker": FbankConfig(sample_scale=1.0),
    "wespeaker": FbankConfig(window="hamming"),
    "mirrored edges": FbankConfig(snip_edges=False),
    "narrow": FbankConfig(low_freq_hz=60.0, high_freq_hz=-400.0, n_mels=40),
    "plain": FbankConfig(remove_dc=False, preemphasis=0.0, window="hann"),
    "8 kHz": FbankConfig(sample_rate=8000, n_mels=23),
}


def voice_like(rng: np.random.Generator, n_samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Harmonics that glide, with noise and pauses: not speech, but as uneven in level."""
    t = np.arange(n_samples) / sample_rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2 * t)) / sample_rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 25))
    envelope = np.clip(np.sin(2 * np.pi * 1.5 * t), 0, None)
    mixed = 0.1 * tone * envelope + 0.001 * rng.standard_normal(n_samples)
    return mixed.astype(np.float32)


def float64_log_mel(waveform: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float64]:
    """The definition, frame by frame and bin by bin, in float64; shares no code with groove."""
    length = config.sample_rate * config.frame_length_ms / 1000
    shift = config.sample_rate * config.frame_shift_ms / 1000
    n, hop, n_fft = int(length), int(shift), 1
    while n_fft < n:
        n_fft *= 2
    k = np.arange(n)
    window = {
        "povey": (0.5 - 0.5 * np.cos(2 * np.pi * k / (n - 1))) ** 0.85,
        "hamming": 0.54 - 0.46 * np.cos(2 * np.pi * k / (n - 1)),
        "hann": 0.5 - 0.5 * np.cos(2 * np.pi * k / (n - 1)),
    }[config.window]
    high = config.high_freq_hz if config.high_freq_hz > 0 else config.sample_rate / 2
    high += min(config.high_freq_hz, 0.0)

    def mel(hz: float) -> float:
        return float(1127 * np.log(1 + hz / 700))

    edges = np.linspace(mel(config.low_freq_hz), mel(high), config.n_mels + 2)
    rows = []
    for start in range(0, len(waveform) - n + 1, hop):
        frame = waveform[start : start + n].astype(np.float64) * config.sample_scale
        if config.remove_dc:
            frame = frame - frame.mean()
        before = np.concatenate([frame[:1], frame[:-1]])
        spectrum = np.fft.rfft((frame - config.preemphasis * before) * window, n_fft)
        power = np.abs(spectrum) ** 2
        row = []
        for m in range(config.n_mels):
            left, centre, right = edges[m : m + 3]
            total = 0.0
            for i in range(n_fft // 2):
                x = mel(i * config.sample_rate / n_fft)
                if left < x < right:
                    slope = (
                        (x - left) / (centre - left)
                        if x <= centre
                        else (right - x) / (right - centre)
                    )
                    total += power[i] * slope
            row.append(np.log(max(total, config.log_floor)))
        rows.append(row)
    result = np.array(rows)
    return result - result.mean(axis=0) if config.subtract_mean else result


@pytest.mark.parametrize("name", [name for name in CONFIGS if CONFIGS[name].snip_edges])
def test_log_mel_is_the_definition_in_float64(name: str, rng: np.random.Generator) -> None:
    config = CONFIGS[name]
    waveform = voice_like(rng, config.sample_rate // 2, config.sample_rate)
    wanted = float64_log_mel(waveform, config)
    found = log_mel(waveform, config)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 2e-5
    assert np.abs(found - wanted).max() < 5e-3


@pytest.mark.parametrize("name", list(CONFIGS))
def test_log_mel_is_kaldis(name: str, rng: np.random.Generator) -> None:
    pytest.importorskip("kaldi_native_fbank")
    config = replace(CONFIGS[name], subtract_mean=False)
    waveform = voice_like(rng, 3 * config.sample_rate + 77, config.sample_rate)
    wanted, found = kaldi_fbank(waveform, config), log_mel(waveform, config)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 2e-5
    assert np.abs(found - wanted).max() < 1e-2


@pytest.mark.speech
def test_log_mel_is_kaldis_on_real_speech(eval_rows: list[dict[str, str]]) -> None:
    pytest.importorskip("kaldi_native_fbank")
    soundfile = pytest.importorskip("soundfile")
    config = FbankConfig(subtract_mean=False)
    rows = eval_rows[::40]
    assert len(rows) > 5
    for row in rows:
        waveform, _ = soundfile.read(Path(row["path"]), dtype="float32")
        difference = np.abs(kaldi_fbank(waveform, config) - log_mel(waveform, config))
        assert difference.mean() < 2e-5
        assert np.quantile(difference, 0.9999) < 2e-2  # the worst bins are near silence


def kaldi_fbank(waveform: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.energy_floor = 0.0
    frame, mel = options.frame_opts, options.mel_opts
    frame.dither, frame.samp_freq = 0.0, config.sample_rate
    frame.frame_length_ms, frame.frame_shift_ms = config.frame_length_ms, config.frame_shift_ms
    frame.window_type = {"hann": "hanning"}.get(config.window, config.window)
    frame.preemph_coeff, frame.remove_dc_offset = config.preemphasis, config.remove_dc
    frame.snip_edges = config.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = (
        config.n_mels,
        config.low_freq_hz,
        config.high_freq_hz,
    )
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(config.sample_rate, (waveform * config.sample_scale).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_folded_matrices_give_the_same_frames(name: str, rng: np.random.Generator) -> None:
    config = CONFIGS[name]
    waveform = voice_like(rng, 2 * config.sample_rate + 31, config.sample_rate)
    folded = fold_matrices(config)
    framed = np.lib.stride_tricks.sliding_window_view(
        reflect_edges(waveform, config), config.frame_length
    )[:: config.frame_shift]
    parts = framed @ folded.kernel.T
    half = parts.shape[1] // 2
    power = parts[:, :half] ** 2 + parts[:, half:] ** 2
    frames = np.log(np.maximum(power @ folded.mel, config.log_floor))
    if config.subtract_mean:
        frames -= frames.mean(axis=0)
    assert frames.shape == log_mel(waveform, config).shape
    assert np.abs(frames - log_mel(waveform, config)).mean() < 1e-4
    assert np.abs(frames - log_mel(waveform, config)).max() < 2e-2


def test_a_quiet_waveform_gives_the_frames_of_a_louder_one(rng: np.random.Generator) -> None:
    raising = FbankConfig(sample_scale=1.0, min_rms=0.04)
    waveform = voice_like(rng, 32_000, 16_000)
    rms = float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2)))
    at_limit = waveform * np.float32(0.04 / rms)
    wanted = log_mel(at_limit, replace(raising, min_rms=0.0))
    for factor in (0.5, 1e-2, 1e-3):
        quiet = (at_limit * np.float32(factor)).astype(np.float32)
        assert np.abs(log_mel(quiet, raising) - wanted).max() < 1e-3
        assert np.abs(log_mel(quiet, replace(raising, min_rms=0.0)) - wanted).max() > 0.1
    loud = at_limit * np.float32(5)
    assert np.array_equal(log_mel(loud, raising), log_mel(loud, replace(raising, min_rms=0.0)))
    assert np.isfinite(log_mel(np.zeros(16_000, np.float32), raising)).all()


@pytest.mark.parametrize("snip_edges", [True, False])
def test_n_frames_is_what_log_mel_gives(snip_edges: bool) -> None:
    config = FbankConfig(snip_edges=snip_edges)
    for n_samples in (400, 401, 559, 560, 561, 1000, 16_000):
        assert len(log_mel(np.ones(n_samples, np.float32), config)) == config.n_frames(n_samples)
    assert config.n_frames(config.min_samples) == 1
    assert config.n_frames(config.min_samples - 1) == 0


def test_a_waveform_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(EmptyAudio, match="399 samples are less than one frame of 25 ms"):
        log_mel(np.zeros(399, np.float32), FbankConfig())


def test_silence_is_finite_and_the_mean_is_subtracted(rng: np.random.Generator) -> None:
    assert np.array_equal(log_mel(np.zeros(16_000, np.float32), FbankConfig()), np.zeros((98, 80)))
    frames = log_mel(voice_like(rng, 16_000, 16_000), FbankConfig())
    assert np.abs(frames.mean(axis=0)).max() < 1e-5


def test_chunking_does_not_change_a_bit(rng: np.random.Generator) -> None:
    config = FbankConfig(subtract_mean=False)
    waveform = voice_like(rng, 16_000 * 8, 16_000)
    whole = log_mel(waveform, config)
    later = log_mel(waveform[160 * 256 :], config)
    assert np.array_equal(whole[256:], later)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": "hammming"}, "window 'hammming'; wanted one of"),
        ({"high_freq_hz": 9000.0}, "mel range"),
        ({"low_freq_hz": -1.0}, "mel range"),
        ({"frame_shift_ms": 10.03}, "whole number"),
        ({"sample_scale": 0.0}, "must be positive"),
    ],
)
def test_settings_without_meaning_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CardError, match=message):
        FbankConfig(**changes)  # type: ignore[arg-type]


def test_a_config_survives_its_dict_and_refuses_others() -> None:
    config = FbankConfig(window="hamming", sample_scale=1.0)
    assert FbankConfig.from_dict(config.to_dict()) == config
    with pytest.raises(CardError, match=r"unknown settings \['dither'\]"):
        FbankConfig.from_dict(config.to_dict() | {"dither": 0.0})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("n_mels", "80", "a whole number"),
        ("n_mels", 80.7, "a whole number"),
        ("n_mels", True, "a whole number"),
        ("preemphasis", "0.97", "a finite number"),
        ("preemphasis", float("nan"), "a finite number"),
        ("sample_scale", True, "a finite number"),
        ("snip_edges", "false", "true or false"),
        ("snip_edges", 1, "true or false"),
        ("window", None, "text"),
    ],
)
def test_no_setting_is_bent_into_its_kind(name: str, value: object, wanted: str) -> None:
    with pytest.raises(CardError, match=f"front end: {name} is .*; wanted {wanted}"):
        FbankConfig.from_dict(FbankConfig().to_dict() | {name: value})


def test_a_whole_number_stands_for_the_same_float() -> None:
    config = FbankConfig.from_dict(FbankConfig().to_dict() | {"frame_shift_ms": 10})
    assert config.hash == FbankConfig().hash

"""groove.audio: every format and rate, exact resampling, blocks = whole, and every refusal."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, open_audio, read_audio
from groove.errors import AudioError, EmptyAudio, InvalidSamples, SettingsError, UnreadableAudio

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)


def tone(seconds: float = 1.0, rate: int = SAMPLE_RATE, hz: float = 1000.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def encoded(samples: NDArray, rate: int, format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def snr_db(got: NDArray, wanted: NDArray, skip_s: float = 0.1) -> float:
    """Signal to error in dB, without the edges."""
    edge = round(skip_s * SAMPLE_RATE)
    n = min(len(got), len(wanted))
    error = got[edge : n - edge] - wanted[edge : n - edge]
    return 10 * np.log10(np.mean(wanted[edge : n - edge] ** 2) / np.mean(error**2))


# ---- formats and depths -------------------------------------------------------------------------

LOSSLESS = [  # format, subtype, SNR in dB that its bits allow at half of full scale
    *product(["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"], ["PCM_16"], [85]),
    *product(["WAV", "AIFF", "CAF"], ["PCM_24", "PCM_32", "FLOAT", "DOUBLE"], [120]),
    ("WAV", "PCM_U8", 35), ("AIFF", "PCM_S8", 35), ("FLAC", "PCM_S8", 35),
    ("FLAC", "PCM_16", 85), ("FLAC", "PCM_24", 120), ("CAF", "ALAC_16", 85),
    ("CAF", "ALAC_24", 120), ("WAV", "ALAW", 30), ("WAV", "ULAW", 30), ("AU", "ULAW", 30),
    ("NIST", "PCM_16", 85), ("VOC", "PCM_16", 85), ("IRCAM", "PCM_16", 85), ("AVR", "PCM_16", 85),
    ("SVX", "PCM_16", 85), ("PAF", "PCM_16", 85), ("PVF", "PCM_16", 85),
]  # fmt: skip


@pytest.mark.parametrize(("format", "subtype", "least_db"), LOSSLESS)
def test_lossless_formats_give_the_samples_back(format: str, subtype: str, least_db: int) -> None:
    with open_audio(encoded(tone(), SAMPLE_RATE, format, subtype)) as audio:
        got = np.concatenate(list(audio))
    assert got.dtype == np.float32 and got.shape == (SAMPLE_RATE,)
    assert snr_db(got, tone()) > least_db
    assert audio.format.endswith("/" + subtype.lower())
    assert (audio.sample_rate, audio.n_channels, audio.seconds) == (SAMPLE_RATE, 1, 1.0)


@pytest.mark.parametrize("order", ["little", "big"])
def test_rifx_and_little_endian_au(order: str) -> None:
    for format in ("WAV", "AU"):
        file = io.BytesIO()
        endian = {"little": "LITTLE", "big": "BIG"}[order]
        soundfile.write(file, tone(), SAMPLE_RATE, "PCM_16", endian, format)
        assert snr_db(read_audio(file.getvalue()), tone()) > 85


@pytest.mark.parametrize(
    ("format", "subtype", "least_db"),
    [("OGG", "VORBIS", 20), ("OGG", "OPUS", 15), ("MP3", "MPEG_LAYER_III", 20),
     ("WAV", "IMA_ADPCM", 20), ("WAV", "MS_ADPCM", 20)],
)  # fmt: skip
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_lossy_formats_come_close(format: str, subtype: str, least_db: int, rate: int) -> None:
    got = read_audio(encoded(tone(2.0, rate), rate, format, subtype))
    assert abs(len(got) - 2 * SAMPLE_RATE) < 1500  # coders round up to their frames
    assert snr_db(got, tone(2.0), 0.2) > least_db


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [100.0, 1000.0, 3000.0])
def test_resampling_gives_the_tone_computed_at_16_khz(rate: int, hz: float) -> None:
    got = read_audio((tone(1.0, rate, hz), rate))
    assert len(got) == SAMPLE_RATE
    assert snr_db(got, tone(1.0, SAMPLE_RATE, hz)) > 110


@pytest.mark.parametrize("rate", [44_100, 48_000, 192_000])
def test_what_lies_above_8_khz_does_not_alias(rate: int) -> None:
    got = read_audio((tone(1.0, rate, 10_000.0), rate))
    assert np.abs(got[1600:-1600]).max() < 1e-5


# ---- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 44_100, 8_000, 44_101])
@pytest.mark.parametrize("block_s", [0.01, 0.37, 10.0])
def test_blocks_are_the_whole_bit_for_bit(
    rate: int, block_s: float, rng: np.random.Generator
) -> None:
    samples = rng.uniform(-0.5, 0.5, (round(2.3 * rate), 2))
    for source in (encoded(samples, rate, "WAV", "PCM_16"), (samples, rate)):
        with open_audio(source, block_s=block_s) as audio:
            blocks = list(audio)
        assert all(len(block) for block in blocks)
        assert np.array_equal(np.concatenate(blocks), read_audio(source))


def test_every_way_in_gives_the_same_samples(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = rng.integers(-9000, 9000, 5000).astype(np.int16)
    data = encoded(samples, 44_100, "FLAC")
    path = tmp_path / "no-suffix"
    path.write_bytes(data)
    wanted = read_audio((samples, 44_100))
    for source in (path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data)):
        for _ in range(2):
            assert np.array_equal(read_audio(source), wanted)


def test_a_file_object_is_read_from_where_it_stands_and_left_there(tmp_path: Path) -> None:
    path = tmp_path / "behind.bin"
    for format, subtype in [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]:
        data = encoded(tone(), SAMPLE_RATE, format, subtype)
        path.write_bytes(b"seven b" + data)
        with path.open("rb") as file:
            file.seek(7)
            first, second = read_audio(file), read_audio(file)
            assert file.tell() == 7 and not file.closed
        assert np.array_equal(first, second)
        assert np.array_equal(first, read_audio(data))


def test_leaving_early_puts_the_file_object_back() -> None:
    file = io.BytesIO(encoded(tone(3.0), SAMPLE_RATE, "WAV"))
    with open_audio(file, block_s=0.5) as audio:
        next(audio)
        assert audio.seconds == 0.5
    assert file.tell() == 0
    assert list(audio) == []


def test_the_array_that_was_given_is_never_touched() -> None:
    samples = tone().astype(np.float32)
    before = samples.copy()
    with open_audio((samples, SAMPLE_RATE)) as audio:
        for block in audio:
            block[:] = 9.0
    assert np.array_equal(samples, before)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Half an hour at 48 kHz in stereo is 660 MB of float32; it must pass through 60 MB."""
    path = tmp_path / "long.flac"
    second = np.stack([tone(10.0, 48_000, hz) for hz in (300, 500)], axis=1).astype(np.float32)
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(180):
            file.write(second)
    code = (
        "import resource, sys, groove.audio\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "with groove.audio.open_audio(sys.argv[1]) as audio:\n"
        "    n = sum(map(len, audio))\n"
        "print(n, (peak() - before) // 1024)\n"
    )
    if sys.platform != "linux":
        pytest.skip("ru_maxrss is in kilobytes on Linux only")
    out = subprocess.check_output([sys.executable, "-c", code, str(path)], text=True)
    n_samples, grown_mb = map(int, out.split())
    assert n_samples == 1800 * SAMPLE_RATE
    assert grown_mb < 60


# ---- channels and arrays ------------------------------------------------------------------------


def test_channels_are_mixed_by_mean_or_picked_from_1() -> None:
    left, right = tone(hz=300), tone(hz=500)
    both = np.stack([left, right], axis=1)
    data = encoded(both, SAMPLE_RATE, "WAV", "FLOAT")
    for source in (data, (both, SAMPLE_RATE)):
        assert np.allclose(read_audio(source), (left + right) / 2, atol=1e-7)
        assert np.allclose(read_audio(source, channel=1), left, atol=1e-7)
        assert np.allclose(read_audio(source, channel=2), right, atol=1e-7)


@pytest.mark.parametrize("channel", [0, 3, -1])
def test_a_channel_that_is_not_there(channel: int) -> None:
    source = (np.zeros((800, 2), np.float32), SAMPLE_RATE)
    with pytest.raises(InvalidSamples, match=f"no channel {channel}: it has 2 channels, counted"):
        read_audio(source, channel=channel)


def test_a_channel_that_is_no_number() -> None:
    with pytest.raises(InvalidSamples, match="channel 'left'"):
        read_audio((np.zeros(800), SAMPLE_RATE), channel="left")  # type: ignore[arg-type]


def test_many_channels() -> None:
    data = encoded(np.tile(tone(0.2)[:, None], (1, 64)), SAMPLE_RATE, "WAV", "FLOAT")
    assert np.allclose(read_audio(data), tone(0.2), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_integer_arrays_are_scaled_by_their_range(dtype: type) -> None:
    info = np.iinfo(dtype)
    middle = 0 if info.min < 0 else info.max // 2 + 1
    samples = np.array([info.min, middle, info.max], dtype)
    assert np.allclose(read_audio((samples, SAMPLE_RATE)), [-1, 0, 1], atol=1 / 120)
    assert read_audio((samples, SAMPLE_RATE))[1] == 0.0


def test_an_int16_array_equals_its_wav() -> None:
    samples = (tone() * 32767).astype(np.int16)
    data = encoded(samples, SAMPLE_RATE, "WAV")
    assert np.array_equal(read_audio((samples, SAMPLE_RATE)), read_audio(data))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ((np.zeros((2, 16_000)), 16_000), InvalidSamples, r"pass array\.T"),
        ((np.zeros((1, 16_000)), 16_000), InvalidSamples, r"\(1, 16000\).*pass array\.T"),
        ((np.zeros((2, 2, 2)), 16_000), InvalidSamples, r"wanted \[S\] or \[S, channels\]"),
        ((np.float32(1), 16_000), InvalidSamples, r"shape \(\)"),
        ((16_000, np.zeros(16_000)), InvalidSamples, r"wanted \(array, sample_rate\)"),
        ((np.zeros(0), 16_000), EmptyAudio, "no samples"),
        ((np.zeros((0, 2)), 16_000), EmptyAudio, "no samples"),
        ((np.zeros(99, np.int64), 16_000), InvalidSamples, "int64, whose scale is not known"),
        ((np.zeros(99, bool), 16_000), InvalidSamples, "type bool"),
        ((np.zeros(99, complex), 16_000), InvalidSamples, "type complex128"),
        ((np.array(["a"]), 16_000), InvalidSamples, "type <U1"),
        ((np.full(99, 9000.0), 16_000), InvalidSamples, "9000 times full scale.*32768"),
        ((np.full(99, 1e300), 16_000), InvalidSamples, "infinite sample at 0.000 s"),
        ((np.zeros(99), 0), InvalidSamples, "sample rate 0 Hz; wanted 4000 to 768000 Hz"),
        ((np.zeros(99), 10), InvalidSamples, "sample rate 10 Hz"),
        ((np.zeros(99), -16_000), InvalidSamples, "sample rate -16000 Hz"),
        ((np.zeros(99), 10**9), InvalidSamples, "sample rate 1000000000 Hz"),
        ((np.zeros(99), 16_000.5), InvalidSamples, "wanted a whole number of Hz"),
        ((np.zeros(99), float("nan")), InvalidSamples, "wanted a whole number of Hz"),
        ((np.zeros(99), None), InvalidSamples, "sample rate None"),
        ((np.zeros(99), "16000"), InvalidSamples, "sample rate '16000'"),
        ((np.zeros(1), 192_000), EmptyAudio, "no samples"),
    ],
)
def test_arrays_that_are_no_recording(source: tuple, error: type[AudioError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_audio(source)


@pytest.mark.parametrize("source", [None, 5, ["a.wav"], np.zeros(9), (np.zeros(9),)])
def test_other_types_are_a_mistake_of_the_caller(source: object) -> None:
    with pytest.raises(TypeError, match="wanted"):
        read_audio(source)  # type: ignore[arg-type]


def test_block_s_must_be_positive() -> None:
    for block_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="block_s"):
            open_audio((np.zeros(9), SAMPLE_RATE), block_s=block_s)


# ---- files that cannot be used ------------------------------------------------------------------


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match=r"gone\.wav: no such file"):
        read_audio(tmp_path / "gone.wav")
    with pytest.raises(UnreadableAudio, match="is a folder"):
        read_audio(tmp_path)
    with pytest.raises(UnreadableAudio, match="cannot be opened"):
        read_audio("null\0character.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(EmptyAudio, match=r"empty\.wav: the file is empty \(0 bytes\)"):
        read_audio(tmp_path / "empty.wav")
    with pytest.raises(EmptyAudio, match="<0 bytes>"):
        read_audio(b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableAudio, match="not a regular file"):
        read_audio(tmp_path / "pipe")


def test_file_objects_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match="text mode"):
        read_audio(io.StringIO("RIFF"))  # type: ignore[arg-type]
    reading, writing = os.pipe()
    os.close(writing)
    with (
        os.fdopen(reading, "rb") as stream,
        pytest.raises(UnreadableAudio, match="cannot rewind"),
    ):
        read_audio(stream)
    closed = io.BytesIO(b"RIFF")
    closed.close()
    with pytest.raises(UnreadableAudio, match="cannot be used"):
        read_audio(closed)


@pytest.mark.parametrize("name", ["speech.wav", "speech.mp3", "speech.vox", "speech.raw", "a.gsm"])
@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is no recording\n" * 50,
        b"<!DOCTYPE html><html><body>404</body></html>" * 20,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
        b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"PK\x03\x04" + bytes(500),
        bytes(4000),
        b"R",
        "文字".encode("utf-16") * 300,
        b"ID3\x04\x00\x00\x00\x00\x00\x00 and then only words" * 40,
    ],
)
def test_what_is_not_audio_is_refused_whatever_its_name(
    tmp_path: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UnreadableAudio, match=f"{name}: (not audio|damaged)"):
        read_audio(path)
    with pytest.raises(UnreadableAudio, match=f"<{len(data)} bytes>: (not audio|damaged)"):
        read_audio(data)


def test_a_name_cannot_forge_a_second_line(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio) as caught:
        read_audio(tmp_path / "a\nGroove: accepted\x1b[0m.wav")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_nan_and_infinity_are_refused_with_their_time() -> None:
    samples = np.zeros((3 * 8000, 2), np.float32)
    samples[12_000:, 1] = np.nan
    samples[16_000:, 0] = np.inf
    for source in ((samples, 8000), encoded(samples, 8000, "WAV", "FLOAT")):
        with pytest.raises(InvalidSamples, match=r"NaN at 1\.500 s; wanted finite"):
            read_audio(source)
        with pytest.raises(InvalidSamples, match=r"an infinite sample at 2\.000 s"):
            list(open_audio(source, channel=1, block_s=0.7))


def test_silence_dc_and_ten_milliseconds_are_readable() -> None:
    assert not read_audio(encoded(np.zeros(8000), 8000, "WAV")).any()
    dc = read_audio(encoded(np.full(16_000, 0.25), SAMPLE_RATE, "FLAC"))
    assert np.all(dc == 0.25)
    for rate in (8_000, 16_000, 44_100):
        assert len(read_audio(encoded(tone(0.01, rate), rate, "WAV"))) == 160


# ---- clipping -----------------------------------------------------------------------------------


def clipped_fraction(source: object) -> float:
    with open_audio(source, block_s=0.3) as audio:  # type: ignore[arg-type]
        for _ in audio:
            pass
    return audio.clipped_fraction


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW"]
)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_clipping_is_measured_on_the_original_samples(subtype: str, rate: int) -> None:
    loud = np.clip(tone(1.0, rate, 100.0) * 4, -1, 1)  # 2 / pi arccos(1 / 2) = 2 / 3 at the rail
    data = encoded(loud, rate, "WAV", subtype)
    assert clipped_fraction(data) == pytest.approx(2 / 3, abs=0.05)
    assert clipped_fraction(encoded(tone(1.0, rate), rate, "WAV", subtype)) == 0.0


@pytest.mark.parametrize("format", ["MP3", "OGG"])
def test_clipping_survives_lossy_coding(format: str) -> None:
    loud = np.clip(tone(2.0, hz=200.0) * 6, -1, 1)
    assert clipped_fraction(encoded(loud, SAMPLE_RATE, format)) > 0.2
    assert clipped_fraction(encoded(tone(2.0), SAMPLE_RATE, format)) == 0.0


def test_peaks_and_overshoot_are_not_clipping() -> None:
    assert clipped_fraction((tone(hz=1000.0) * 2, SAMPLE_RATE)) == 0.0  # touches 1.0 for a sample
    assert clipped_fraction((tone(hz=1000.0) * 3, SAMPLE_RATE)) == 0.0  # floats may go beyond
    two = np.array([0, 1, 1, 0, 1, 0, -1, -1], np.float32)
    assert clipped_fraction((two, SAMPLE_RATE)) == 0.0
    three = np.array([0, 1, 1, 1, 0, -1, -1, -1, -1, 0], np.float32)
    assert clipped_fraction((three, SAMPLE_RATE)) == pytest.approx(0.7)


def test_clipping_does_not_depend_on_blocks_and_follows_the_channel() -> None:
    samples = np.stack([np.clip(tone(hz=90.0) * 5, -1, 1), tone()], axis=1)
    one, both = [], []
    for block_s in (1 / SAMPLE_RATE, 3 / SAMPLE_RATE, 0.1, 5.0):
        for found, channel in ((one, 1), (both, None)):
            with open_audio((samples, SAMPLE_RATE), channel=channel, block_s=block_s) as audio:
                list(audio)
            found.append(audio.clipped_fraction)
    assert len(set(one)) == len(set(both)) == 1
    assert one[0] == pytest.approx(2 * both[0]) and one[0] > 0.5
    assert clipped_fraction((samples[:, 1], SAMPLE_RATE)) == 0.0


def test_an_impossible_header() -> None:
    data = bytearray(encoded(tone(), SAMPLE_RATE, "WAV"))
    for rate, message in [(0, "at 0 Hz"), (10, "sample rate 10 Hz"), (2**32 - 1, "sample rate")]:
        data[24:28] = struct.pack("<I", rate)
        with pytest.raises(InvalidSamples, match=message):
            read_audio(data)
    data[22:28] = struct.pack("<HI", 0, SAMPLE_RATE)
    with pytest.raises(InvalidSamples, match="0 channels"):
        read_audio(data)

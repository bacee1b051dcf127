"""Recordings that are cut, streamed or chained, and the formats beyond libsndfile."""

from __future__ import annotations

import importlib.util
import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from groove.audio import SAMPLE_RATE, decoders, open_audio, read_audio
from groove.audio.bytestream import Bytes
from groove.errors import (
    AudioError,
    EmptyAudio,
    InvalidSamples,
    UnreadableAudio,
    UnsupportedFormat,
)


def _ffmpeg() -> str | None:
    """The user's ffmpeg, or the one that the package imageio-ffmpeg carries (requirements/dev)."""
    if found := shutil.which("ffmpeg"):
        return found
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


FFMPEG = _ffmpeg()
CODER_FRAME = 1024
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg to make the files with")
SECONDS = 5.0


def speechlike(seconds: float = SECONDS) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return 0.3 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2


def encoded(format: str, subtype: str | None = None, seconds: float = SECONDS) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speechlike(seconds), SAMPLE_RATE, format=format, subtype=subtype)
    return file.getvalue()


# ---- cut short ----------------------------------------------------------------------------------

STATED = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"]


@pytest.mark.parametrize("format", STATED)
def test_a_cut_file_says_what_was_promised_and_what_is_there(format: str, tmp_path: Path) -> None:
    data = encoded(format, "PCM_16")
    n_lost = round(2.9 * SAMPLE_RATE) * 2
    cut = data[: first_sample(data) + 2 * round(2.1 * SAMPLE_RATE)]
    assert 0 <= len(data) - len(cut) - n_lost < 600  # chunks may follow the samples
    path = tmp_path / "cut"
    path.write_bytes(cut)
    for source in (path, cut):
        with pytest.raises(
            UnreadableAudio, match=r"cut short: the header promises 5\.00 s, the file holds 2\.10 s"
        ):
            open_audio(source)


def first_sample(data: bytes) -> int:
    """Where the samples of a 16-bit file begin."""
    samples, _ = soundfile.read(io.BytesIO(data), 300, dtype="int16")
    found = [data.find(samples.astype(order).tobytes()) for order in ("<i2", ">i2")]
    assert max(found) > 0
    return max(found)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_cut_flac_says_so_while_it_is_read(share: float) -> None:
    data = encoded("FLAC")
    with (
        open_audio(data[: int(share * len(data))]) as audio,
        pytest.raises(UnreadableAudio, match=r"the header promises 5\.00 s, the file holds \d"),
    ):
        list(audio)


def test_a_flac_cut_between_two_of_its_frames_says_so_too() -> None:
    """The decoder meets a proper end there and complains of nothing."""
    data = encoded("FLAC")
    cut = data[: data.index(b"\xff\xf8", len(data) // 2)]  # RFC 9639, 9.1: a frame's sync code
    with pytest.raises(UnreadableAudio, match=r"the header promises 5\.00 s, the file holds 2\.\d"):
        read_audio(cut)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x8000_0000, 0x7FFF_F024])
def test_a_wav_from_a_pipe_is_read_to_its_end(size: int, tmp_path: Path) -> None:
    data = encoded("WAV", "PCM_16")
    assert data[36:40] == b"data"
    piped = data[:4] + struct.pack("<I", size) + data[8:40] + struct.pack("<I", size) + data[44:]
    (tmp_path / "piped.wav").write_bytes(piped)
    for source in (piped, tmp_path / "piped.wav"):
        assert np.array_equal(read_audio(source), read_audio(data))


def test_an_au_from_a_pipe_is_read_to_its_end() -> None:
    data = encoded("AU", "PCM_16")
    piped = data[:8] + b"\xff\xff\xff\xff" + data[12:]
    assert np.array_equal(read_audio(piped), read_audio(data))


def test_a_flac_of_unstated_length_is_read_to_its_end() -> None:
    data = bytearray(encoded("FLAC"))
    data[21] &= 0xF0  # RFC 9639, 8.2: 36 bits of total samples, 0 for unknown
    data[22:26] = bytes(4)
    assert np.array_equal(read_audio(bytes(data)), read_audio(encoded("FLAC")))


@pytest.mark.parametrize(("format", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_formats_that_promise_nothing_read_as_the_shorter_recording(
    format: str, subtype: str | None
) -> None:
    data = encoded(format, subtype, 20.0)
    cut, whole = read_audio(data[: len(data) * 7 // 10]), read_audio(data)
    assert 5 * SAMPLE_RATE < len(cut) < 17 * SAMPLE_RATE
    middle = slice(SAMPLE_RATE, 4 * SAMPLE_RATE)
    assert np.allclose(cut[middle], whole[middle], atol=1e-4)


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU", "CAF"])
def test_a_header_without_samples(format: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(0), SAMPLE_RATE, "PCM_16", format=format)
    with pytest.raises(EmptyAudio, match="holds no samples"):
        read_audio(file.getvalue())


def test_a_wav_with_no_samples_but_notes_behind_them() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(0), SAMPLE_RATE, "PCM_16", format="WAV")
    with pytest.raises(EmptyAudio, match="holds no samples"):
        read_audio(file.getvalue() + b"LIST\x04\x00\x00\x00INFO")


# ---- hostile and damaged bytes ------------------------------------------------------------------

FUZZED = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None),
    ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("IRCAM", "PCM_16"), ("PAF", "PCM_16"),
]  # fmt: skip


def reads_or_refuses(data: bytes) -> None:
    """Samples or an AudioError; any other exception fails the test."""
    try:
        samples = read_audio(data)
    except AudioError as error:
        assert str(error).startswith(f"<{len(data)} bytes>: ") and "\n" not in str(error)
    else:
        assert samples.dtype == np.float32 and len(samples) and np.isfinite(samples).all()


@pytest.mark.parametrize(("format", "subtype"), FUZZED)
def test_every_truncation_reads_or_refuses(format: str, subtype: str | None) -> None:
    data = encoded(format, subtype, 1.0)
    lengths = {*range(1, 120, 7), *(len(data) * i // 12 for i in range(1, 12)), len(data) - 1}
    for length in sorted(lengths):
        reads_or_refuses(data[:length])


@pytest.mark.parametrize(("format", "subtype"), FUZZED)
def test_every_damage_reads_or_refuses(
    format: str, subtype: str | None, rng: np.random.Generator
) -> None:
    data = encoded(format, subtype, 0.5)
    for i in range(40):
        damaged = bytearray(data)
        reach = 100 if i % 2 else len(data)  # every other time the header
        for at in rng.integers(0, reach, 6):
            damaged[at] = rng.integers(0, 256)
        reads_or_refuses(bytes(damaged))


# ---- beyond libsndfile --------------------------------------------------------------------------

OTHERS = {  # suffix -> ffmpeg's arguments
    "m4a": ["-c:a", "aac"], "front.m4a": ["-c:a", "aac", "-movflags", "+faststart"],
    "aac": ["-c:a", "aac"], "wma": [], "webm": ["-c:a", "libopus"], "mkv": ["-c:a", "flac"],
    "mp4": ["-c:a", "aac"], "ts": ["-c:a", "mp2"], "flv": ["-c:a", "aac", "-ar", "44100"],
    "wv": [], "tta": [], "oga": ["-c:a", "flac"], "caf": ["-c:a", "libopus"],
    "avi": ["-c:a", "mp2"], "wav": ["-c:a", "g722"],
}  # fmt: skip


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One recording in each further container, without its suffix in the name."""
    if FFMPEG is None:
        pytest.skip("no ffmpeg to make the files with")
    folder = tmp_path_factory.mktemp("others")
    (folder / "original.wav").write_bytes(encoded("WAV"))
    paths = {}
    for suffix, arguments in OTHERS.items():
        source = ["-i", str(folder / "original.wav")]
        if suffix in ("mp4", "avi"):  # with pictures before the sound
            source = ["-f", "lavfi", "-i", "testsrc=d=5:s=64x64:r=5", *source, "-c:v", "mpeg4"]
        made = folder / f"made.{suffix}"
        command = [FFMPEG, "-v", "error", "-y", *source, *arguments, str(made)]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            paths[suffix] = made.rename(folder / suffix.replace(".", "-"))
    assert len(paths) > 8  # an ffmpeg with fewer coders than this tests nothing
    return paths


@pytest.fixture(params=["av", "ffmpeg"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either decoder alone."""
    if request.param == "av" and importlib.util.find_spec("av") is None:
        pytest.skip("needs the formats extra")
    if request.param == "ffmpeg" and FFMPEG is None:
        pytest.skip("no ffmpeg")
    allow(monkeypatch, {request.param})
    return str(request.param)


def allow(monkeypatch: pytest.MonkeyPatch, names: set[str]) -> None:
    monkeypatch.setattr(decoders, "has_av", lambda: "av" in names)
    monkeypatch.setattr(decoders, "find_ffmpeg", lambda: FFMPEG if "ffmpeg" in names else None)


@pytest.mark.parametrize("suffix", OTHERS)
def test_other_containers(suffix: str, others: dict[str, Path], decoder: str) -> None:
    if suffix not in others:
        pytest.skip(f"this ffmpeg cannot write {suffix}")
    path = others[suffix]
    got = read_audio(path)
    assert abs(len(got) - len(speechlike())) < 0.15 * SAMPLE_RATE  # priming and padding
    power = np.abs(np.fft.rfft(got[SAMPLE_RATE : 3 * SAMPLE_RATE])) ** 2  # bins of 0.5 Hz
    assert power[400:480].sum() > 0.95 * power[2:].sum()  # the tone: 200 to 240 Hz
    assert 0.1 < np.abs(got).max() < 0.5
    data = path.read_bytes()
    with path.open("rb") as file:
        for source in (data, file, path):
            for block_s in (0.1, 10.0):
                with open_audio(source, block_s=block_s) as audio:
                    assert np.array_equal(np.concatenate(list(audio)), got)
        assert file.tell() == 0
    assert audio.format.startswith(decoder if decoder == "ffmpeg" else "") or "/" in audio.format


def test_both_decoders_agree(others: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("av") is None:
        pytest.skip("needs the formats extra")
    for suffix in ("m4a", "wma", "mkv", "wv"):
        allow(monkeypatch, {"av"})
        by_av = read_audio(others[suffix])
        allow(monkeypatch, {"ffmpeg"})
        by_ffmpeg = read_audio(others[suffix])
        # Some pairs of versions keep the padding of the coder's last frame, others cut it off.
        n = min(len(by_av), len(by_ffmpeg))
        assert max(len(by_av), len(by_ffmpeg)) - n <= CODER_FRAME, suffix
        assert np.allclose(by_av[:n], by_ffmpeg[:n], atol=1e-4), suffix


def test_a_cut_mp4(others: dict[str, Path], decoder: str) -> None:
    data = others["front-m4a" if "front-m4a" in others else "front.m4a"].read_bytes()
    with pytest.raises(UnreadableAudio, match=r"cut short: the header promises 5\.0\d s, the file"):
        read_audio(data[: len(data) // 2])
    data = others["m4a"].read_bytes()  # its index lay at the end
    with pytest.raises(UnreadableAudio, match="damaged mp4 file"):
        read_audio(data[: len(data) // 2])


@pytest.mark.parametrize("suffix", OTHERS)
def test_other_containers_cut_anywhere(
    suffix: str, others: dict[str, Path], decoder: str, rng: np.random.Generator
) -> None:
    if suffix not in others:
        pytest.skip(f"this ffmpeg cannot write {suffix}")
    data = others[suffix].read_bytes()
    for length in [20, 200, *rng.integers(1, len(data), 3 if decoder == "ffmpeg" else 12)]:
        reads_or_refuses(data[:length])
    for _ in range(2 if decoder == "ffmpeg" else 12):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 10):
            damaged[at] = rng.integers(0, 256)
        reads_or_refuses(bytes(damaged))


@needs_ffmpeg
def test_a_video_without_sound(tmp_path: Path, decoder: str) -> None:
    path = tmp_path / "silent.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", "-c:v", "mpeg4"]
    subprocess.run([str(FFMPEG), "-v", "error", *picture, str(path)], check=True)
    with pytest.raises(UnreadableAudio, match="holds no audio stream"):
        read_audio(path)


def test_without_a_decoder_the_message_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, set())
    heads = {
        "mp4": b"\0\0\0\x20ftypM4A \0\0\0\0", "amr": b"#!AMR\n", "aac": b"\xff\xf1\x50\x80",
        "matroska": b"\x1a\x45\xdf\xa3", "ogg": b"OggS\0\2" + bytes(22) + b"Speex   ",
        "wma": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    }  # fmt: skip
    for name, head in heads.items():
        with pytest.raises(UnsupportedFormat, match=f"{name} needs another decoder") as caught:
            read_audio(head + bytes(200))
        assert "pip install 'groove-sv[formats]'" in str(caught.value)
        assert "install ffmpeg" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_not_audio_never_reaches_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr("groove.audio.stream.open_decoder", never)
    lists = [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1/a.ts\n",
        b"ffconcat version 1.0\nfile 'http://127.0.0.1/a.wav'\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\n",
        b"<?xml version='1.0'?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>",
    ]
    for data in lists:
        with pytest.raises(UnreadableAudio, match="not audio"):
            read_audio(data)


def test_a_playlist_that_claims_to_be_mp4_opens_nothing(tmp_path: Path, decoder: str) -> None:
    other = tmp_path / "secret.wav"
    other.write_bytes(encoded("WAV"))
    playlist = f"\0\0\0\x08ftyp\n#EXTM3U\n#EXTINF:5,\nfile://{other}\n".encode()
    with pytest.raises(UnreadableAudio, match="damaged mp4 file"):
        read_audio(playlist)


def test_a_decoder_reads_only_the_format_that_it_was_told(tmp_path: Path, decoder: str) -> None:
    with pytest.raises(UnreadableAudio, match="damaged mp4 file"):
        as_format(encoded("WAV"), "mov")


def test_a_decoder_opens_no_second_file(tmp_path: Path, decoder: str) -> None:
    """Even if a format that names other files were let through."""
    (tmp_path / "secret.wav").write_bytes(encoded("WAV"))
    playlist = f"ffconcat version 1.0\nfile 'file:{tmp_path}/secret.wav'\n"
    with pytest.raises(UnreadableAudio, match="damaged mp4 file"):
        as_format(playlist.encode(), "concat")


def as_format(data: bytes, ffmpeg_format: str) -> None:
    decoders.open_decoder(Bytes(io.BytesIO(data), len(data), None), "mp4", ffmpeg_format).close()


def test_a_path_that_looks_like_an_option_or_a_url(
    others: dict[str, Path], decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = read_audio(others["m4a"])
    for name in ("-i", "pipe:0", "a;b|c $(d).m4a", "百分%d.m4a"):
        shutil.copy(others["m4a"], tmp_path / name)
        assert np.array_equal(read_audio(name), wanted)


def test_leaving_early_ends_the_program(
    others: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, {"ffmpeg"})
    data = others["m4a"].read_bytes()
    with open_audio(data, block_s=0.1) as audio:
        next(audio)
        process = audio._reader._process  # type: ignore[attr-defined]
        assert Path(process.args[process.args.index("-i") + 1].removeprefix("file:")).exists()
    assert process.returncode is not None
    assert not Path(process.args[process.args.index("-i") + 1].removeprefix("file:")).exists()


@pytest.mark.parametrize("channel", [2])
def test_channels_beyond_libsndfile(others: dict[str, Path], decoder: str, channel: int) -> None:
    with pytest.raises(InvalidSamples, match="no channel 2: it has 1 channel, counted from 1"):
        read_audio(others["m4a"], channel=channel)


def test_a_chained_ogg_is_read_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    """libsndfile would silently give the first link only."""
    one = encoded("OGG", "VORBIS", 2.0)
    serial = encoded("OGG", "VORBIS", 2.0)
    assert one[14:18] != serial[14:18]  # libsndfile draws serial numbers
    got = read_audio(one + serial)
    assert abs(len(got) - 4 * SAMPLE_RATE) < 0.1 * SAMPLE_RATE
    allow(monkeypatch, set())
    with pytest.raises(UnsupportedFormat, match="ogg needs another decoder"):
        read_audio(one + serial)

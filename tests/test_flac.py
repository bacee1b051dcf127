"""The end of a flac file against libFLAC, which wrote it; lengths against what was written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from groove.audio import probe_audio
from groove.audio.flac import ends_whole
from groove.errors import AudioError, EmptyAudio, NoSpeech, UnreadableAudio
from tests.conftest import VOICE_A


def flac_of(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16") -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype=subtype)
    return buffer.getvalue()


def is_whole(data: bytes) -> bool:
    return ends_whole(io.BytesIO(data), len(data))


@pytest.mark.parametrize("n_samples", [1, 16, 100, 4095, 4096, 4097, 8192, 50_001, 700_000])
@pytest.mark.parametrize(
    ("rate", "n_channels", "subtype"),
    [(16_000, 1, "PCM_16"), (44_100, 2, "PCM_24"), (11_025, 1, "PCM_S8"), (12_345, 1, "PCM_16")],
)
def test_what_libflac_writes_is_whole_and_without_its_end_it_is_not(
    rng: np.random.Generator, n_samples: int, rate: int, n_channels: int, subtype: str
) -> None:
    samples = 0.2 * rng.standard_normal((n_samples, n_channels))
    data = flac_of(samples, rate, subtype)
    assert is_whole(data)
    assert not is_whole(data[:-2])
    assert not is_whole(data[:-1]) or data[-1] == 0  # the checksum's last byte, and nothing else


def test_a_cut_anywhere_and_a_changed_byte_in_the_last_frame_are_seen(
    rng: np.random.Generator,
) -> None:
    data = flac_of(0.2 * rng.standard_normal(20_000))
    cuts = rng.integers(0, len(data), size=300)
    assert not any(is_whole(data[:cut]) for cut in cuts)
    for at in rng.integers(len(data) - 1000, len(data), size=100):
        assert not is_whole(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :])
    assert not is_whole(data + b"TAG of an old player")


@pytest.mark.parametrize("verify", [True, False])
def test_the_length_is_what_was_written(
    tmp_path: Path, rng: np.random.Generator, verify: bool
) -> None:
    for name, rate in (("a.flac", 16_000), ("b.wav", 8_000), ("c.ogg", 44_100), ("d.mp3", 16_000)):
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(3 * rate), rate)
        slack = 0.15 if name == "d.mp3" else 0  # whole frames, padded
        assert probe_audio(tmp_path / name, verify=verify) == pytest.approx(3.0, abs=slack)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("cut.flac", lambda whole: whole[: len(whole) // 2], UnreadableAudio, "cut short"),
        ("cut2.flac", lambda whole: whole[:-3], UnreadableAudio, "cut short"),
        ("head.flac", lambda whole: whole[:30], UnreadableAudio, "damaged"),
        ("empty.flac", lambda whole: b"", EmptyAudio, "0 bytes"),
        ("text.flac", lambda whole: b"this is no audio at all", UnreadableAudio, "not audio"),
    ],
)
def test_what_cannot_be_used_is_refused_by_either_look(
    tmp_path: Path, verify: bool, name: str, content, kind: type[AudioError], message: str
) -> None:  # type: ignore[no-untyped-def]
    whole = flac_of(soundfile.read(VOICE_A)[0])
    (tmp_path / name).write_bytes(content(whole))
    with pytest.raises(kind, match=message):
        probe_audio(tmp_path / name, verify=verify)


def test_decoding_sees_damage_in_the_middle_and_silence(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    data = bytearray(flac_of(0.2 * rng.standard_normal(80_000)))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    (tmp_path / "hole.flac").write_bytes(data)
    with pytest.raises(UnreadableAudio, match="damaged"):
        probe_audio(tmp_path / "hole.flac")
    assert probe_audio(tmp_path / "hole.flac", verify=False) == 5.0  # the price of the short look
    (tmp_path / "silent.flac").write_bytes(flac_of(np.zeros(32_000)))
    with pytest.raises(NoSpeech, match=r"2\.00 s of digital silence"):
        probe_audio(tmp_path / "silent.flac")

"""The flow, with a fake encoder and real (synthetic) voices from examples/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.embedder import Embedder
from groove.errors import CardError, NoSpeech, SettingsError
from groove.fbank import FbankConfig
from tests.conftest import VOICE_A
from tests.fakes import FakeEncoder


@pytest.fixture(scope="module")
def voice() -> NDArray[np.float32]:
    return read_audio(VOICE_A)


def unit(embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = embedding.astype(np.float64)
    return wide / np.linalg.norm(wide)


def test_a_short_recording_is_one_pass_over_the_whole_utterance(voice: NDArray[np.float32]) -> None:
    encoder = FakeEncoder()
    embedding = Embedder(encoder).embed(VOICE_A)
    assert encoder.shapes == [(1, len(voice))]
    assert np.allclose(embedding, unit(FakeEncoder()(voice[None])[0]), atol=1e-7)
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-6)


def test_every_kind_of_source_gives_the_same_bits(voice: NDArray[np.float32]) -> None:
    embedder = Embedder(FakeEncoder())
    wanted = embedder.embed(VOICE_A)
    data = Path(VOICE_A).read_bytes()
    with open(VOICE_A, "rb") as file:
        from_file = embedder.embed(file)
    for found in (
        embedder.embed(str(VOICE_A)),
        embedder.embed(data),
        from_file,
        embedder.embed((voice, SAMPLE_RATE)),
        embedder.embed(VOICE_A),
    ):
        assert np.array_equal(found, wanted)


def test_a_long_recording_is_averaged_by_the_speech_in_its_windows(
    voice: NDArray[np.float32],
) -> None:
    silence = np.zeros(6 * SAMPLE_RATE, np.float32)
    long = np.concatenate([voice, silence, voice[: len(voice) // 2]])
    encoder = FakeEncoder(window_s=3.0)
    examined = Embedder(encoder).examine((long, SAMPLE_RATE))
    assert examined.embedding is not None
    n = 3 * SAMPLE_RATE
    pieces = [long[i : i + n] for i in range(0, len(long), n)]
    reports = Embedder(FakeEncoder())._detector.stream()
    weights = [reports.push(piece) for piece in pieces]
    assert min(weights) == 0.0  # a whole window of the silent stretch
    total = sum(
        w * unit(FakeEncoder()(piece[None])[0])
        for piece, w in zip(pieces, weights, strict=True)
        if w > 0
    )
    assert np.allclose(examined.embedding, unit(np.asarray(total)), atol=1e-6)
    assert examined.speech.seconds == pytest.approx(len(long) / SAMPLE_RATE)
    assert examined.speech.speech_s == pytest.approx(sum(weights))


@pytest.mark.parametrize("window_s", [60.0, 1.7])
def test_crops_are_equally_long_evenly_spaced_and_averaged(
    voice: NDArray[np.float32], window_s: float
) -> None:
    """With windows of 1.7 s the recording must be read a second time; nothing may change."""
    encoder = FakeEncoder(window_s=window_s)
    embedding = Embedder(encoder, num_crops=3, crop_sec=1.0).embed(VOICE_A)
    assert encoder.shapes == [(3, SAMPLE_RATE)]
    spare = len(voice) - SAMPLE_RATE
    crops = [voice[s : s + SAMPLE_RATE] for s in (0, round(spare / 2), spare)]
    wanted = unit(sum(unit(FakeEncoder()(c[None])[0]) for c in crops))  # type: ignore[arg-type]
    assert np.allclose(embedding, wanted, atol=1e-6)


def test_one_crop_setting_brings_the_seeds_other() -> None:
    assert Embedder(FakeEncoder(), num_crops=4).crop_s == 3.0
    assert Embedder(FakeEncoder(), crop_sec=2.0).num_crops == 6
    assert Embedder(FakeEncoder()).is_card_setting
    assert not Embedder(FakeEncoder(), crop_sec=2.0).is_card_setting
    card_crops = FakeEncoder(num_crops=6, crop_s=3.0)
    assert Embedder(card_crops, num_crops=6, crop_sec=3.0).is_card_setting


@pytest.mark.parametrize(
    "settings", [{"num_crops": 0}, {"num_crops": -1}, {"crop_sec": 0.0}, {"crop_sec": float("nan")}]
)
def test_impossible_crops_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="wanted"):
        Embedder(FakeEncoder(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 0.3, 5.0])
def test_silence_of_any_length_has_no_embedding(seconds: float) -> None:
    silence = np.zeros(max(1, round(seconds * SAMPLE_RATE)), np.float32)
    embedder = Embedder(FakeEncoder())
    assert embedder.examine((silence, SAMPLE_RATE)).embedding is None
    with pytest.raises(NoSpeech):
        embedder.embed((silence, SAMPLE_RATE))


def test_a_model_for_another_sample_rate_is_refused() -> None:
    with pytest.raises(CardError, match="8000 Hz"):
        Embedder(FakeEncoder(fbank=FbankConfig(sample_rate=8000)))


def test_progress_is_told_once_a_window(voice: NDArray[np.float32]) -> None:
    told: list[float] = []
    Embedder(FakeEncoder(window_s=1.0)).examine((voice, SAMPLE_RATE), told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(len(voice) / SAMPLE_RATE)
    assert len(told) == -(-len(voice) // SAMPLE_RATE)

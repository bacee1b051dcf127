"""Opening a model file: what is not exactly one is refused, and the message says what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.audio import read_audio
from groove.encoder import OnnxEncoder
from groove.errors import CardError, EmptyAudio, ModelError, SettingsError, UnknownModel
from groove.fbank import FbankConfig
from tests.conftest import ROOT, VOICE_A, VOICE_B
from tests.modelfiles import (
    TINY_FEATURES_MODEL,
    TINY_MODEL,
    tiny_card,
    with_card,
    with_fields,
)


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    return OnnxEncoder(TINY_MODEL, threads=1)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    voice = np.concatenate([read_audio(VOICE_A), read_audio(VOICE_B)])
    return np.stack([voice[s : s + 24_000] for s in range(0, 120_000, 24_000)])


def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    unit_rows: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit_rows


def test_a_waveform_gives_an_embedding_of_the_cards_size(
    encoder: OnnxEncoder, rows: NDArray[np.float32]
) -> None:
    found = encoder(rows)
    assert found.shape == (len(rows), encoder.card.embedding_size)
    assert found.dtype == np.float32
    assert np.array_equal(found, encoder(rows))  # to the last bit
    assert np.array_equal(found, encoder(rows.astype(np.float64)))  # type: ignore[arg-type]


def test_batching_changes_no_embedding(encoder: OnnxEncoder, rows: NDArray[np.float32]) -> None:
    together, alone = unit(encoder(rows)), unit(np.concatenate([encoder(r[None]) for r in rows]))
    assert (together * alone).sum(1).min() > 0.999999
    assert (together[0] * together[1:]).sum(1).max() < 0.9999  # and the rows do differ


def test_a_features_in_file_gives_the_same(encoder: OnnxEncoder, rows: NDArray[np.float32]) -> None:
    features_in = OnnxEncoder(TINY_FEATURES_MODEL, threads=1)
    assert features_in.card.input == "fbank"
    assert (unit(features_in(rows)) * unit(encoder(rows))).sum(1).min() >= 0.99999


def test_the_hash_is_the_files(encoder: OnnxEncoder) -> None:
    assert encoder.model_hash == hashlib.sha256(TINY_MODEL.read_bytes()).hexdigest()


@pytest.mark.parametrize("model", [TINY_MODEL, TINY_FEATURES_MODEL])
def test_less_than_a_frame_is_refused_and_one_frame_is_enough(model: Path) -> None:
    encoder = OnnxEncoder(model, threads=1)
    n = encoder.card.fbank.min_samples
    with pytest.raises(EmptyAudio, match=f"{n - 1} samples are less than one frame of 8 ms"):
        encoder(np.zeros((1, n - 1), np.float32))
    assert np.isfinite(encoder(np.zeros((1, n), np.float32))).all()


def test_a_waveform_without_a_batch_is_our_mistake(encoder: OnnxEncoder) -> None:
    with pytest.raises(ValueError, match=r"shape \(16000,\); wanted \[B, S\]"):
        encoder(np.zeros(16_000, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_what_is_not_finite_is_an_error_and_no_embedding(
    encoder: OnnxEncoder, rows: NDArray[np.float32], bad: float
) -> None:
    broken = rows.copy()
    broken[1, 5_000] = bad
    with pytest.raises(ModelError, match=r"tiny\.onnx: the model gave values that are not finite"):
        encoder(broken)


def test_a_file_without_a_card_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for path in (with_card(tmp_path, None), ROOT / "groove" / "assets" / "silero_vad.onnx"):
        with pytest.raises(CardError, match=r"without a Groove model card.*groove import FILE"):
            OnnxEncoder(path)


def test_an_unknown_card_version_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="version 3, this Groove reads 1 to 2; update Groove"):
        OnnxEncoder(with_fields(tmp_path, card_version=3))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"card_version": 1}'])
def test_a_damaged_card_is_refused_and_the_file_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(CardError, match=r"changed\.onnx: .*card.*(import|export)"):
        OnnxEncoder(with_card(tmp_path, text))


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_size": "many"},
        {"fbank": None},
        {"fbank": {"window": "povey"}},
        {"thresholds": 3},
        {"thresholds": [{"speech_s": 1.0}]},
        {"calibration": {"bias": 1.0}},
        {"window_s": None},
        {"window_s": -1.0},
        {"window_s": float("nan")},
        {"input": "spectrogram"},
        {"num_crops": 2},
        {"front_end_hash": "0" * 16},
        {"name": 7},
        {"min_speech_s": "0.5"},
    ],
)
def test_a_card_with_wrong_values_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CardError) as caught:
        OnnxEncoder(with_fields(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_graph_that_is_not_what_its_card_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"output sizes \[16\], its card says .* and \[192\]"):
        OnnxEncoder(with_fields(tmp_path, embedding_size=192))
    with pytest.raises(CardError, match=r"inputs \[\('waveform', 2\)\].*\('fbank', 3\)"):
        OnnxEncoder(with_fields(tmp_path, input="fbank"))
    with pytest.raises(CardError, match=r"inputs \[\('fbank', 3\)\].*\('waveform', 2\)"):
        OnnxEncoder(with_fields(tmp_path, TINY_FEATURES_MODEL))


def test_frames_that_the_graph_does_not_take_are_a_model_error(tmp_path: Path) -> None:
    """The card's bands and the graph's disagree: known only when it runs."""
    fbank = FbankConfig(n_mels=40)
    path = with_fields(
        tmp_path,
        TINY_FEATURES_MODEL,
        input="fbank",
        fbank=fbank.to_dict(),
        front_end_hash=fbank.hash,
    )
    with pytest.raises(ModelError, match=r"changed\.onnx: the model failed on \(1, 98, 40\)"):
        OnnxEncoder(path)(np.zeros((1, 16_000), np.float32))


@pytest.mark.parametrize("data", [b"", b"junk", TINY_MODEL.read_bytes()[:50_000]])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"broken\.onnx: ") as caught:
        OnnxEncoder(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no such model file; see  groove models list"):
        OnnxEncoder(tmp_path / "absent.onnx")
    with pytest.raises(SettingsError, match="threads is 0; wanted 1 or more"):
        OnnxEncoder(TINY_MODEL, threads=0)


def test_the_copy_with_its_own_card_opens(tmp_path: Path) -> None:
    """The other tests' tool works: the same card in, the same card out."""
    assert OnnxEncoder(with_card(tmp_path, tiny_card().to_json())).card == tiny_card()

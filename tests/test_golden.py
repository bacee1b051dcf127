"""Golden numbers: they are the model's, and a client that is wrong is told so."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groove import golden
from groove.encoder import OnnxEncoder
from groove.errors import ModelError, SettingsError
from groove.fbank import FbankConfig, log_mel
from tests.conftest import ROOT, VOICE_A, VOICE_B
from tests.fakes import FakeEncoder
from tests.test_cli import TINY_MODEL


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    golden.write(OnnxEncoder(TINY_MODEL, threads=1), folder, [VOICE_A])
    return folder


def read(folder: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    return values


def test_both_files_hold_the_same_and_the_models_numbers(fixture: Path) -> None:
    encoder = OnnxEncoder(TINY_MODEL, threads=1)
    values = read(fixture)
    assert values["model_hash"] == encoder.model_hash
    assert values["card"] == json.loads(encoder.card.to_json())
    cases = values["cases"]
    assert isinstance(cases, list) and len(cases) == 9
    with np.load(fixture / "golden.npz") as data:
        for case in cases:
            name = case["name"]
            waveform = data[f"{name}/waveform"]
            assert waveform.tolist() == case["waveform"]
            assert np.allclose(data[f"{name}/features"], case["features"], rtol=1e-5, atol=1e-5)
            heard = encoder(waveform[None].astype(np.float32) / 32768)[0]
            assert np.allclose(heard, case["embedding"], rtol=1e-4, atol=1e-5)


def test_the_sounds_are_the_ones_that_the_format_names() -> None:
    sounds = golden.synthetic(400)
    assert len(sounds["shortest"]) == 400 and len(sounds["samples left over"]) % 160
    assert not sounds["silence"].any() and np.abs(sounds["quiet"]).max() <= 32
    # Numerical Recipes' generator, written out: 1 -> 1015568748 -> 1586005467 -> 2165703038
    states = (1015568748, 1586005467, 2165703038)
    expected = [((s >> 16) - 32768) // 4 for s in states]
    assert sounds["noise"][:3].tolist() == expected


def test_a_right_client_holds_and_a_wrong_one_does_not(fixture: Path, tmp_path: Path) -> None:
    values = read(fixture)
    card = FbankConfig.from_dict(values["card"]["fbank"])  # type: ignore[index]
    wrong = FbankConfig.from_dict({**card.to_dict(), "preemphasis": 0.95})
    for config, holds in ((card, True), (wrong, False)):
        cases = client_cases(values, config, "noise", "buzz")
        client = tmp_path / "client.json"
        client.write_text(json.dumps({"cases": cases}))
        checked = golden.check(fixture / "golden.json", client, partial=True)
        assert [c.name for c in checked] == ["noise", "buzz"]
        assert all(c.holds is holds and c.embedding_cosine is None for c in checked)
        done = subprocess.run(
            [sys.executable, "-m", "groove", "golden", "--out", str(fixture)]
            + ["--check", str(client), "--partial"],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == (0 if holds else 1), done.stderr
        assert ("holds" if holds else "FAILS") in done.stdout


def client_cases(values: dict[str, object], config: FbankConfig, *names: str) -> list[object]:
    """What a client with this front end writes; all cases where none is named."""
    return [
        {
            "name": case["name"],
            "features": log_mel(np.array(case["waveform"]) / 32768, config).tolist(),
        }
        for case in values["cases"]  # type: ignore[attr-defined]
        if case["name"] in names or not names
    ]


@pytest.mark.parametrize("sample_scale", [1.0, 32768.0])
@pytest.mark.parametrize(
    ("setting", "value"),
    [("preemphasis", 0.95), ("log_floor", 1e-10), ("low_freq_hz", 0.0), ("window", "hann")],
)
def test_a_front_end_that_is_nearly_right_fails(
    tmp_path: Path, sample_scale: float, setting: str, value: object
) -> None:
    right = FakeEncoder(fbank=FbankConfig(sample_scale=sample_scale))
    golden.write(right, tmp_path)
    values, client = read(tmp_path), tmp_path / "client.json"
    for config, holds in (
        (right.card.fbank, True),
        (replace(right.card.fbank, **{setting: value}), False),
    ):
        client.write_text(json.dumps({"cases": client_cases(values, config)}))
        checked = golden.check(tmp_path / "golden.json", client)
        assert all(c.holds for c in checked) is holds


def test_the_limit_lies_far_above_what_float32_costs() -> None:
    """Against the formulas of `groove.fbank`, in float64 and plain numpy."""
    card = FbankConfig()
    for name, integers in golden.synthetic(card.min_samples).items():
        waveform = integers.astype(np.float64) / 32768
        n = card.n_frames(len(waveform))
        frames = np.stack([waveform[160 * i : 160 * i + 400] for i in range(n)]) * 32768
        frames -= frames.mean(axis=1, keepdims=True)
        frames -= 0.97 * np.c_[frames[:, :1], frames[:, :-1]]
        window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
        power = np.abs(np.fft.rfft(frames * window, 512)) ** 2
        edges = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700), 82)
        bins = 1127 * np.log1p(np.arange(257) * 31.25 / 700)
        up = (bins - edges[:-2, None]) / (edges[1] - edges[0])
        mel = power @ np.clip(np.minimum(up, 2 - up), 0, None).T
        expected = np.log(np.maximum(mel, 2.0**-23))
        expected -= expected.mean(axis=0)
        difference = np.abs(log_mel(waveform, card) - expected).mean()
        assert difference < golden.MAX_FEATURE_DIFFERENCE / 100, name


def test_cases_that_are_not_there_are_named_and_fail(fixture: Path, tmp_path: Path) -> None:
    values, client = read(fixture), tmp_path / "client.json"
    (first, *rest) = values["cases"]  # type: ignore[misc]
    client.write_text(json.dumps({"cases": [first], "model_hash": values["model_hash"]}))
    checked = golden.check(fixture / "golden.json", client)
    assert [c.holds for c in checked] == [True] + [False] * len(rest)
    assert [c.name for c in checked[1:]] == [case["name"] for case in rest]
    assert len(golden.check(fixture / "golden.json", client, partial=True)) == 1
    client.write_text(json.dumps({"cases": values["cases"], "model_hash": "0" * 64}))
    with pytest.raises(ModelError, match="numbers of the model 00000000, the fixture's are of"):
        golden.check(fixture / "golden.json", client)


def test_another_length_or_embedding_fails(fixture: Path, tmp_path: Path) -> None:
    (first, *_) = read(fixture)["cases"]  # type: ignore[misc]
    client = tmp_path / "client.json"
    for change in ({"features": first["features"][:-1]}, {"embedding": first["embedding"][::-1]}):
        client.write_text(json.dumps({"cases": [{"name": first["name"], **change}]}))
        (checked,) = golden.check(fixture / "golden.json", client, partial=True)
        assert not checked.holds
    client.write_text(json.dumps({"cases": [{"name": first["name"]}]}))
    assert not golden.check(fixture / "golden.json", client)[0].holds


def test_what_is_no_fixture_is_refused(fixture: Path, tmp_path: Path) -> None:
    for text, message in (
        ("{}", "not golden numbers"),
        ('{"cases": [{}]}', "not golden numbers"),
        ('{"cases": [], "golden_version": 7}', "golden version 7, wanted 1"),
        ('{"cases": [{"name": "song"}]}', "none of the fixture's cases"),
    ):
        path = tmp_path / "client.json"
        path.write_text(text)
        with pytest.raises(ModelError, match=message):
            golden.check(fixture / "golden.json", path)
    with pytest.raises(ModelError, match="cannot be read"):
        golden.check(fixture / "golden.json", tmp_path / "absent.json")
    with pytest.raises(SettingsError, match="cannot be written to"):
        golden.write(OnnxEncoder(TINY_MODEL), VOICE_B / "below")

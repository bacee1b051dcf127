"""The parity gate lets the same function pass, and nothing that only looks the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import ManifestError
from groove.parity import (
    BATCHES,
    LENGTHS_S,
    ParityGate,
    Voices,
    bundled_voices,
    read_utterances,
    read_voices,
)
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import N_BANDS, FakeEncoder

Waveforms = NDArray[np.float32]


class Spectrum(FakeEncoder):
    """Levels of eight bands of the whole waveform, about their mean."""

    def __call__(self, waveforms: Waveforms) -> Waveforms:
        self.shapes.append(waveforms.shape)
        power = np.abs(np.fft.rfft(waveforms, axis=1)) ** 2 / waveforms.shape[1]
        bands = [band.mean(axis=1) for band in np.array_split(power, N_BANDS, axis=1)]
        levels = np.log(np.stack(bands, axis=1) + 1e-9)
        return (levels - levels.mean(axis=1, keepdims=True)).astype(np.float32)


class Frozen(Spectrum):
    """A graph whose time was frozen while it was traced: it never sees more than two seconds."""

    def __call__(self, waveforms: Waveforms) -> Waveforms:
        return super().__call__(waveforms[:, : 2 * SAMPLE_RATE])


class BatchNormed(Spectrum):
    """Rows depend on their batch mates."""

    def __call__(self, waveforms: Waveforms) -> Waveforms:
        embeddings = super().__call__(waveforms)
        return embeddings - (embeddings.mean(axis=0) if len(embeddings) > 1 else 0)


class DeafToWhispers(Spectrum):
    """Quiet sound falls below its floor."""

    def __call__(self, waveforms: Waveforms) -> Waveforms:
        return super().__call__(np.where(np.abs(waveforms) < 0.002, 0, waveforms))


class NotFinite(Spectrum):
    def __call__(self, waveforms: Waveforms) -> Waveforms:
        embeddings = super().__call__(waveforms)
        if waveforms.shape[1] > 4 * SAMPLE_RATE:
            embeddings[-1, 0] = np.nan
        return embeddings


class Truncated(Spectrum):
    def __call__(self, waveforms: Waveforms) -> Waveforms:
        return super().__call__(waveforms)[:, :4]


def gate() -> ParityGate:
    return ParityGate(Spectrum(), bundled_voices())


def test_the_same_function_passes_on_every_length_batch_and_level() -> None:
    again = Spectrum()
    found = gate().check(again, 0.9999)
    assert found.holds and found.found == pytest.approx(1.0)
    wanted = {(b, round(s * SAMPLE_RATE)) for s in LENGTHS_S for b in BATCHES}
    assert set(again.shapes) == wanted and len(again.shapes) == 2 * len(wanted)
    assert {1.0, 2.0, 5.0, 20.0} <= set(LENGTHS_S) and {1, 7} == set(BATCHES)


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        (Frozen(), "s, batch"),
        (BatchNormed(), "batch 7"),
        (DeafToWhispers(), "-60 dBFS"),
        (NotFinite(), "5 s, batch 1"),
        (Truncated(), "0.1 s, batch 1"),
    ],
)
def test_what_only_looks_the_same_does_not_pass(broken: FakeEncoder, where: str) -> None:
    found = gate().check(broken, 0.9999)
    assert not found.holds and found.found < 0.9999
    assert where in found.where and "wanted at least 0.9999" in str(found)


def test_the_levels_are_what_they_are_called() -> None:
    heard: list[Waveforms] = []

    class Listening(Spectrum):
        def __call__(self, waveforms: Waveforms) -> Waveforms:
            heard.append(waveforms)
            return super().__call__(waveforms)

    ParityGate(Listening(), bundled_voices(), (1.0,), (7,)).check(Spectrum(), 0.9)
    loud, quiet = heard
    assert np.abs(loud).max(axis=1) == pytest.approx(np.full(7, 10 ** (-1 / 20)), rel=1e-5)
    rms = np.sqrt((quiet.astype(np.float64) ** 2).mean(axis=1))
    assert 20 * np.log10(rms) == pytest.approx(np.full(7, -60.0), abs=1e-3)


def test_rows_are_real_speech_and_differ() -> None:
    voices = bundled_voices()
    assert voices.name == "the example recordings of 2 speakers"
    rows = voices.rows(20.0, 7)
    assert rows.shape == (7, 20 * SAMPLE_RATE)
    joined = np.concatenate([read_audio(VOICE_A), read_audio(VOICE_A2)])
    assert np.array_equal(rows[0], np.resize(joined, rows.shape[1]))
    assert len({row.tobytes() for row in rows}) == 7


def test_speech_comes_from_a_folder_or_a_manifest(tmp_path: Path) -> None:
    for speaker, path in (("甲", VOICE_A), ("甲", VOICE_A2), ("b", VOICE_B)):
        folder = tmp_path / "in" / speaker
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    manifest = tmp_path / "list.jsonl"
    lines = [
        {"utterance_id": u.utterance_id, "speaker_id": u.speaker_id, "seconds": 4.0}
        | {"path": str(u.path)}
        for u in read_utterances(tmp_path / "in")
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for source in (tmp_path / "in", manifest):
        voices = read_voices(source)
        assert len(voices.waveforms) == 2 and voices.name == f"2 speakers of {source}"
        found = {u.speaker_id for u in read_utterances(source)}
        assert found == {"甲", "b"}
    assert np.array_equal(read_voices(manifest).waveforms[1], read_audio(VOICE_B))


def test_speech_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="wanted a folder of recordings or a .jsonl manifest"):
        read_voices(VOICE_A)
    with pytest.raises(ManifestError, match="no audio files below it"):
        read_voices(tmp_path)
    short = Voices("short", (np.ones(100, np.float32),))
    assert short.rows(1.0, 2).shape == (2, SAMPLE_RATE)

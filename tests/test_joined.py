"""Utterances joined from short recordings are heard whole, wherever a manifest may hold them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from groove.audio import read_audio
from groove.bench import wav_bytes
from groove.bulk import Recording, embed_many
from groove.cli.embed import _recordings
from groove.embedder import Embedder
from groove.errors import ManifestError
from groove.evaluation.cache import EmbeddingCache, embed_files
from groove.evaluation.card_pieces import Piece
from groove.evaluation.evaluate import evaluate
from groove.evaluation.refusals import refuse_shared
from groove.evaluation.systems import Settings, System
from groove.evaluation.trial_sets import from_manifest
from groove.joined import joined_files, parts_of, read_joined
from groove.manifest import read_manifest
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder

PART_S = (0.9, 1.1)


def write_joined(folder: Path, name: str, speakers: str, first: int = 0) -> Path:
    """Two utterances of two parts for each speaker; parts have paths as the manifest's."""
    voice = np.concatenate([read_audio(path) for path in (VOICE_A, VOICE_A2, VOICE_B)])
    lines, at = [], first
    for speaker in speakers:
        for i in range(2):
            parts = []
            for k, seconds in enumerate(PART_S):
                n = round(seconds * 16_000)
                path = folder / f"{speaker}{i}{k}.wav"
                path.write_bytes(wav_bytes(voice[at : at + n]))
                parts.append({"path": path.name, "seconds": seconds})
                at += n
            lines.append(
                {"utterance_id": f"{speaker}{i}+1", "speaker_id": speaker, "seconds": sum(PART_S)}
                | {"path": parts[0]["path"], "parts": parts}
            )
    manifest = folder / name
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def together(manifest: Path) -> list[np.ndarray]:
    return [
        np.concatenate([read_audio(path) for path, _ in parts_of(u)])
        for u in read_manifest(manifest)
    ]


def test_trials_cohort_and_calibration_set_hear_all_parts(tmp_path: Path) -> None:
    trials = write_joined(tmp_path, "trials.jsonl", "ab")
    cohort = write_joined(tmp_path, "train.jsonl", "cd", 800)
    calibration = write_joined(tmp_path, "calibration.jsonl", "ef", 1_600)
    encoder = FakeEncoder(min_speech_s=0.01)
    settings = Settings(
        cohort=tuple(read_manifest(cohort)),
        as_norm=True,
        top_n=2,
        calibration_set=from_manifest(calibration),
        n_draws=2,
    )
    report = evaluate([System("fake", Embedder(encoder))], [from_manifest(trials)], settings)
    assert [n for _, n in encoder.shapes] == [round(sum(PART_S) * 16_000)] * 12
    assert report.systems[0].exclusions.n_recordings == 4


def test_the_cache_knows_an_utterance_by_all_its_parts(tmp_path: Path) -> None:
    manifest = write_joined(tmp_path, "m.jsonl", "a")
    joined = joined_files(tuple(path for path, _ in parts_of(u)) for u in read_manifest(manifest))
    first, second = joined
    encoder = FakeEncoder(min_speech_s=0.01)
    with EmbeddingCache() as cache:
        alone = embed_files([first], Embedder(encoder), cache)[first]
        found = embed_files([first, second], Embedder(encoder), cache, joined=joined)
        assert len(encoder.shapes) == 3
        again = embed_files([first, second], Embedder(encoder), cache, joined=joined)
        assert len(encoder.shapes) == 3
        joined[second][1].write_bytes(VOICE_B.read_bytes())
        embed_files([first, second], Embedder(encoder), cache, joined=joined)
        assert len(encoder.shapes) == 4
        joined[second][1].unlink()
        lost = embed_files([second], Embedder(encoder), cache, joined=joined)[second]
    wanted = Embedder(encoder).embed((together_of(joined[first]), 16_000))
    np.testing.assert_array_equal(found[first].embedding, wanted)
    np.testing.assert_array_equal(again[first].embedding, wanted)
    assert alone.seconds == PART_S[0] and found[first].seconds == sum(PART_S)
    assert lost.embedding is None and joined[second][1].name in lost.reason


def together_of(files: tuple[Path, ...]) -> np.ndarray:
    return np.concatenate([read_audio(path) for path in files])


def test_a_missing_part_makes_the_utterance_missing(tmp_path: Path) -> None:
    manifest = write_joined(tmp_path, "m.jsonl", "ab")
    (tmp_path / "a01.wav").unlink()
    found = from_manifest(manifest)
    assert found.missing == (str(tmp_path / "a00.wav"),)
    assert found.available().sum() == 3


def test_a_later_part_may_not_be_in_the_trials_either(tmp_path: Path) -> None:
    trials = from_manifest(write_joined(tmp_path, "trials.jsonl", "ab"))
    cohort = read_manifest(write_joined(tmp_path, "cohort.jsonl", "cd"))
    cohort[0].fields["parts"][1]["path"] = "b11.wav"
    with pytest.raises(ManifestError, match=r"cohort: .*b11.wav is a recording of the trials"):
        refuse_shared([trials], cohort, None)


def test_pieces_of_a_calibration_are_cut_from_the_whole_utterance(tmp_path: Path) -> None:
    manifest = write_joined(tmp_path, "m.jsonl", "a")
    first, second = read_manifest(manifest)
    whole, rate = Piece((first,), "full").read()
    assert rate == 16_000
    np.testing.assert_array_equal(whole, together(manifest)[0])
    both, _ = Piece((first, second), "6").read()
    assert len(both) == 2 * len(whole) + round(0.12 * 16_000)
    crop, _ = Piece((first,), "1.5", seed=3).read()
    assert len(crop) == 24_000  # longer than either part


def test_groove_embed_hears_all_parts(tmp_path: Path) -> None:
    manifest = write_joined(tmp_path, "m.jsonl", "ab")
    encoder = FakeEncoder(min_speech_s=0.01)
    recordings = _recordings((manifest,))
    summary = embed_many(recordings, Embedder(encoder), tmp_path / "out", workers=1)
    with np.load(summary.result, allow_pickle=False) as data:
        for found, waveform in zip(data["embedding"], together(manifest), strict=True):
            np.testing.assert_array_equal(found, Embedder(encoder).embed((waveform, 16_000)))
    assert embed_many(recordings, Embedder(encoder), tmp_path / "out", workers=1).n_known == 4
    recordings[0].parts[1].write_bytes(VOICE_B.read_bytes())
    assert embed_many(recordings, Embedder(encoder), tmp_path / "out", workers=1).n_known == 3
    first_only = [Recording(recordings[1].utterance_id, recordings[1].path)]
    assert embed_many(first_only, Embedder(encoder), tmp_path / "out", workers=1).n_known == 0


def test_one_file_cannot_begin_two_utterances(tmp_path: Path) -> None:
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    assert joined_files([(a, b), (a, b), (b,)]) == {a: (a, b)}
    with pytest.raises(ManifestError, match=r"a.wav: begins two utterances of different parts"):
        joined_files([(a, b), (a,)])


def test_parts_are_read_back_to_back(tmp_path: Path) -> None:
    waveform, rate = read_joined([VOICE_A, VOICE_B])
    assert rate == 16_000
    assert len(waveform) == len(read_audio(VOICE_A)) + len(read_audio(VOICE_B))

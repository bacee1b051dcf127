"""A card into a model file without onnx, and the same file to onnx's eyes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from groove.card_file import described, with_card, write_card
from groove.encoder import OnnxEncoder
from groove.errors import CardError, ModelError
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B, read_pool
from tests.test_cli import TINY_MODEL, groove

pytestmark = pytest.mark.skipif(not TINY_MODEL.is_file(), reason="no tests/data/model/tiny.onnx")


def test_the_copy_has_the_new_card_and_the_same_network(tmp_path: Path) -> None:
    before = OnnxEncoder(TINY_MODEL, threads=1)
    card = before.card.with_fields({"name": "改名", "min_speech_s": 0.75})
    out = write_card(TINY_MODEL, card, tmp_path / "copy.onnx")
    after = OnnxEncoder(out, threads=1)
    assert after.card.to_json() == card.to_json() and after.model_hash != before.model_hash
    waveform = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    np.testing.assert_array_equal(after(waveform), before(waveform))
    write_card(out, before.card, out)  # onto itself
    assert OnnxEncoder(out, threads=1).card == before.card
    assert [path.name for path in tmp_path.iterdir()] == ["copy.onnx"]


@pytest.mark.torch
def test_onnx_sees_one_card_and_nothing_else_changed(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    card = OnnxEncoder(TINY_MODEL, threads=1).card.with_fields({"version": "2"})
    changed = onnx.load_model_from_string(with_card(TINY_MODEL.read_bytes(), card))
    original = onnx.load(str(TINY_MODEL))
    assert {e.key: e.value for e in changed.metadata_props} == {"groove.card": card.to_json()}
    assert len(changed.metadata_props) == 1
    assert changed.graph == original.graph and changed.opset_import == original.opset_import


def test_what_is_no_model_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    card = OnnxEncoder(TINY_MODEL, threads=1).card
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"this is not a model")
    with pytest.raises(ModelError, match=r"junk.onnx: not an ONNX file, or cut short"):
        write_card(junk, card, tmp_path / "out.onnx")
    junk.write_bytes(TINY_MODEL.read_bytes()[:-100])
    with pytest.raises(ModelError):
        write_card(junk, card, tmp_path / "out.onnx")
    with pytest.raises(ModelError, match="no such folder"):
        write_card(TINY_MODEL, card, tmp_path / "absent" / "out.onnx")
    with pytest.raises(ModelError, match="is an .onnx file; name it so"):
        write_card(TINY_MODEL, card, tmp_path / "out.pt")
    with pytest.raises(CardError):
        write_card(TINY_MODEL, card.with_fields({"embedding_size": 7}), tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["junk.onnx"]


def test_groove_calibrate_with_a_list_of_trials(tmp_path: Path) -> None:
    names = []
    for i, source in enumerate((VOICE_A, VOICE_A2, VOICE_B, VOICE_B)):
        names.append(f"{i}.wav")
        (tmp_path / names[-1]).write_bytes(source.read_bytes())
    trials = tmp_path / "trials.txt"
    # 2 and 3 are one recording, so that the target trials score higher whatever the network does
    trials.write_text("1 2.wav 3.wav\n0 0.wav 2.wav\n0 1.wav 3.wav\n0 1.wav gone.wav\n")
    out = tmp_path / "calibrated.onnx"
    done = groove(
        "calibrate", "--model", str(TINY_MODEL), "--trials", str(trials), "--audio", str(tmp_path),
        "--out", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "groove: left out 1 files; the first: gone.wav: no such file" in done.stderr
    values = json.loads(done.stdout)
    card = OnnxEncoder(out, threads=1).card
    assert card.calibration is not None and card.calibration.measured_on == "trials.txt"
    assert values["thresholds"][0]["rows"][0]["threshold"] is None  # 2 false matches are too few


def test_groove_calibrate_with_a_manifest_measures_telephone_sound_and_says_what_it_cannot_promise(
    speech_root: Path, tmp_path: Path
) -> None:
    """Eight speakers: enough for 10 %, not for the usual 1 %; what is advised then works."""
    by_speaker: dict[str, list[dict[str, str]]] = {}
    for row in read_pool(speech_root / "train"):
        if float(row["seconds"]) < 6:
            by_speaker.setdefault(row["speaker"], []).append(row)
    chosen = [rows[:5] for _, rows in sorted(by_speaker.items()) if len(rows) >= 5][:8]
    lines = [
        {
            # not the whole path: the kind of telephone is drawn by this name
            "utterance_id": Path(row["path"]).relative_to(speech_root).as_posix(),
            "speaker_id": row["speaker"],
            "path": row["path"],
            "seconds": float(row["seconds"]),
        }
        for rows in chosen
        for row in rows
    ]
    manifest, out = tmp_path / "speakers.jsonl", tmp_path / "out.onnx"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    asked = ("calibrate", "--manifest", str(manifest), "--cache", str(tmp_path / "c.sqlite"))
    done = groove(*asked, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    card = OnnxEncoder(out, threads=1).card
    assert card.narrow_band is not None and len(set(card.thresholds)) == len(card.thresholds)
    assert all("telephone" in table.measured_on for table in card.narrow_band.thresholds)
    assert json.loads(done.stdout)["narrow_band"] is not None
    pair = ("compare", str(VOICE_A), str(VOICE_A2), "--model", str(out))
    assert groove(*pair).returncode == 2
    advised = re.search(r"compare answers with --fmr ([0-9.]+)", done.stderr.splitlines()[-1])
    assert advised and groove(*pair, "--fmr", advised[1]).returncode == 0
    plain = groove(*asked, "--out", str(out), "--no-telephone")
    assert plain.returncode == 0 and "telephone" not in plain.stdout
    assert re.search(r"^  speech s +10 % +5 % ", plain.stdout, re.MULTILINE)
    assert OnnxEncoder(out, threads=1).card.narrow_band is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --manifest, or --trials"),
        (("--manifest", "absent.jsonl"), "absent.jsonl: No such file"),
        (("--trials", "absent.txt"), "--trials needs --audio FOLDER or --manifest FILE"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out.onnx"
    done = groove("calibrate", "--model", str(TINY_MODEL), *arguments, "--out", str(out))
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not out.exists()
    done = groove("calibrate", "--manifest", "x", "--out", str(tmp_path / "no" / "out.onnx"))
    assert done.returncode == 2 and "no such folder" in done.stderr


def test_groove_calibrate_advises_speakers_that_were_not_trained_on() -> None:
    said = " ".join(groove("calibrate", "--help").stdout.split())
    assert "train.jsonl" not in said and "--manifest calibration.jsonl" in said
    assert "speakers that neither training nor evaluation holds" in said


def test_a_person_may_say_what_a_model_is_and_nothing_that_is_measured(tmp_path: Path) -> None:
    card, said = OnnxEncoder(TINY_MODEL, threads=1).card, tmp_path / "said.json"
    said.write_text('{"name": "声纹", "version": "2", "licence": "CC0-1.0"}', encoding="utf-8")
    found = described(card, said)
    assert (found.name, found.version, found.licence) == ("声纹", "2", "CC0-1.0")
    assert (found.fbank, found.thresholds, found.source) == (
        card.fbank,
        card.thresholds,
        card.source,
    )
    for text, message in {
        '{"min_speech_s": 0.1}': "'min_speech_s' is not to be said; wanted name, version",
        '{"name": 7}': "name is 7; wanted text",
        '["name"]': "holds list; wanted one object",
        "{": "cannot be read as JSON",
    }.items():
        said.write_text(text, encoding="utf-8")
        with pytest.raises(CardError, match=message):
            described(card, said)
    with pytest.raises(CardError, match=r"absent.json: cannot be read"):
        described(card, tmp_path / "absent.json")

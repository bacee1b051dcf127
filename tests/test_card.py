from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from groove.card import ModelCard, ThresholdTable
from groove.encoder import OnnxEncoder
from groove.errors import CardError, SettingsError
from groove.fbank import FbankConfig
from tests.fakes import fake_card, telephone_card
from tests.modelfiles import tiny_card, with_fields


def test_a_card_survives_json_and_the_text_is_stable() -> None:
    card = fake_card()
    text = card.to_json()
    again = ModelCard.from_json(text)
    assert replace(again, front_end_hash="") == card
    assert again.to_json() == text


def test_an_unknown_version_is_refused_with_both_versions() -> None:
    values = json.loads(fake_card().to_json()) | {"card_version": 99}
    with pytest.raises(CardError, match="version 99, this Groove reads 1 to 2; update Groove"):
        ModelCard.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"card_version": 1}', "{"])
def test_a_damaged_card_is_refused(text: str) -> None:
    with pytest.raises(CardError):
        ModelCard.from_json(text)


def test_unknown_and_missing_fields_are_named() -> None:
    values = json.loads(fake_card().to_json())
    values["embeding_size"] = values.pop("embedding_size")
    with pytest.raises(CardError, match=r"unknown fields \['embeding_size'\].*embedding_size"):
        ModelCard.from_json(json.dumps(values))


def test_a_front_end_edited_by_hand_is_noticed() -> None:
    values = json.loads(fake_card().to_json())
    values["fbank"]["window"] = "hamming"
    with pytest.raises(CardError, match="edited by hand"):
        ModelCard.from_json(json.dumps(values))


def test_every_front_end_setting_changes_the_hash() -> None:
    base = FbankConfig()
    changes = {
        "sample_rate": 8000,
        "n_mels": 40,
        "frame_length_ms": 32.0,
        "frame_shift_ms": 5.0,
        "window": "hamming",
        "preemphasis": 0.9,
        "low_freq_hz": 0.0,
        "high_freq_hz": -400.0,
        "remove_dc": False,
        "snip_edges": False,
        "min_rms": 0.04,
        "sample_scale": 1.0,
        "log_floor": 1e-10,
        "subtract_mean": False,
    }
    assert set(changes) == set(base.to_dict())
    hashes = {replace(base, **{name: value}).hash for name, value in changes.items()}
    assert len(hashes | {base.hash}) == len(changes) + 1


def test_the_row_is_the_largest_measured_rate_that_keeps_the_promise() -> None:
    (table,) = fake_card().thresholds
    assert table.row_for(0.01).threshold == 0.90
    assert table.row_for(0.02).threshold == 0.90
    assert table.row_for(0.5).threshold == 0.80


@pytest.mark.parametrize("fmr", [0.0, 1.0, -1.0, float("nan"), 0.001])
def test_a_rate_that_was_not_measured_is_refused(fmr: float) -> None:
    (table,) = fake_card().thresholds
    with pytest.raises(SettingsError):
        table.row_for(fmr)


def test_the_table_is_chosen_by_the_shorter_side() -> None:
    rows = fake_card().thresholds[0].rows
    tables = tuple(ThresholdTable(s, f"at {s}", rows) for s in (3.0, 0.5, 1.5))
    card = fake_card(thresholds=tables)
    chosen = {s: card.table_for(s).speech_s for s in (0.1, 0.5, 0.6, 1.5, 1.6, 60.0)}  # type: ignore[union-attr]
    assert chosen == {0.1: 0.5, 0.5: 0.5, 0.6: 1.5, 1.5: 1.5, 1.6: 3.0, 60.0: 3.0}
    assert fake_card(thresholds=()).table_for(1.0) is None


def test_what_was_measured_on_telephone_sound_is_used_for_it_alone() -> None:
    card = telephone_card()
    again = ModelCard.from_json(card.to_json())
    assert json.loads(card.to_json())["card_version"] == 2
    assert replace(again, front_end_hash="") == card and again.to_json() == card.to_json()
    wide, narrow = (again.table_for(3.0, narrow_band=narrow) for narrow in (False, True))
    assert wide is not None and wide.measured_on == "nothing"
    assert narrow is not None and narrow.measured_on == "calls"
    assert again.calibration_for(narrow_band=True) != again.calibration_for(narrow_band=False)


def test_without_such_measures_telephone_sound_gets_the_others_and_old_programs_read_the_card():
    card = fake_card()
    assert json.loads(card.to_json())["card_version"] == 1
    assert "narrow_band" not in json.loads(card.to_json())
    assert card.table_for(3.0, narrow_band=True) == card.table_for(3.0)
    assert card.calibration_for(narrow_band=True) == card.calibration
    added = card.with_fields({"narrow_band": json.loads(telephone_card().to_json())["narrow_band"]})
    assert added == telephone_card()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"thresholds": []}, r"narrow_band has fields \['thresholds'\]; wanted"),
        ({"thresholds": [{}], "calibration": {}}, r"narrow_band.thresholds\[0\] has fields"),
        ([], r"narrow_band has fields \[\]; wanted"),
        ("none of it", "narrow_band wants thresholds, and a calibration"),
    ],
)
def test_damaged_measures_of_telephone_sound_are_refused(value: object, message: str) -> None:
    values = json.loads(telephone_card().to_json())
    if value == "none of it":
        values["narrow_band"]["thresholds"] = []
    else:
        values["narrow_band"] = value
    with pytest.raises(CardError, match=message):
        ModelCard.from_json(json.dumps(values))


@pytest.mark.parametrize("version", [1, True, 1.0, 2.0, "2"])
def test_a_version_is_a_whole_number_that_knows_its_fields(version: object) -> None:
    values = json.loads(telephone_card().to_json()) | {"card_version": version}
    with pytest.raises(CardError, match=r"the model card has version"):
        ModelCard.from_json(json.dumps(values))


def test_crops_and_their_length_go_together() -> None:
    with pytest.raises(CardError, match="go together"):
        fake_card(num_crops=3)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("calibration", "w_score"), float("nan"), "calibration: w_score is nan; wanted a finite"),
        (("calibration", "bias"), float("inf"), "calibration: bias is inf; wanted a finite"),
        (("calibration", "bias"), "1", "calibration: bias is '1'; wanted float"),
        (("calibration", "n_target"), -1, "calibration: n_target is -1; wanted at least 0"),
        (
            ("thresholds", 0, "rows", 1, "fnmr"),
            1.5,
            r"card: thresholds\[0\]\.rows\[1\]: .*fnmr is 1.5; wanted a rate from 0 to 1",
        ),
        (("thresholds", 0, "rows", 0, "fmr"), -0.1, r"rows\[0\]: .*fmr is -0.1; wanted a rate"),
        (
            ("thresholds", 0, "rows", 2, "threshold"),
            float("-inf"),
            r"rows\[2\]: .*threshold is -inf",
        ),
        (("thresholds", 0, "rows", 2, "n_target"), -3, r"rows\[2\]: .*n_target is -3"),
        (("thresholds", 0, "speech_s"), "0.5", r"card: thresholds\[0\].speech_s is '0.5'"),
        (("thresholds", 0, "speech_s"), float("nan"), r"card: thresholds\[0\].speech_s is nan"),
        (("thresholds", 0, "measured_on"), 7, r"thresholds\[0\].measured_on is 7; wanted text"),
        (("thresholds", 0, "extra"), 7, r"thresholds\[0\] has fields .*extra"),
        (("fbank", "n_mels"), 80.7, "front end: n_mels is 80.7; wanted a whole number"),
    ],
)
def test_what_nothing_can_have_measured_is_refused_by_its_key(
    path: tuple[str | int, ...], value: object, message: str
) -> None:
    values = json.loads(fake_card().to_json())
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(CardError, match=message):
        ModelCard.from_json(json.dumps(values))


def test_a_row_in_hand_is_looked_at_as_well() -> None:
    row = fake_card().thresholds[0].rows[0]
    with pytest.raises(CardError, match="fnmr is 2; wanted a rate from 0 to 1"):
        replace(row, fnmr=2)
    with pytest.raises(CardError, match="fmr is nan"):
        replace(row, fmr=float("nan"))


def test_the_file_is_named_where_its_card_is_refused(tmp_path: Path) -> None:
    tables = json.loads(tiny_card().to_json())["thresholds"]
    tables[0]["rows"][0]["fnmr"] = 1.7
    model = with_fields(tmp_path, thresholds=tables)
    with pytest.raises(CardError, match=rf"{model.name}: card: thresholds\[0\]\.rows\[0\]: .*fnmr"):
        OnnxEncoder(model)

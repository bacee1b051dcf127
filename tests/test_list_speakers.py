"""Who speaks in a list without a manifest, and by what name."""

from __future__ import annotations

import pytest

from groove.errors import ManifestError
from groove.evaluation.list_speakers import speakers_of_list
from groove.evaluation.trial_table import TrialTable, table_of
from groove.trials import Trial


def names_by_speaker(table: TrialTable) -> set[frozenset[str]]:
    found = speakers_of_list(table, "list")
    groups: dict[int, set[str]] = {}
    for name, who in (*zip(table.enrollment_ids, found.enrollment, strict=True),
                      *zip(table.test_ids, found.test, strict=True)):  # fmt: skip
        groups.setdefault(int(who), set()).add(name)
    return {frozenset(group) for group in groups.values()}


def test_speakers_are_folders_where_every_label_agrees() -> None:
    table = table_of(
        [
            Trial("x/1/a", "x/2/b", True),
            Trial("x/1/a", "y/1/a", False),
            Trial("z/1", "y/1/a", False),
        ]
    )
    assert names_by_speaker(table) == {
        frozenset({"x/1/a", "x/2/b"}),
        frozenset({"y/1/a"}),
        frozenset({"z/1"}),
    }


def test_speakers_are_linked_by_target_trials_else() -> None:
    table = table_of(
        [
            Trial("a", "b", True),
            Trial("c", "b", True),
            Trial("a", "d", False),
            Trial("d", "e", True),
        ]
    )
    assert names_by_speaker(table) == {frozenset("abc"), frozenset("de")}
    # the folders contradict a label, so that they are not taken for speakers
    table = table_of([Trial("x/a", "y/b", True), Trial("x/a", "x/c", False)])
    assert names_by_speaker(table) == {frozenset({"x/a", "y/b"}), frozenset({"x/c"})}


def test_labels_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ManifestError, match="a and c are a non-target trial, yet target trials"):
        speakers_of_list(
            table_of([Trial("a", "b", True), Trial("c", "b", True), Trial("a", "c", False)]), "list"
        )


def named(
    table: TrialTable, recordings: list[list[str]] | None = None
) -> tuple[dict[str, str], str]:
    found = speakers_of_list(table, "list", recordings=recordings)
    ids = (*table.enrollment_ids, *table.test_ids)
    numbers = (*found.enrollment.tolist(), *found.test.tolist())
    return {one: found.names[i] for one, i in zip(ids, numbers, strict=True)}, found.said_by


def test_names_are_folders_or_ids_that_no_label_contradicts() -> None:
    voxceleb = table_of([Trial("ann/1/a", "ann/2/b", True), Trial("ann/1/a", "bob/1/c", False)])
    assert named(voxceleb) == (
        {"ann/1/a": "ann", "ann/2/b": "ann", "bob/1/c": "bob"},
        "folders",
    )
    cnceleb = table_of(
        [
            Trial("id00800-enroll", "test/id00800-singing-01-005.wav", True),
            Trial("id00800-enroll", "test/id00801-live_broadcast-01-001.wav", False),
        ]
    )
    assert named(cnceleb) == (
        {
            "id00800-enroll": "id00800",
            "test/id00800-singing-01-005.wav": "id00800",
            "test/id00801-live_broadcast-01-001.wav": "id00801",
        },
        "ids in its names",
    )
    # the label says that id00800 and id00801 are one voice: neither ids nor folders are believed
    odd = table_of([Trial("id00800/a", "id00801/b", True), Trial("id00800/a", "id00800/c", False)])
    assert set(named(odd)[0].values()) == {""} and named(odd)[1] == ""


def test_an_enrollment_that_is_no_recording_names_its_speaker() -> None:
    table = table_of(
        [Trial("ann", "1.wav", True), Trial("bob", "1.wav", False), Trial("ann", "2.wav", False)]
    )
    found, said_by = named(table, [["3.wav", "4.wav"], ["5.wav"]])
    assert found == {"ann": "ann", "bob": "bob", "1.wav": "ann", "2.wav": ""}
    assert said_by == "enrollment ids"
    # two models of one speaker: their ids are nobody's name
    table = table_of([Trial("m1", "1.wav", True), Trial("m2", "1.wav", True)])
    assert set(named(table, [["3.wav"], ["4.wav"]])[0].values()) == {""}
    # what the enrollments are made of says it
    table = table_of([Trial("m1", "ann/1.wav", True), Trial("m2", "ann/1.wav", False)])
    found, said_by = named(table, [["ann/3.wav", "ann/4.wav"], ["bob/5.wav"]])
    assert found == {"m1": "ann", "m2": "bob", "ann/1.wav": "ann"} and said_by == "folders"


def test_recordings_without_a_convention_have_no_names() -> None:
    table = table_of([Trial("a.wav", "b.wav", True), Trial("a.wav", "c.wav", False)])
    assert set(named(table)[0].values()) == {""}

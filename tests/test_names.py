from __future__ import annotations

import pytest

from groove.errors import SettingsError
from groove.voiceprints.names import normalise_name


def test_what_looks_the_same_is_one_name() -> None:
    assert normalise_name("Jose\u0301") == normalise_name("Jos\u00e9") == "Jos\u00e9"
    assert normalise_name("  Anna \t Maria\n") == "Anna Maria"
    assert normalise_name("\u30af\u3099") == "\u30b0"


@pytest.mark.parametrize(
    "name", ["张三", "می\u200cخواهم", "Ολγα", "Nguyễn Văn A", "👩‍🔬", "O'Neill; --"]
)
def test_names_of_any_script_stay_as_they_are(name: str) -> None:
    assert normalise_name(name) == name


def test_case_and_width_count() -> None:
    assert normalise_name("anna") != normalise_name("Anna")
    assert normalise_name("Ａ") != normalise_name("A")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "0 characters"),
        (" \n ", "0 characters"),
        ("x" * 201, "201 characters"),
        ("a\x00b", r"U\+0000"),
        ("abc\u202ecba", r"U\+202E"),
        ("a\ud800", r"U\+D800"),
    ],
)
def test_what_cannot_be_seen_is_refused(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        normalise_name(name)

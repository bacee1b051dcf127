"""The manual is tested: both languages hold the same commands, and the commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from groove.cli import app
from groove.models import catalogue
from groove.version import VERSION
from tests.conftest import ROOT

READMES = ("README.md", "README_ch.md")
RECIPE = "docs/recipes/cnceleb.md"


def code_lines(name: str) -> list[str]:
    """Every line inside a code block, without comments and the words beside the arrows."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    lines = [line.split("#")[0].rstrip() for block in blocks for line in block.splitlines()]
    return [re.sub(r"^(groove/\S+).*", r"\1", line) for line in lines]


def commands(name: str) -> list[list[str]]:
    """The `groove` commands of a document, as argument lists."""
    lines = [line.removeprefix("$ ") for line in code_lines(name)]
    lines = [line.removeprefix(".venv/bin/").removeprefix(".venv-train/bin/") for line in lines]
    return [shlex.split(line)[1:] for line in lines if line.startswith("groove ")]


def test_both_readmes_hold_the_same_commands_in_the_same_order() -> None:
    english, chinese = map(code_lines, READMES)
    assert english == chinese


@pytest.mark.parametrize(
    "pair",
    [READMES, *((f"docs/{n}.md", f"docs/{n}_ch.md") for n in ("model-card", "privacy"))],
    ids=lambda pair: str(pair[0]),
)
def test_the_tables_of_both_languages_hold_the_same_numbers(pair: tuple[str, str]) -> None:
    tables = [
        re.findall(r"^\|.*\|$", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name in pair
    ]
    numbers = [re.findall(r"\d+(?:\.\d+)?", " ".join(table)) for table in tables]
    assert numbers[0] == numbers[1] and len(tables[0]) > 5


ROWS = {  # of the short tables -> of RESULTS.md, section 6
    "clean, whole utterance": "full",
    "noise, 10 dB": "noise 10 dB",
    "telephone, 8 kHz G.711": "8 kHz G.711",
    "babble of six voices, 10 dB": "babble 10 dB",
    "Opus, 18 kbit/s": "Opus 16 kbit/s",
    "1 s": "crop 1 s",
    "crops of 1 s": "crop 1 s",
    "crops of 2 s": "crop 2 s",
    "crops of 3 s": "crop 3 s",
    "about 10 s": "about 10 s joined",
    "about 10 s, joined": "about 10 s joined",
}


@pytest.mark.parametrize(("name", "least"), [("README.md", 8), ("docs/model-card.md", 12)])
def test_the_short_tables_are_those_of_the_results(name: str, least: int) -> None:
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    section = results.split("\n## 6. ")[1].split("\n## 7. ")[0]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines()]
    measured = {(row[0], row[1]): row[4] for row in table if len(row) == 6}
    models = ("groove-ecapa", "campplus-zh-en", "Resemblyzer")
    text, seen = (ROOT / name).read_text(encoding="utf-8"), 0
    for line in re.findall(r"^\|.*\|$", text, flags=re.MULTILINE):
        label, *cells = (cell.strip() for cell in line.split("|")[1:-1])
        if len(cells) >= 3 and re.fullmatch(r"\d+\.\d\d \(.*\)", cells[0]):
            condition = ROWS.get(label, label)
            for model, cell in zip(models, cells, strict=False):
                assert measured[condition, model] == cell, (label, model)
            seen += 1
    assert seen >= least


def test_no_placeholder_is_left() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        assert "@@" not in path.read_text(encoding="utf-8"), path


def test_every_command_is_in_the_manual_and_has_help_with_an_example() -> None:
    groups = {name for name, command in app.commands.items() if hasattr(command, "commands")}
    words = {" ".join(c[: 1 + (c[0] in groups)]) for c in commands("README.md")}
    found = {}
    for name, command in app.commands.items():
        for sub, inner in getattr(command, "commands", {"": command}).items():
            found[f"{name} {sub}".strip()] = inner.help or ""
    assert set(found) == words
    for name, text in found.items():
        assert "Example:  groove" in text, name


@pytest.mark.parametrize("name", (*READMES, RECIPE))
def test_the_options_in_the_manual_exist(name: str) -> None:
    for arguments in commands(name):
        command = app
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]  # type: ignore[attr-defined]
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {a for a in arguments if a.startswith("--")} <= known, arguments


def test_the_kinds_in_the_manual_are_the_importers() -> None:
    importers = pytest.importorskip("groove.training.importers", exc_type=ImportError)
    for name in READMES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert all(f"`{kind}`" in text for kind in importers.KINDS)
    assert {entry.kind for entry in catalogue().values()} <= set(importers.KINDS)


def test_links_in_the_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_command_starts_and_shows_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "groove", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == VERSION


def test_the_metrics_name_where_intervals_are_too_narrow() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert "never knowingly" not in text
    named = text.split("known to be too narrow")[1].split("## ")[0]
    for what in ("Recall@k", "calibration set", "EER 0", "two speakers"):
        assert what in named, what

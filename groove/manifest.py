"""Lists of utterances: one JSON object per line = one recording of one speaker.

    {"utterance_id": "id00012-singing-01", "speaker_id": "id00012", "path": "wav/a.flac",
     "seconds": 4.2, "genre": "singing"}                                     (on one line)

The four keys are required; every further key is kept in ``Utterance.fields`` (genre, session,
language and the like). A relative path is relative to the folder of the manifest, so that a corpus
can be moved together with its list. Ids are unique. Blank lines are skipped; the text is UTF-8.
The format is described in docs/manifest.md.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groove.errors import ManifestError

REQUIRED = ("utterance_id", "speaker_id", "path", "seconds")
HELP = "See docs/manifest.md"


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker; ``fields`` holds what else is known about it."""

    utterance_id: str
    speaker_id: str
    path: Path  # opens from the current folder; the manifest's own folder is already in it
    seconds: float
    fields: dict[str, Any] = field(default_factory=dict, hash=False)


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read a manifest; the recordings themselves are not opened.

    Raises:
        ManifestError: no such file, not UTF-8, no utterance at all, or a line that is not an
            object with the four keys in their types, or an id that occurs twice.
    """
    utterances: list[Utterance] = []
    lines: dict[str, int] = {}
    for where, number, line in read_lines(path):
        utterance = _utterance(line, where, Path(path).parent)
        first = lines.setdefault(utterance.utterance_id, number)
        if first != number:
            raise ManifestError(
                f'{where}: utterance_id "{utterance.utterance_id}" stands in line {first} already; '
                "ids must be unique"
            )
        utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{path}: no utterance in it. {HELP}")
    return utterances


def write_manifest(utterances: Iterable[Utterance], path: str | Path) -> None:
    """Write a manifest aside and rename it, so that it is there whole or not at all.

    Paths below the manifest's folder are written relative to it, others absolute.

    Raises:
        ManifestError: no utterance, an id that occurs twice, a value that JSON does not know, or
            a further field that is called like a required key.
    """
    folder = Path(path).absolute().parent
    seen: set[str] = set()
    lines = []
    for utterance in utterances:
        if utterance.utterance_id in seen:
            raise ManifestError(
                f'{path}: utterance_id "{utterance.utterance_id}" occurs twice; ids must be unique'
            )
        seen.add(utterance.utterance_id)
        lines.append(_line(utterance, folder, f"{path}: {utterance.utterance_id}"))
    if not lines:
        raise ManifestError(f"{path}: no utterance to write")
    write_lines(path, lines)


def read_lines(path: str | Path) -> list[tuple[str, int, str]]:
    """The lines of a list that are not blank, stripped: where ("a.jsonl:17"), number, text.

    Raises:
        ManifestError: no such file, or not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror or error}. {HELP}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text (byte {error.start}). {HELP}") from None
    name = Path(path).name
    numbered = enumerate((line.strip() for line in text.split("\n")), start=1)
    return [(f"{name}:{number}", number, line) for number, line in numbered if line]


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines to a file beside ``path``, then rename it; the folder is made if needed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _utterance(line: str, where: str, folder: Path) -> Utterance:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ManifestError(f"{where}: not JSON ({error}). {HELP}") from None
    if not isinstance(values, dict):
        raise ManifestError(f"{where}: not a JSON object. {HELP}")
    for key in REQUIRED:
        if key not in values:
            raise ManifestError(f'{where}: no "{key}" (keys: {", ".join(values)}). {HELP}')
    for key in REQUIRED[:3]:
        if not isinstance(values[key], str) or not values[key].strip():
            raise ManifestError(f'{where}: "{key}" is {values[key]!r}; wanted text. {HELP}')
    seconds = values["seconds"]
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < math.inf:
        raise ManifestError(f'{where}: "seconds" is {seconds!r}; wanted a positive number. {HELP}')
    return Utterance(
        utterance_id=values["utterance_id"],
        speaker_id=values["speaker_id"],
        path=folder / values["path"],
        seconds=float(seconds),
        fields={key: value for key, value in values.items() if key not in REQUIRED},
    )


def _line(utterance: Utterance, folder: Path, where: str) -> str:
    taken = sorted(set(utterance.fields) & set(REQUIRED))
    if taken:
        raise ManifestError(f"{where}: fields {taken} are required keys; name them otherwise")
    path = Path(utterance.path).absolute()
    values = {
        "utterance_id": utterance.utterance_id,
        "speaker_id": utterance.speaker_id,
        "path": (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix(),
        "seconds": utterance.seconds,
        **utterance.fields,
    }
    try:
        line = json.dumps(values, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{where}: {error}. {HELP}") from None
    _utterance(line, where, folder)  # what is written can be read
    return line

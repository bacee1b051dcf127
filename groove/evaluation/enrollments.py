"""What the ids of a list stand for: recordings by a map, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from groove.errors import ManifestError
from groove.manifest import HELP, read_lines

SHOWN = 3  # names in a message


class Search:
    """Looks for each name once and remembers which have no file."""

    def __init__(self, find: Callable[[str], Path | None]) -> None:
        self._find = find
        self._found: dict[str, Path | None] = {}
        self.missing: list[str] = []

    def __call__(self, name: str) -> Path | None:
        """The file of a name, or None."""
        if name not in self._found:
            self._found[name] = self._find(name)
            if self._found[name] is None:
                self.missing.append(name)
        return self._found[name]


def read_enroll_map(path: Path) -> dict[str, list[str]]:
    """Lines ``enrollment recording recording ...``.

    Raises:
        ManifestError: a line without a recording, or an enrollment that stands in it twice.
    """
    found: dict[str, list[str]] = {}
    for where, _, line in read_lines(path):
        name, *recordings = line.split()
        if not recordings:
            raise ManifestError(f"{where}: enrollment {name} has no recording. {HELP}")
        if name in found:
            raise ManifestError(f"{where}: enrollment {name} stands in it already")
        found[name] = recordings
    return found


def owners_of(ids: Sequence[str], enroll_map: Path | None) -> list[list[str]]:
    """The recordings behind each id: itself, or what the map says.

    Raises:
        ManifestError: a malformed map, or an id that it lacks.
    """
    if enroll_map is None:
        return [[name] for name in ids]
    known = read_enroll_map(enroll_map)
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise ManifestError(
            f"{enroll_map.name}: does not say what {some_of(unknown)} of the trials mean (it knows "
            f"{len(known)} enrollments)"
        )
    return [known[name] for name in ids]


def all_or_none(files: Sequence[Path | None]) -> tuple[Path, ...] | None:
    """The files; None if one of them is missing."""
    found = tuple(file for file in files if file is not None)
    return found if len(found) == len(files) else None


def some_of(names: Sequence[str]) -> str:
    """The first names, for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

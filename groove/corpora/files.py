"""The recordings of a corpus: which there are, and which one a list means.

CN-Celeb's lists say ``.wav`` where the release holds ``.flac``; whoever converted the corpus has it
the other way round. So a recording is looked for under the name that the list gives, then under
the same name with another suffix (`resolve_audio`).

A corpus is read into `SourceFile` records, sorted by speaker and name: what a file system lists
first never decides anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".m4a", ".sph")  # tried in this order
AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "caf", "w64"),
        *("rf64", "sph", "nist", "m4a", "mp4", "aac", "amr", "wma", "webm", "mkv", "mka", "mov"),
        "3gp",
    )
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One recording of a corpus; it has not been opened."""

    utterance_id: str
    speaker_id: str
    path: str  # absolute
    genre: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that is not used, and why."""

    path: str
    speaker_id: str
    kind: str  # a few words that several files share, for counting
    reason: str


@dataclass(frozen=True)
class Count:
    """How many there are of something whose number was published."""

    what: str
    published: int
    found: int


@dataclass(frozen=True)
class Corpus:
    """What a corpus offers for training and validation.

    Attributes:
        files: sorted by speaker, then utterance.
        held_out: speakers that must never be among them (the evaluation's).
        dropped: files that are not recordings by their names.
        counts: against the published numbers; differing ones become warnings.
        warnings: what else is not as it should be.
    """

    name: str
    files: list[SourceFile]
    held_out: frozenset[str] = frozenset()
    n_held_out_files: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    counts: tuple[Count, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve_audio(path: Path) -> Path | None:
    """The file of that name, else of that name with another audio suffix; None: there is none."""
    if path.is_file():
        return path
    bare = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    for suffix in SUFFIXES:
        candidate = bare.with_name(bare.name + suffix)
        if candidate.is_file():
            return candidate
    return None


def folders_in(folder: str | Path) -> list[str]:
    """Names of the folders in a folder, sorted; links to folders count."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def unwritable(path: str, speaker_id: str) -> Dropped | None:
    """The record of a file whose name no list can hold, for it is not UTF-8; None: it is."""
    try:
        path.encode()
    except UnicodeEncodeError:  # the system's other bytes come as lone surrogates
        shown, speaker = (
            name.encode(errors="backslashreplace").decode() for name in (path, speaker_id)
        )
        return Dropped(shown, speaker, "name not UTF-8", "its name is not UTF-8; rename it")
    return None


def files_below(folder: str | Path, *, beneath: str = "") -> Iterator[str]:
    """Every file below a folder, as a path relative to it with ``/``, in sorted order."""
    with os.scandir(os.path.join(folder, beneath)) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries)
    for name, is_folder in found:
        inner = f"{beneath}/{name}" if beneath else name
        if is_folder:
            yield from files_below(folder, beneath=inner)
        else:
            yield inner


def is_audio_name(name: str) -> bool:
    """Whether a file's suffix is one of audio."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def other_file(path: str, speaker_id: str) -> Dropped:
    """The record of a file whose name is not a recording's."""
    suffix = os.path.splitext(path)[1] or "none"
    return Dropped(path, speaker_id, "not audio by name", f"suffix {suffix}; wanted one of audio")

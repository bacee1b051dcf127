"""Finding the recording that a list means.

CN-Celeb's lists say ``.wav`` where the release holds ``.flac``; whoever converted the corpus has it
the other way round. So a recording is looked for under the name that the list gives, then under
the same name with another suffix.
"""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".m4a", ".sph")


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

"""Utterances joined from short recordings, as preprocessing writes them: parts, read back to back.

The field ``"parts"`` of a manifest's line lists the paths (as in the manifest) and seconds of the
files that an utterance is made of; its own path is the first of them. No joined audio is written
anywhere, so whoever opens an utterance reads its parts one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import ManifestError
from groove.manifest import Utterance

Files = tuple[Path, ...]


def parts_of(utterance: Utterance) -> tuple[tuple[Path, float], ...]:
    """The files that an utterance is made of and their seconds, in order: one, but for joined ones.

    Raises:
        ManifestError: ``parts`` that are not a list of paths and seconds, or that do not begin
            with the utterance's own path (relative ones could not be found then).
    """
    listed = utterance.fields.get("parts")
    if listed is None:
        return ((Path(utterance.path), utterance.seconds),)
    try:
        named = [(Path(part["path"]), float(part["seconds"])) for part in listed]
        first = named[0][0]
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise ManifestError(
            f'{utterance.utterance_id}: "parts" is damaged ({error!r}); wanted a list of '
            '{"path", "seconds"}: prepare the corpus again'
        ) from None
    folder = Path(utterance.path)
    if first.is_absolute():
        folder = folder.parent
    elif folder.parts[-len(first.parts) :] == first.parts:
        folder = Path(*folder.parts[: -len(first.parts)])
    else:
        raise ManifestError(
            f'{utterance.utterance_id}: its parts begin with "{first}" but its path is '
            f"{utterance.path}; wanted the same file: prepare the corpus again"
        )
    return tuple((folder / path, seconds) for path, seconds in named)


def files_of_utterance(utterance: Utterance) -> Files:
    """The files of `parts_of` alone."""
    return tuple(path for path, _ in parts_of(utterance))


def joined_files(groups: Iterable[Files]) -> dict[Path, Files]:
    """The groups of more than one file by their first, which stands for the whole utterance.

    Raises:
        ManifestError: one file begins two different utterances, so that it cannot stand for both.
    """
    found: dict[Path, Files] = {}
    for files in groups:
        if found.setdefault(files[0], files) != files:
            raise ManifestError(
                f"{files[0]}: begins two utterances of different parts; one file can begin one: "
                "take lists of one preparation"
            )
    return {first: files for first, files in found.items() if len(files) > 1}


def read_joined(
    files: Sequence[Path], *, channel: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """The whole files back to back, [S] float32, and their rate.

    Raises:
        AudioError: one of them cannot be read.
    """
    return np.concatenate([read_audio(path, channel=channel) for path in files]), SAMPLE_RATE

"""val_meta.jsonl, the recordings that preprocessing held back for validation, as utterances."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from groove.corpora.files import resolve_audio
from groove.errors import ManifestError
from groove.manifest import HELP, Utterance, read_lines


def read_val_meta(path: Path) -> list[Utterance]:
    """The lines of val_meta.jsonl as utterances whose path is what is there: audio, else features.

    Raises:
        ManifestError: no such file, a line without its keys, or a list of a folder that was not
            prepared to the end, or changed since.
    """
    _refuse_half_prepared(path)
    utterances = []
    for where, _, line in read_lines(path):
        try:
            values = json.loads(line)
            speaker, utterance = str(values["speaker_id"]), str(values["utterance_id"])
            sources = [str(values[key]) for key in ("audio", "feat") if values.get(key)]
            seconds = float(values.get("seconds") or 0.0)
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestError(
                f"{where}: {type(error).__name__} {error}; wanted speaker_id, utterance_id, and "
                "audio or feat. Make it with  python processed/preprocess_cnceleb2_train.py"
            ) from None
        if not sources:
            raise ManifestError(f'{where}: neither "audio" nor "feat" names a file')
        found = [p for source in sources if (p := _from_here(Path(source), path.parent))]
        known = ("speaker_id", "utterance_id", "feat", "audio", "seconds")
        utterances.append(
            Utterance(
                utterance,
                speaker,
                found[0] if found else Path(sources[0]),
                seconds,
                {key: value for key, value in values.items() if key not in known},
            )
        )
    if not utterances:
        raise ManifestError(f"{path}: no utterance in it. {HELP}")
    return utterances


def _refuse_half_prepared(path: Path) -> None:
    """In a folder that `groove prepare` worked in, the list must be the one it closed with."""
    if not (path.is_file() and path.with_name("probed.jsonl").is_file()):
        return
    try:
        values = json.loads(path.with_name("prepared.json").read_text(encoding="utf-8"))
        wanted = values["sha256"].get(path.name)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise ManifestError(
            f"{path.parent}: no usable prepared.json beside probed.jsonl, so it was not prepared "
            "to the end; run groove prepare again"
        ) from None
    if wanted not in (None, hashlib.sha256(path.read_bytes()).hexdigest()):
        raise ManifestError(
            f"{path}: not the list that prepared.json was written with; run groove prepare again, "
            "or use the changed list from another folder"
        )


def _from_here(path: Path, folder: Path) -> Path | None:
    """The file as the list's folder sees it, as the current folder does, or not at all.

    In this order: a file of the same name that happens to lie here is not the list's.
    """
    return (None if path.is_absolute() else resolve_audio(folder / path)) or resolve_audio(path)

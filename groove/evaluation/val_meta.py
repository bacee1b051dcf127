"""val_meta.jsonl, the recordings that preprocessing held back for validation, as utterances."""

from __future__ import annotations

import json
from pathlib import Path

from groove.corpora.files import resolve_audio
from groove.errors import ManifestError
from groove.manifest import HELP, Utterance, read_lines


def read_val_meta(path: Path) -> list[Utterance]:
    """The lines of val_meta.jsonl as utterances whose path is what is there: audio, else features.

    Raises:
        ManifestError: no such file, or a line without its keys.
    """
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


def _from_here(path: Path, folder: Path) -> Path | None:
    """The file as the current folder sees it, as the list's folder does, or not at all."""
    return resolve_audio(path) or (None if path.is_absolute() else resolve_audio(folder / path))

"""A folder of recordings as one list, nothing chosen and nothing left out but what is damaged."""

from __future__ import annotations

import tempfile
from pathlib import Path

from groove.corpora.files import Corpus, Dropped
from groove.errors import CorpusError
from groove.manifest import Utterance, write_manifest
from groove.preparation.probing import probe_files
from groove.preparation.progress import Progress, silent


def write_list(
    corpus: Corpus, out: Path, *, workers: int = 1, progress: Progress = silent
) -> tuple[list[Utterance], list[Dropped]]:
    """Listen to every file and write those that can be read as a manifest.

    Args:
        corpus: its files.
        out: the list; it appears whole or not at all.
        workers: processes.
        progress: see `groove.preparation.progress`.

    Returns:
        What is in the list, and what is not, with the reason.

    Raises:
        CorpusError: no file can be used.
        ManifestError: see `write_manifest`.
    """
    with tempfile.TemporaryDirectory() as journal:
        probed = probe_files(corpus.files, Path(journal), workers=workers, progress=progress)
    utterances = [
        Utterance(
            file.utterance_id,
            file.speaker_id,
            Path(file.path),
            round(float(seconds), 6),
            {"session": file.session} if file.session else {},
        )
        for file, seconds in zip(corpus.files, probed.seconds.tolist(), strict=True)
        if seconds == seconds  # NaN where a file cannot be used
    ]
    dropped = [*corpus.dropped, *probed.dropped]
    if not utterances:
        raise CorpusError(f"{corpus.name}: no file can be used; the first: {dropped[0].reason}")
    write_manifest(utterances, out)
    return utterances, dropped

"""Any folder of recordings sorted by speaker: VoxCeleb, AISHELL, one's own.

    <root>/<speaker>/<utterance>.wav                  as AISHELL lies on disk
    <root>/<speaker>/<session>/<utterance>.m4a        as VoxCeleb does (the session is the video)

Folders between speaker and recording are the session. Where the speakers' folders lie deeper
(``<root>/<corpus>/<speaker>/...``), ``speaker_depth`` says so, and a speaker is called
``corpus/speaker``. An utterance is called by its path without the suffix.
"""

from __future__ import annotations

import os
from pathlib import Path

from groove.corpora.files import (
    Corpus,
    Dropped,
    SourceFile,
    files_below,
    folders_in,
    is_audio_name,
    other_file,
    unwritable,
)
from groove.errors import CorpusError


def read_folder(root: Path, *, speaker_depth: int = 1) -> Corpus:
    """List a tree of recordings.

    Args:
        root: the folder.
        speaker_depth: how deep below it the speakers' folders lie.

    Raises:
        CorpusError: no such folder, or no recording in it that lies in a speaker's folder; or it
            is CN-Celeb's, which has its own reader.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; wanted one that holds a folder per speaker")
    base = os.path.abspath(root)
    _refuse_cnceleb(Path(base))
    for name in folders_in(base):
        if os.path.islink(os.path.join(base, name)):
            _refuse_cnceleb(Path(base, name))
    files: list[SourceFile] = []
    dropped: list[Dropped] = []
    taken: set[str] = set()
    for relative in files_below(base):
        *folders, _ = relative.split("/")
        path, name = os.path.join(base, relative), os.path.splitext(relative)[0]
        if folders[-2:] == ["eval", "lists"] or relative.endswith("/dev/dev.lst"):
            _refuse_cnceleb(Path(path))
        speaker = "/".join(folders[:speaker_depth])
        if lost := unwritable(path, speaker):
            dropped.append(lost)
        elif not is_audio_name(relative):
            dropped.append(other_file(path, speaker))
        elif len(folders) < speaker_depth:
            dropped.append(Dropped(path, "", "no speaker", "not in a speaker's folder"))
        elif name in taken:
            dropped.append(Dropped(path, speaker, "twice", f"{name} is there with another suffix"))
        else:
            taken.add(name)
            session = "/".join(folders[speaker_depth:]) or None
            files.append(SourceFile(name, speaker, path, session=session))
    if not files:
        raise CorpusError(
            f"{root}: no recordings in speakers' folders (speaker depth {speaker_depth}); wanted "
            "<root>/<speaker>/<utterance>.wav, or another --speaker-depth"
        )
    files.sort(key=lambda file: (file.speaker_id, file.utterance_id))
    return Corpus(name=os.path.basename(base), files=files, dropped=dropped)


def _refuse_cnceleb(place: Path) -> None:
    """CN-Celeb1 keeps its 200 evaluation speakers in one folder with those to train on.

    It is known by its lists, beside the folder or above it, wherever a link to it lies.
    """
    real = place.resolve()
    for root in (real, *real.parents):
        has_lists = (root / "dev" / "dev.lst").is_file() or (root / "eval" / "lists").is_dir()
        if has_lists and (root / "data").is_dir():
            raise CorpusError(
                f"{place}: belongs to CN-Celeb, whose data/ holds the evaluation speakers too; "
                f"groove prepare cnceleb --root {root}  keeps them out by its lists"
            )

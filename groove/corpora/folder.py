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
    keep_out = _CnCeleb()
    keep_out.refuse(base)
    files: list[SourceFile] = []
    dropped: list[Dropped] = []
    taken: set[str] = set()
    for relative in files_below(base):
        *folders, _ = relative.split("/")
        path, name = os.path.join(base, relative), os.path.splitext(relative)[0]
        keep_out.refuse(path)
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


class _CnCeleb:
    """Refuses what lies in CN-Celeb1, which keeps its 200 evaluation speakers among the others.

    It is known by its lists, above whatever a path really is, so that links do not hide it. A
    folder is looked at once.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}  # folder -> the corpus that it is in, or nothing

    def refuse(self, path: str) -> None:
        """Raise `CorpusError` where the path is of CN-Celeb1."""
        real = os.path.realpath(path) if os.path.islink(path) else path
        if corpus := self._corpus_of(real if os.path.isdir(real) else os.path.dirname(real)):
            raise CorpusError(
                f"{path}: belongs to CN-Celeb, whose data/ holds the evaluation speakers too; "
                f"groove prepare cnceleb --root {corpus}  keeps them out by its lists"
            )

    def _corpus_of(self, folder: str) -> str:
        if folder not in self._known:
            real = Path(os.path.realpath(folder))
            found = [str(root) for root in (real, *real.parents) if _has_lists(root)]
            self._known[folder] = found[0] if found else ""
        return self._known[folder]


def _has_lists(root: Path) -> bool:
    lists = ("dev/dev.lst", "eval/lists/enroll.lst", "eval/lists/trials.lst")
    return any((root / name).is_file() for name in lists)

"""CN-Celeb 1 and 2 as OpenSLR 82 releases them: what may be trained on, what never.

    CN-Celeb_flac/data/<speaker>/<genre>-<session>-<utterance>.flac   997 speakers
    CN-Celeb_flac/dev/dev.lst                                         the 797 to train on
    CN-Celeb_flac/eval/lists/{enroll.lst,enroll.map,test.lst,trials.lst}
    CN-Celeb2_flac/data/<speaker>/...                                 1,996 more to train on
    CN-Celeb2_flac/spk.lst                                            their ids

``data/`` of CN-Celeb1 holds the 200 evaluation speakers too. Which speakers are trained on is what
the lists say, never what folder or number they have; without ``dev.lst`` the corpus is refused. A
speaker whom both ``dev.lst`` and an evaluation list name means that the lists are not of one
release, and is refused as well.

Genre and session are read from the right of the name, since ``live_broadcast`` holds an underscore
and speakers have dashes before them in ``eval/test``. Sessions are numbered within a genre, so the
session here is ``singing-01``.

Licence: CC BY-SA 4.0, as OpenSLR states it. Sources: Fan et al. 2020 (arXiv 1911.01799) and Li et
al. 2022 (arXiv 2012.12468) for the sizes; Chen et al. 2022 (arXiv 2206.11699) for the 632,740
training utterances; evaluation counts from the released lists.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from groove.corpora.files import (
    Corpus,
    Count,
    Dropped,
    SourceFile,
    files_below,
    folders_in,
    is_audio_name,
    other_file,
    unwritable,
)
from groove.errors import CorpusError
from groove.manifest import read_lines

ARCHIVE1, ARCHIVE2 = "cn-celeb_v2.tar.gz", "cn-celeb2_v2.tar.gz (gzaa + gzab + gzac)"
WHERE = "https://www.openslr.org/82/"
GENRES = {  # files of each in data/ of CN-Celeb1, the evaluation speakers' included
    "interview": 59_556,
    "entertainment": 22_137,
    "singing": 12_561,
    "live_broadcast": 8_747,
    "speech": 8_404,
    "drama": 4_994,
    "play": 4_244,
    "recitation": 2_747,
    "vlog": 1_894,
    "movie": 1_127,
    "advertisement": 121,
}
EVAL_GENRES = {  # tests of each in eval/test, of 200 speakers
    "interview": 6_175,
    "entertainment": 3_434,
    "live_broadcast": 2_304,
    "speech": 2_089,
    "singing": 2_017,
    "vlog": 776,
    "drama": 661,
    "movie": 146,
    "recitation": 105,
    "play": 50,
    "advertisement": 20,
}
NAME = re.compile(r"([a-z_]+)-(\d+)-(\d+)")
SPEAKER = re.compile(r"id\d{5}")
FIRST = "id00"  # how the speakers of CN-Celeb1 begin; those of CN-Celeb2 are id10000 and on
SHOWN = 3  # names in a warning about many


def read_cnceleb(root: Path | None, root2: Path | None = None) -> Corpus:
    """List what may be trained on, and count everything whose number was published.

    Args:
        root: ``CN-Celeb_flac``; None leaves CN-Celeb1 out, and with it the evaluation's lists.
        root2: ``CN-Celeb2_flac``; None leaves CN-Celeb2 out.

    Raises:
        CorpusError: a folder or ``dev.lst`` / ``spk.lst`` is missing or malformed, or the lists
            contradict each other.
    """
    found = _Found()
    if root is None and root2 is None:
        raise CorpusError("neither CN-Celeb1 nor CN-Celeb2 is given; wanted --root or --root2")
    dev = _read_first(root, found) if root is not None else set()
    files = [*found.files]
    if root2 is not None:
        files += _read_second(root2, found, dev)
    if not files:
        raise CorpusError(f"{root or root2}: no recordings of the listed speakers below data/")
    files.sort(key=lambda file: (file.speaker_id, file.utterance_id))
    if root is not None and root2 is not None:
        n_speakers = len({file.speaker_id for file in files})
        found.count("training speakers in all", 2_793, n_speakers)
        found.count("training utterances in all", 632_740, len(files))
    return Corpus(
        name=_name(root, root2),
        files=files,
        held_out=frozenset(found.held_out),
        n_held_out_files=found.n_held_out_files,
        dropped=found.dropped,
        counts=tuple(found.counts),
        warnings=tuple(found.warnings),
    )


def _name(root: Path | None, root2: Path | None) -> str:
    if root2 is None:
        return "CN-Celeb"
    return "CN-Celeb2" if root is None else "CN-Celeb1 + CN-Celeb2"


def parse_name(stem: str) -> tuple[str, str] | None:
    """Genre and session of a recording's name; None if it is not of that form.

    >>> parse_name("live_broadcast-02-017")
    ('live_broadcast', 'live_broadcast-02')
    >>> parse_name("id00800-singing-01-005")
    ('singing', 'singing-01')
    """
    match = NAME.fullmatch("-".join(stem.rsplit("-", 3)[-3:]))
    return (match[1], f"{match[1]}-{match[2]}") if match else None


@dataclass
class _Found:
    """What has been seen so far."""

    files: list[SourceFile] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    held_out: set[str] = field(default_factory=set)
    n_held_out_files: int = 0
    counts: list[Count] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def count(self, what: str, published: int, found: int) -> None:
        self.counts.append(Count(what, published, found))

    def warn_of(self, names: Iterable[str], what: str) -> None:
        if listed := sorted(names):
            shown = ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")
            self.warnings.append(f"{what}: {len(listed):,} ({shown})")


def _read_first(root: Path, found: _Found) -> set[str]:
    """CN-Celeb1: its training files go into ``found``; returns the training speakers."""
    data = _data_folder(root, ARCHIVE1)
    dev = _speaker_list(root / "dev" / "dev.lst", ARCHIVE1)
    there = folders_in(data)
    evaluation = _evaluation_speakers(root / "eval" / "lists", found)
    if both := sorted(dev & evaluation):
        raise CorpusError(
            f"{root}: dev/dev.lst and eval/lists/ both name {both[0]} ({len(both)} speakers in "
            f"both); a speaker is in one of them: restore the lists from {ARCHIVE1}"
        )
    found.held_out |= (set(there) - dev) | evaluation
    genres: Counter[str] = Counter()
    for speaker in there:
        kept, others = _speaker_files(data, speaker)
        genres.update(file.genre or "" for file in kept)
        if speaker in dev:
            found.files += kept
            found.dropped += others
        else:
            found.n_held_out_files += len(kept)
    found.warn_of(dev - set(there), "CN-Celeb1: speakers of dev.lst without a folder in data/")
    n_files = len(found.files) + found.n_held_out_files
    found.count("CN-Celeb1: speakers in data/", 997, len(there))
    found.count("CN-Celeb1: utterances in data/", 126_532, n_files)
    found.count("CN-Celeb1: speakers in dev.lst", 797, len(dev))
    found.count("CN-Celeb1: utterances of dev.lst", 107_953, len(found.files))
    found.count("CN-Celeb1: evaluation speakers in data/", 200, len(set(there) - dev))
    found.count("CN-Celeb1: their utterances in data/", 18_579, found.n_held_out_files)
    for genre, published in GENRES.items():
        found.count(f"CN-Celeb1: {genre} in data/", published, genres[genre])
    _count_evaluation(root / "eval", found)
    _warn_of_names(found.files, found, "CN-Celeb1")
    return dev


def _read_second(root: Path, found: _Found, dev: set[str]) -> list[SourceFile]:
    """The files of CN-Celeb2."""
    data = _data_folder(root, ARCHIVE2)
    speakers = _speaker_list(root / "spk.lst", ARCHIVE2)
    for others, where in ((found.held_out, "the evaluation of CN-Celeb1"), (dev, "dev.lst")):
        if both := sorted(speakers & others):
            raise CorpusError(
                f"{root}/spk.lst: names {both[0]}, who is in {where} too ({len(both)} speakers in "
                "both); was CN-Celeb1 given twice? wanted CN-Celeb2_flac"
            )
    if first := sorted(s for s in speakers if s.startswith(FIRST)):  # known without its lists
        raise CorpusError(
            f"{root}/spk.lst: names {first[0]}, who is of CN-Celeb1 ({len(first)} such); wanted "
            "CN-Celeb2_flac"
        )
    there = set(folders_in(data))
    files: list[SourceFile] = []
    for speaker in sorted(there & speakers):
        kept, others_ = _speaker_files(data, speaker)
        files += kept
        found.dropped += others_
    found.warn_of(speakers - there, "CN-Celeb2: speakers of spk.lst without a folder in data/")
    found.warn_of(
        there - speakers, "CN-Celeb2: folders in data/ that spk.lst does not name, unused"
    )
    found.count("CN-Celeb2: speakers in spk.lst", 1_996, len(speakers))
    found.count("CN-Celeb2: speakers in data/", 1_996, len(there))
    found.count("CN-Celeb2: utterances", 524_787, len(files))
    _warn_of_names(files, found, "CN-Celeb2")
    return files


def _data_folder(root: Path, archive: str) -> Path:
    if not root.is_dir():
        alone = "; or take CN-Celeb1 alone: groove prepare cnceleb without --root2"
        raise CorpusError(
            f"{root}: no such folder; download {archive} from {WHERE} and unpack it"
            f"{alone if archive == ARCHIVE2 else ''}"
        )
    if not (root / "data").is_dir():
        raise CorpusError(
            f"{root}: no folder data/ in it; wanted what {archive} of {WHERE} unpacks to"
        )
    return root / "data"


def _speaker_list(path: Path, archive: str) -> set[str]:
    """The ids in ``dev.lst`` or ``spk.lst``, one a line."""
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such list, and only it says who may be trained on; restore it from "
            f"{archive} of {WHERE}"
        )
    speakers = set()
    for where, _, line in read_lines(path):
        if not SPEAKER.fullmatch(line):
            raise CorpusError(f"{where}: {line!r:.60}; wanted a speaker id such as id00012")
        speakers.add(line)
    if not speakers:
        raise CorpusError(f"{path}: empty; restore it from {archive} of {WHERE}")
    return speakers


def _speaker_files(data: Path, speaker: str) -> tuple[list[SourceFile], list[Dropped]]:
    """A speaker's recordings, and what else lies there."""
    kept: dict[str, SourceFile] = {}
    others: list[Dropped] = []
    folder = os.path.join(os.path.abspath(data), speaker)
    for relative in files_below(folder):
        path, stem = os.path.join(folder, relative), os.path.splitext(relative)[0]
        name = f"{speaker}-{stem.replace('/', '-')}"
        if lost := unwritable(path, speaker):
            others.append(lost)
        elif not is_audio_name(relative):
            others.append(other_file(path, speaker))
        elif name in kept:
            others.append(Dropped(path, speaker, "twice", f"{name} is there with another suffix"))
        else:
            genre, session = parse_name(os.path.basename(stem)) or (None, None)
            kept[name] = SourceFile(name, speaker, path, genre, session)
    return list(kept.values()), others


def _evaluation_speakers(lists: Path, found: _Found) -> set[str]:
    """Speakers whom the evaluation's lists name."""
    speakers: set[str] = set()
    for name, published in (("enroll.lst", 196), ("enroll.map", 196), ("test.lst", 17_777)):
        is_there = (lists / name).is_file()
        lines = [line for _, _, line in read_lines(lists / name)] if is_there else []
        found.count(f"CN-Celeb1: lines of eval/lists/{name}", published, len(lines))
        if not is_there:
            found.warnings.append(
                f"CN-Celeb1: no eval/lists/{name}; evaluation needs it, and it is one list less "
                "that says whom to hold out"
            )
        for line in lines:
            words = line.split()
            named = {word.rsplit("/", 1)[-1].split("-", 1)[0] for word in (words[0], words[-1])}
            speakers |= {name for name in named if SPEAKER.fullmatch(name)}
    return speakers


def _count_evaluation(folder: Path, found: _Found) -> None:
    names: dict[str, list[str]] = {}
    for name, published in (("enroll", 196), ("test", 17_777)):
        names[name] = []
        if (folder / name).is_dir():
            names[name] = [file for file in files_below(folder / name) if is_audio_name(file)]
        found.count(f"CN-Celeb1: recordings in eval/{name}/", published, len(names[name]))
    stems = [Path(file).stem for file in names["test"]]
    found.count("CN-Celeb1: speakers in eval/test/", 200, len({s.split("-")[0] for s in stems}))
    genres = Counter(parsed[0] for parsed in map(parse_name, stems) if parsed)
    for genre, published in EVAL_GENRES.items():
        found.count(f"CN-Celeb1: {genre} in eval/test/", published, genres[genre])
    n_trials, n_target = _count_trials(folder / "lists" / "trials.lst")
    found.count("CN-Celeb1: trials", 3_484_292, n_trials)
    found.count("CN-Celeb1: target trials", 17_755, n_target)


def _count_trials(path: Path) -> tuple[int, int]:
    """Lines, and lines that end in 1; streamed, for there are 3.5 million."""
    if not path.is_file():
        return 0, 0
    n_trials = n_target = 0
    with path.open("rb") as file:
        for line in file:
            words = line.rsplit(maxsplit=1)
            n_trials += bool(words)
            n_target += bool(words) and words[-1] in (b"1", b"target")
    return n_trials, n_target


def _warn_of_names(files: list[SourceFile], found: _Found, corpus: str) -> None:
    odd = [file.utterance_id for file in files if file.genre is None]
    found.warn_of(odd, f"{corpus}: names without genre and session")
    unknown = {file.genre for file in files if file.genre} - set(GENRES)
    found.warn_of(unknown, f"{corpus}: genres that CN-Celeb does not have")

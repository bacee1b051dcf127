"""What a preparation found and did: one record, for people (`text`) and programs (`to_dict`).

A number that was published and is not what the disk holds is a warning, named precisely; releases
of CN-Celeb differ, so it never stops the work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from groove.corpora.files import Count
from groove.preparation.joining import Group
from groove.preparation.plan import Options, Plan

VERSION = 1


@dataclass(frozen=True)
class Part:
    """Size of the training or validation part."""

    n_speakers: int
    n_utterances: int
    n_files: int  # more than utterances where short ones were joined
    hours: float


@dataclass(frozen=True)
class Stored:
    """Stored features: of which part, how many, how large, by which front end."""

    part: str  # "none", "val" or "all"
    n_utterances: int = 0
    n_bytes: int = 0
    front_end_hash: str = ""


@dataclass(frozen=True)
class Report:
    """The whole of it."""

    corpus: str
    options: Options
    train: Part
    val: Part
    held_out: tuple[str, ...]
    n_held_out_files: int
    genres: dict[str, Part]
    dropped: dict[str, int]  # kind -> files
    counts: tuple[Count, ...]
    warnings: tuple[str, ...]
    stored: Stored

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the same preparation gives the same ones."""
        values = asdict(self)
        return {"version": VERSION, **values}

    def text(self) -> str:
        """The summary that ends a preparation."""
        lines = [_line("train", self.train), _line("validation", self.val)]
        if self.held_out:
            n_speakers = len(self.held_out)
            what = "files, the evaluation's: in neither list"
            lines.append(_row("held out", n_speakers, self.n_held_out_files, what))
        lines += [_line(f"  {genre}", part) for genre, part in self.genres.items()]
        if self.stored.part != "none":
            lines.append(
                f"stored features of {self.stored.n_utterances:,} utterances, "
                f"{size_text(self.stored.n_bytes)}, front end {self.stored.front_end_hash}"
            )
        why = ", ".join(f"{n:,} {kind}" for kind, n in self.dropped.items())
        reasons = f": {why}; each with its reason in dropped.jsonl" if why else ""
        lines.append(f"dropped {sum(self.dropped.values()):,} files{reasons}")
        return "\n".join(lines + [f"warning: {warning}" for warning in self.warnings])


def report_of(plan: Plan, stored: Stored | None = None) -> Report:
    """Count what a plan holds."""
    differing = [
        f"{count.what}: {count.found:,} found, {count.published:,} published"
        for count in plan.corpus.counts
        if count.found != count.published
    ]
    return Report(
        corpus=plan.corpus.name,
        options=plan.options,
        train=_part(plan, plan.train),
        val=_part(plan, plan.val),
        held_out=tuple(sorted(plan.corpus.held_out)),
        n_held_out_files=plan.corpus.n_held_out_files,
        genres=_genres(plan),
        dropped=dict(Counter(one.kind for one in plan.dropped).most_common()),
        counts=plan.corpus.counts,
        warnings=(*plan.corpus.warnings, *differing),
        stored=stored or Stored("none"),
    )


def size_text(n_bytes: int) -> str:
    """A size as people read it, in powers of ten.

    >>> size_text(78_600_000_000), size_text(1_230_000)
    ('78.6 GB', '1.2 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _part(plan: Plan, groups: Iterable[Group]) -> Part:
    speakers: set[str] = set()
    n_utterances, n_files, seconds = 0, 0, 0.0
    for group in groups:
        speakers.add(plan.corpus.files[group[0]].speaker_id)
        n_utterances += 1
        n_files += len(group)
        seconds += plan.seconds_of(group)
    return Part(len(speakers), n_utterances, n_files, round(seconds / 3600, 3))


def _genres(plan: Plan) -> dict[str, Part]:
    """Genres of both parts together, the largest first."""
    by_genre: dict[str, list[Group]] = {}
    for group in [*plan.train, *plan.val]:
        genre = plan.corpus.files[group[0]].genre
        if genre:
            by_genre.setdefault(genre, []).append(group)
    parts = {genre: _part(plan, groups) for genre, groups in by_genre.items()}
    return dict(sorted(parts.items(), key=lambda item: (-item[1].n_files, item[0])))


def _line(name: str, part: Part) -> str:
    joined = f" made of {part.n_files:,} files" if part.n_files != part.n_utterances else ""
    what = f"utterances{joined}, {part.hours:,.2f} h"
    return _row(name, part.n_speakers, part.n_utterances, what)


def _row(name: str, n_speakers: int, n: int, what: str) -> str:
    return f"{name:16}{n_speakers:>6,} speakers {n:>9,} {what}"

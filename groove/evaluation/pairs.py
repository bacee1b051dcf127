"""A score for every pair of a list: what `verify_pairs.py` does.

A line of the list is ``a.wav b.wav``, or a trial in a form of `groove.trials` (its label is kept).
Paths begin at the current folder, else at the list's own. The result is a TSV with a header:
``enrollment``, ``test``, ``score`` and, where the list has labels, ``target``. A pair that cannot
be scored has an empty score, and the reason stands at its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.corpora.files import resolve_audio
from groove.embedder import Embedder
from groove.errors import ManifestError
from groove.evaluation.cache import Embedded, EmbeddingCache, embed_files
from groove.evaluation.scores import pair_scores
from groove.evaluation.systems import STORED_SUFFIX, System
from groove.evaluation.trial_sets import from_val_meta
from groove.manifest import HELP, read_lines, write_lines
from groove.trials import parse_trial, recognise_form


@dataclass(frozen=True)
class Summary:
    """What was written; as text, one line for people."""

    n_pairs: int
    n_without_score: int
    out: Path

    def __str__(self) -> str:
        """One line."""
        lost = f", {self.n_without_score:,} without a score" if self.n_without_score else ""
        return f"{self.n_pairs:,} pairs{lost}: {self.out}"


@dataclass(frozen=True)
class _Pairs:
    names: list[str]
    files: list[Path | None]  # of the names
    a: NDArray[np.int64]  # [N], which name
    b: NDArray[np.int64]
    is_target: NDArray[np.bool_] | None


def score_pairs(
    embedder: Embedder,
    out: Path,
    pairs: Path | None,
    val_meta: Path,
    *,
    workers: int | None = None,
    stored: Callable[[Embedder], Callable[[Path], Embedded]] | None = None,
) -> Summary:
    """Score pairs and write ``out``, aside and then renamed.

    Args:
        embedder: the model.
        out: the TSV to write; its folder is made.
        pairs: the list; None takes every pair of ``val_meta``, drawn by seed where those are many.
        val_meta: see `groove.evaluation.trial_sets.from_val_meta`.
        workers: threads; None takes the machine's cores.
        stored: makes what embeds stored features, for ``val_meta`` without recordings.

    Raises:
        ManifestError: a malformed list, or no pair of which both recordings are there.
    """
    asked = _from_val_meta(val_meta) if pairs is None else _from_list(pairs)
    files = [path for path in asked.files if path is not None]
    workers = workers or os.cpu_count() or 1
    system = System("", embedder)
    if stored is not None and any(path.suffix == STORED_SUFFIX for path in files):
        system = System("", embedder, stored(embedder))
    found = embed_files(
        files, embedder, EmbeddingCache(), workers=workers, embed_one=system.embed_one
    )
    rows = [_row(path, found) for path in asked.files]
    matrix = np.zeros((len(rows), embedder.encoder.card.embedding_size))
    for i, row in enumerate(rows):
        if row.embedding is not None:
            matrix[i] = row.embedding
    usable = np.array([row.embedding is not None for row in rows])
    kept = usable[asked.a] & usable[asked.b]
    if not kept.any():
        reasons = sorted({row.reason for row in rows if row.reason})
        raise ManifestError(f"{pairs or val_meta}: no pair can be scored: {reasons[0]}")
    at = np.cumsum(usable) - 1
    scores = np.full(len(kept), np.nan)
    scores[kept] = pair_scores(matrix[usable], matrix[usable], at[asked.a[kept]], at[asked.b[kept]])
    write_lines(out, _lines(asked, rows, scores))
    return Summary(len(kept), int((~kept).sum()), out)


def _from_val_meta(path: Path) -> _Pairs:
    found = from_val_meta(path)
    table = found.table
    return _Pairs(
        list(table.test_ids),
        list(found.test_files),
        table.enrollment.astype(np.int64),
        table.test.astype(np.int64),
        table.is_target,
    )


def _from_list(path: Path) -> _Pairs:
    lines = read_lines(path)
    if not lines:
        raise ManifestError(f"{path}: no pair in it. {HELP}")
    bare = all(len(line.split()) == 2 for _, _, line in lines)
    form = None if bare else recognise_form(lines[0][2], lines[0][0])
    pairs: list[tuple[str, str]] = []
    labels = []
    for where, _, line in lines[1:] if form == "csv" else lines:
        if form is None:
            a, b = line.split()
        else:
            trial = parse_trial(line, where, form)
            a, b = trial.enrollment_id, trial.test_id
            labels.append(trial.is_target)
        pairs.append((a, b))
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    number = {name: i for i, name in enumerate(names)}
    return _Pairs(
        names,
        [resolve_audio(Path(n)) or resolve_audio(path.parent / n) for n in names],
        np.array([number[a] for a, _ in pairs]),
        np.array([number[b] for _, b in pairs]),
        np.array(labels, dtype=np.bool_) if form else None,
    )


def _row(path: Path | None, found: dict[Path, Embedded]) -> Embedded:
    if path is None:
        return Embedded(None, 0.0, 0.0, 0.0, "no such file")
    return found[path]


def _lines(asked: _Pairs, rows: list[Embedded], scores: NDArray[np.float64]) -> Iterator[str]:
    label = "" if asked.is_target is None else "\ttarget"
    yield f"enrollment\ttest\tscore{label}\treason"
    targets = [""] * len(scores)
    if asked.is_target is not None:
        targets = [f"\t{int(t)}" for t in asked.is_target.tolist()]
    ends = zip(asked.a.tolist(), asked.b.tolist(), scores.tolist(), targets, strict=True)
    for a, b, score, target in ends:
        text = "" if np.isnan(score) else f"{score:.6f}"
        reason = "" if text else (rows[a].reason or rows[b].reason).replace("\t", " ")
        yield f"{asked.names[a]}\t{asked.names[b]}\t{text}{target}\t{reason}"

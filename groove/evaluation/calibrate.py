"""A calibration and a table of thresholds, measured on one trial set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groove.calibration import fit_calibration, threshold_table
from groove.card import ThresholdTable
from groove.embedder import Embedder
from groove.errors import ScoringError
from groove.evaluation.cache import Embedded, EmbeddingCache, embed_files
from groove.evaluation.embedded import EmbeddedTrials, exclusions, files_of
from groove.evaluation.findings import Exclusions
from groove.evaluation.scores import BackEnd
from groove.evaluation.trial_sets import TrialSet
from groove.scoring import Calibration

Progress = Callable[[str, int, int], None]  # what, how many are done, of how many


@dataclass(frozen=True)
class Fitted:
    """What one trial set gave, and what of it could not be used."""

    table: ThresholdTable
    calibration: Calibration
    exclusions: Exclusions
    without_speech: str = ""  # why the calibration leaves out the seconds of speech, if it does
    is_telephone: bool = False  # most trials have telephone sound on both sides


def measure_calibration(
    embedder: Embedder,
    trial_set: TrialSet,
    name: str,
    *,
    cache: EmbeddingCache | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Fitted:
    """Thresholds and calibration of plain cosines on one trial set, for a card.

    Args:
        embedder: the model, cut as its card says.
        trial_set: of speakers that no evaluation holds.
        name: of the data, for the record.
        cache: known embeddings.
        workers: threads.
        progress: called with what is going on, how much is done, and of how much.

    Raises:
        ScoringError: too few trials.
    """
    paths = list(dict.fromkeys(files_of(trial_set)))
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress:
            progress("embedding", done, len(paths))

    known = cache or EmbeddingCache()
    found = embed_files(
        paths,
        embedder,
        known,
        workers=workers,
        progress=advance,
        joined=trial_set.joined,
    )
    return fit_on(trial_set, found, BackEnd(), embedder.encoder.card.embedding_size, name)


def fit_on(
    trial_set: TrialSet, found: Mapping[Path, Embedded], back_end: BackEnd, size: int, name: str
) -> Fitted:
    """Thresholds and calibration of a back end's scores on a trial set.

    With seconds of speech as a quality measure, where the set can tell what they are worth.

    Args:
        trial_set: of speakers that no evaluation holds.
        found: the embedding of each of its recordings.
        back_end: how scores are made.
        size: of an embedding.
        name: of the data, for the record.

    Raises:
        ScoringError: too few trials, or scores of which nothing can be learnt.
    """
    sides = EmbeddedTrials.of(trial_set, found, size, crop_scores=back_end.crop_scores)
    if not 0 < sides.table.n_target < len(sides.table):
        raise ScoringError(
            f"{name}: {sides.table.n_target} target trials of {len(sides.table)} that can be "
            "scored; a calibration needs both kinds"
        )
    scores = back_end.scores(sides.table, sides.enrollment, sides.test)
    speech, target = sides.speech_s(), sides.table.is_target
    who = [
        trial_set.enrollment_speakers[sides.table.enrollment],
        trial_set.test_speakers[sides.table.test],
    ]
    n_speakers = len(np.unique(np.concatenate(who)))
    classes = (scores[target], scores[~target])
    rows = threshold_table(*classes, n_speakers)
    table = ThresholdTable(round(float(np.median(speech[~target])), 2), name, rows)
    try:
        fit = fit_calibration(
            *classes, speech[target], speech[~target], n_speakers=n_speakers, measured_on=name
        )
        without_speech = ""
    except ScoringError as error:  # equal seconds, or too few trials: the score alone must do
        without_speech = f"without seconds of speech: {error}"
        fit = fit_calibration(*classes, n_speakers=n_speakers, measured_on=name)
    is_telephone = float(sides.narrow_band().mean()) > 0.5
    return Fitted(table, fit, exclusions(trial_set, found, sides), without_speech, is_telephone)

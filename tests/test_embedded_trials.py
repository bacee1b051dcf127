"""Enrollments of several recordings, against sums over their crops written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.calibration import fit_calibration
from groove.evaluation.cache import Embedded
from groove.evaluation.calibrate import fit_on
from groove.evaluation.embedded import EmbeddedTrials
from groove.evaluation.result import Llr
from groove.evaluation.scores import BackEnd
from groove.evaluation.trial_sets import TrialSet
from groove.evaluation.trial_table import TrialTable
from tests.fakes import telephone_card

N_SPEAKERS, N_CROPS, D = 6, 3, 8
Crops = dict[Path, NDArray[np.float64]]  # recording -> [N_CROPS, D], unit length


@pytest.fixture
def crops(rng: np.random.Generator) -> Crops:
    """Two recordings to enroll and one to test of each speaker; the second's crops disagree."""
    found = {}
    for speaker in range(N_SPEAKERS):
        voice = rng.standard_normal(D)
        for i, noise in enumerate((0.2, 2.0, 0.5)):
            rows = voice + noise * rng.standard_normal((N_CROPS, D))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            found[Path(f"{speaker}-{i}")] = rows
    return found


@pytest.fixture
def found(crops: Crops) -> dict[Path, Embedded]:
    """What the embedder makes of the crops: their mean's direction and its length."""
    rows = {}
    for path, own in crops.items():
        length = float(np.linalg.norm(own.mean(axis=0)))
        embedding = (own.mean(axis=0) / length).astype(np.float32)
        rows[path] = Embedded(embedding, length, 3.0, 2.0, "")
    return rows


@pytest.fixture
def trial_set() -> TrialSet:
    """Everyone against everyone."""
    who = np.arange(N_SPEAKERS)
    names = tuple(map(str, who))
    enrollment, test = (side.ravel().astype(np.int32) for side in np.meshgrid(who, who))
    return TrialSet(
        name="by hand",
        protocol="mean of the enrollment's recordings",
        table=TrialTable(names, names, enrollment, test, enrollment == test),
        enrollment_files=tuple((Path(f"{s}-0"), Path(f"{s}-1")) for s in who),
        test_files=tuple(Path(f"{s}-2") for s in who),
        enrollment_speakers=who,
        test_speakers=who,
        speaker_names=names,
    )


def mean_over_pairs_of_crops(trial_set: TrialSet, crops: Crops) -> NDArray[np.float64]:
    scores = []
    for e, t in zip(trial_set.table.enrollment, trial_set.table.test, strict=True):
        enrolled = np.concatenate([crops[path] for path in trial_set.enrollment_files[e] or ()])
        tested = crops[trial_set.test_files[t] or Path()]
        scores.append(np.mean([a @ b for a in enrolled for b in tested]))
    return np.array(scores)


def test_averaged_scores_weigh_an_enrollments_recordings_by_how_their_crops_agree(
    trial_set: TrialSet, crops: Crops, found: dict[Path, Embedded]
) -> None:
    sides = EmbeddedTrials.of(trial_set, found, D, crop_scores=True)
    scores = BackEnd(crop_scores=True).scores(sides.table, sides.enrollment, sides.test)
    np.testing.assert_allclose(scores, mean_over_pairs_of_crops(trial_set, crops), atol=1e-6)


def test_averaged_embeddings_weigh_every_recording_the_same(
    trial_set: TrialSet, found: dict[Path, Embedded]
) -> None:
    sides = EmbeddedTrials.of(trial_set, found, D)
    scores = BackEnd().scores(sides.table, sides.enrollment, sides.test)
    wanted = []
    for e, t in zip(trial_set.table.enrollment, trial_set.table.test, strict=True):
        mean = sum(found[path].embedding for path in trial_set.enrollment_files[e] or ())
        test = found[trial_set.test_files[t] or Path()].embedding
        wanted.append(float(mean @ test) / float(np.linalg.norm(mean)))
    np.testing.assert_allclose(scores, wanted, atol=1e-6)


def test_a_calibration_is_fitted_on_scores_made_as_the_trials_are(
    trial_set: TrialSet, crops: Crops, found: dict[Path, Embedded]
) -> None:
    scores, target = mean_over_pairs_of_crops(trial_set, crops), trial_set.table.is_target
    wanted = fit_calibration(
        scores[target], scores[~target], n_speakers=N_SPEAKERS, measured_on="by hand"
    )
    found_fit = fit_on(trial_set, found, BackEnd(crop_scores=True), D, "by hand")
    fitted = found_fit.calibration
    assert found_fit.without_speech.startswith("without seconds of speech: speech from")
    assert fitted.w_score == pytest.approx(wanted.w_score, rel=1e-3)
    assert fitted.bias == pytest.approx(wanted.bias, rel=1e-3)


def test_trials_with_telephone_sound_on_both_sides_have_their_own_likelihood(
    trial_set: TrialSet, found: dict[Path, Embedded]
) -> None:
    """All of speakers 1 and 2 and the test of speaker 3; half the enrollment of speaker 4."""
    calls = [f"{who}-{i}" for who in (1, 2) for i in range(3)] + ["3-2", "4-1"]
    for path in map(Path, calls):
        found[path] = replace(found[path], narrow_band=True)
    sides = EmbeddedTrials.of(trial_set, found, D)
    narrow = np.isin(sides.table.enrollment, (1, 2)) & np.isin(sides.table.test, (1, 2, 3))
    np.testing.assert_array_equal(sides.narrow_band(), narrow)
    card = telephone_card()
    assert card.calibration is not None and card.narrow_band is not None
    scores = np.linspace(-1, 1, len(sides.table))
    llrs = Llr(card.calibration, "card", on_telephone=card.narrow_band.calibration).of(
        scores, sides
    )
    for i, score in enumerate(scores):
        calibration = card.calibration_for(narrow_band=bool(narrow[i]))
        assert calibration is not None
        assert llrs[i] == pytest.approx(calibration.llr(float(score), float(sides.speech_s()[i])))

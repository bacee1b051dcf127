"""Systems two by two, on the trials of one set that both could score.

What cannot be compared is said with its reason, metric by metric, and costs nothing else: models
refuse different recordings, so that the common trials may lack one class altogether, and only
calibrated systems have a Cllr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from groove.evaluation.findings import PairResult, SystemResult, Unmeasured
from groove.evaluation.measures import COMPARED, Comparison, Measured, TrialScores, compare, measure
from groove.evaluation.trial_sets import TrialSet
from groove.evaluation.trial_table import Bools

Progress = Callable[[str, int, int], None]  # what, how many are done, of how many


def compare_systems(
    systems: Sequence[SystemResult | Unmeasured],
    trial_set: TrialSet,
    *,
    n_draws: int,
    seed: int,
    progress: Progress,
) -> Iterator[PairResult]:
    """Every two systems.

    Args:
        systems: what was found of each on this trial set, in the same order of trials.
        trial_set: the trials.
        n_draws: draws of the speakers, as the systems were measured.
        seed: of the draws, likewise.
        progress: called when the common trials are measured by themselves.
    """
    for a, b in combinations(systems, 2):
        both = a.scored & b.scored
        comparisons, unavailable = _compared(a, b, trial_set, both, n_draws, seed, progress)
        yield PairResult(
            a.name, b.name, trial_set.protocol, int(both.sum()), comparisons, unavailable
        )


def _compared(
    a: SystemResult | Unmeasured,
    b: SystemResult | Unmeasured,
    trial_set: TrialSet,
    both: Bools,
    n_draws: int,
    seed: int,
    progress: Progress,
) -> tuple[tuple[Comparison, ...], dict[str, str]]:
    """What could be compared, and what not, with the reason."""
    table = trial_set.table.only(both)
    lacks_a_class = not 0 < table.n_target < len(table)
    if lacks_a_class or isinstance(a, Unmeasured) or isinstance(b, Unmeasured):
        reason = (
            f"{table.n_target:,} target and {len(table) - table.n_target:,} non-target trials "
            "could be scored by both; both kinds are needed"
        )
        return (), dict.fromkeys(COMPARED, reason)
    measured = [_on_common(one, trial_set, both, n_draws, seed, progress) for one in (a, b)]
    comparisons = compare(*measured)
    if a.llrs is None or b.llrs is None:
        return comparisons, {"cllr": _uncalibrated(a, b)}
    return comparisons, {}


def _on_common(
    result: SystemResult,
    trial_set: TrialSet,
    both: Bools,
    n_draws: int,
    seed: int,
    progress: Progress,
) -> Measured:
    """The measurement on the common trials; the one in hand where those are all."""
    if (result.scored == both).all():
        return result.measured
    progress(f"{result.name} on the common trials", 0, 1)
    table = trial_set.table.only(both)
    trials = TrialScores(
        result.scores[both],
        table.is_target,
        trial_set.enrollment_speakers[table.enrollment],
        trial_set.test_speakers[table.test],
        None if result.llrs is None else result.llrs[both],
    )
    return measure(trials, n_draws=n_draws, seed=seed)


def _uncalibrated(a: SystemResult, b: SystemResult) -> str:
    without = [one.name for one in (a, b) if one.llrs is None]
    verb = "has" if len(without) == 1 else "have"
    return f"{' and '.join(without)} {verb} no calibration, and Cllr needs log-likelihood ratios"

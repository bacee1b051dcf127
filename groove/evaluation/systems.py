"""What is evaluated, and how: a model as it cuts recordings, and the settings of all models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from groove.embedder import Embedder
from groove.evaluation.cache import Embedded, examined
from groove.evaluation.trial_sets import TrialSet
from groove.manifest import Utterance

STORED_SUFFIX = ".pt"


@dataclass(frozen=True)
class System:
    """A model as it is evaluated: a name for the report, and how recordings are cut.

    ``embed_stored`` embeds a file of stored features; None: there are none. ``trained_on`` and
    ``chosen_on`` name the speakers that it was trained on, and those on whom its training chose
    the best epoch: empty where nobody knows.
    """

    name: str
    embedder: Embedder
    embed_stored: Callable[[Path], Embedded] | None = None
    trained_on: frozenset[str] = frozenset()
    chosen_on: frozenset[str] = frozenset()

    def embed_one(self, path: Path) -> Embedded:
        """Embed a recording, or stored features where no recording was found."""
        if self.embed_stored is not None and path.suffix == STORED_SUFFIX:
            return self.embed_stored(path)
        return examined(path, self.embedder)


@dataclass(frozen=True)
class Settings:
    """How scores are made and numbers are read off them; the same for all systems."""

    cohort: tuple[Utterance, ...] = ()  # for AS-norm, and for the mean that is subtracted
    as_norm: bool = False
    top_n: int = 300
    subtract_mean: bool = False
    crop_scores: bool = False
    calibration_set: TrialSet | None = None
    n_draws: int = 1000
    seed: int = 0
    workers: int = 1
    strict: bool = False

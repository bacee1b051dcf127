"""What every test may ask for: the speech pools, the pulled model, seeded noise."""

from __future__ import annotations

import csv
import os
from pathlib import Path

# The networks of the tests are tiny: more threads would wait for each other, most of all when tests
# run side by side. It must be said before numpy and torch are loaded; the processes that tests
# start inherit it.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
VOICE_A, VOICE_A2, VOICE_B = (
    ROOT / "examples" / f"{name}.wav" for name in ("voice_a_1", "voice_a_2", "voice_b_1")
)


def _speech_root() -> Path | None:
    """The speech pools: where GROOVE_SPEECH says, else beside the repository."""
    root = Path(os.environ.get("GROOVE_SPEECH", ROOT.parent / "shared" / "speech"))
    return root if (root / "eval" / "manifest.tsv").is_file() else None


@pytest.fixture(scope="session")
def speech_root() -> Path:
    root = _speech_root()
    if root is None:
        pytest.skip("no speech pools: set GROOVE_SPEECH to a folder with train/, eval/ and noise/")
    return root


@pytest.fixture(scope="session")
def eval_rows(speech_root: Path) -> list[dict[str, str]]:
    """The rows of eval/manifest.tsv; ``path`` is made absolute."""
    return read_pool(speech_root / "eval")


def read_pool(pool: Path) -> list[dict[str, str]]:
    with (pool / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        row["path"] = str(pool / row["path"])
    return rows


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261124)

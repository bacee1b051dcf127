"""A GPU on which a batch finds no room: one line that says what makes it fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from groove.errors import TrainingError
from groove.training.device import LEAST_PART
from groove.training.run import Run


@contextmanager
def shortage_explained(run: Run) -> Iterator[None]:
    """Turn the allocator's report of many lines into what to do about it.

    Raises:
        TrainingError: the device's memory is full.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        said = (str(error).splitlines() or [""])[0].split(". GPU ")[0][:160]
        last, more = run.out / "last.pt", 2 * run.config.train.accumulate
        fits = LEAST_PART * more <= run.n_rows
        parts = f"train.accumulate={more} ({run.n_rows} crops in {more} parts), or with "
        # In other parts it is another run, for batch normalisation sees one part at a time.
        kept = f"{last} is as it was before; " if last.exists() else ""
        where = ", in another train.out_dir" if last.exists() else ""
        raise TrainingError(
            f"step {run.progress.step + 1:,}: no memory is left on {run.place.device} ({said}); "
            f"{kept}start again with {parts if fits else ''}a smaller batch "
            f"(train.p and train.k, or data.batch_size){where}"
        ) from error

"""train(): a whole run in one function, in the order in which it happens.

Epochs are passes over the sampler's batches; everything random follows from the seed, the epoch and
the draw, so a run that was killed goes on from its last checkpoint to the same numbers, bit for bit
on a CPU with one thread. What a run leaves in ``train.out_dir``:

    last.pt, best.pt    the newest state, and that with the lowest validation EER
    log.jsonl           what happened (groove/training/runlog.py); curves.png; tensorboard/
    config.json         the settings, all of them
    average.pt          with train.average: the mean of the last epochs' weights, the classifier's
                        among them
    bad_batch.pt        only after a loss, or a teacher's embedding of a crop, that was not finite:
                        the batch that made it; of another process than the first it is
                        bad_batch.rank<n>.pt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from groove.encoder import Encoder
from groove.errors import MissingExtra, TrainingError
from groove.training import ddp
from groove.training.averaging import average_checkpoints
from groove.training.batch import Failure
from groove.training.config import TrainConfig
from groove.training.curves import draw_curves
from groove.training.loader import loader
from groove.training.material import n_workers
from groove.training.memory import shortage_explained
from groove.training.optimizers import set_rate
from groove.training.rates import Rates, rates
from groove.training.run import SHOWN, Run, open_run
from groove.training.runlog import LOG, writing
from groove.training.step import Taken, n_speakers, settle, take_step
from groove.training.stopping import Interruption

ASK_EVERY = 10  # steps between asking all processes whether one was told to stop


def train(config: TrainConfig, *, teacher: Encoder | None = None) -> Path:
    """Train an encoder.

    Args:
        config: the settings.
        teacher: an open encoder, where ``distill.teacher`` names one.

    Returns:
        ``best.pt``, or ``last.pt`` where nothing was validated.

    Raises:
        GrooveError: settings, lists or files that cannot be used; a loss that is not finite; too
            little memory; a signal. The message says what was saved and how to go on.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(Interruption())
        run = open_run(config, teacher, stack)
        config, progress, n_batches = run.config, run.progress, run.material.sampler.n_batches
        last, best = run.out / "last.pt", run.out / "best.pt"
        corrupt: list[Failure] = []  # that this process met and the log has not named yet
        stack.callback(lambda: _log_corrupt(run, corrupt))

        if progress.step == run.n_steps:
            run.log.say(
                f"finished before, after step {progress.step:,}; a larger train.epochs (or "
                "train.max_steps) trains on"
            )
        run.log.begin()
        while progress.step < run.n_steps:
            batches = loader(
                run.material.dataset,
                run.material.sampler,
                epoch=progress.epoch,
                start_batch=progress.batch,
                rank=run.place.rank,
                world_size=run.place.world_size,
                workers=n_workers(config.data.workers),
                pin=run.place.device.type == "cuda",
                on_corrupt=lambda name, why: corrupt.append((name, why)),
            )
            taken: Taken | None = None
            for batch in run.meter.waiting(batches):
                # The step; then a look at the one before, while this one is computed.
                now = rates(config, progress.step, run.n_steps)
                set_rate(run.optimizer, now.lr)
                with shortage_explained(run):
                    before, taken = taken, take_step(run, batch, now.margin_rad)
                settle(run, before)
                run.meter.count(run.n_rows * run.place.world_size, n_speakers(batch))

                # Now and then: log, save, stop.
                ends = progress.batch == n_batches or progress.step == run.n_steps
                logs = ends or progress.step % config.train.log_every == 0
                saves = config.train.save_every and progress.step % config.train.save_every == 0
                asks = ends or run.place.world_size == 1 or progress.step % ASK_EVERY == 0
                signal = ddp.first_word(stop.requested, run.place) if asks else ""
                if logs or saves or signal:
                    settle(run, taken)
                    taken = None
                if logs:
                    _log_step(run, now)
                    tell_corrupt(run, corrupt)
                if (saves or signal) and not ends:
                    run.keep(last)
                if signal and not ends:
                    raise TrainingError(
                        f"stopped by {signal} after step {progress.step:,}; {last} is saved: go on "
                        "with resume=true"
                    )
                if ends:
                    break

            # Once an epoch: measure on the fixed trials, keep, draw.
            if progress.batch == n_batches:  # else train.max_steps ended it, and more go on there
                progress.epoch, progress.batch = progress.epoch + 1, 0
            is_over, epoch = progress.step == run.n_steps, progress.n_begun
            if config.validate.every and (is_over or epoch % config.validate.every == 0):
                _validate(run, "epoch", best)
            if config.train.average:
                run.keep(_epoch_path(run, epoch))
                if run.place.is_first:
                    _epoch_path(run, epoch - config.train.average).unlink(missing_ok=True)
            run.keep(last)
            if run.place.is_first and config.train.curves:
                _draw(run)
            run.meter.restart()

        # At the end: the mean of the last epochs' weights, which becomes the best where it is.
        if config.train.average:
            _average(run, best)
    return best if best.is_file() else last


def _log_step(run: Run, now: Rates) -> None:
    """The means since the line before, the rates of now, and how fast it goes."""
    progress = run.progress
    means = {name: progress.sums[name] / max(1, progress.n_summed) for name in SHOWN}
    progress.sums, progress.n_summed = dict.fromkeys(SHOWN, 0.0), 0
    weights = run.objective.weights
    off = [
        n for n in ("aam", "cosine", "mse", "similarity", "neighbours") if not getattr(weights, n)
    ]
    off += ["aam"] if run.listener is None and run.targets is None else []  # it is the loss
    off += ["accuracy"] if run.objective.head is None else []
    values: dict[str, float | None] = {n: v for n, v in means.items() if n not in off}
    values |= {"lr": now.lr, "margin_rad": now.margin_rad}
    speed = run.meter.read()
    run.log.write("step", progress.step, epoch=progress.epoch, **values, **speed)
    everyday = ("loss", "accuracy", "lr", "margin_rad")
    shown: dict[str, float | None] = {name: values[name] for name in everyday if name in values}
    shown |= {name: speed[name] for name in ("speakers_per_s", "crops_per_s")}
    run.log.show(progress.step, epoch=progress.epoch, **shown)


def tell_corrupt(run: Run, met: list[Failure]) -> None:
    """Log the corrupt utterances that any process met; ``met`` are this one's, and are cleared."""
    everyones = [failure for share in ddp.gathered(met, run.place) for failure in share]
    met.clear()
    _log_corrupt(run, everyones)


def _log_corrupt(run: Run, met: Sequence[Failure]) -> None:
    """Name corrupt utterances, each once in a run, whichever process met it."""
    for utterance_id, reason in dict(met).items():
        run.material.dataset.corrupt.setdefault(utterance_id, reason)  # the loader counts it too
        run.log.event(run.progress.step, f"{utterance_id}: left out: {reason}")


def _validate(run: Run, kind: str, best: Path) -> None:
    """Measure; keep the state where it is the best so far."""
    assert run.validator is not None
    with _lengths_that_differ():
        result = run.validator(run.student.encoder, run.place)
    progress = run.progress
    run.log.write(kind, progress.step, epoch=progress.n_begun, **vars(result))
    run.log.say(
        f"{kind} {progress.n_begun}: validation EER {100 * result.eer:.2f} %, minDCF "
        f"{result.min_dcf:.3f}"
        + (f", {result.n_unreadable} utterances unreadable" if result.n_unreadable else "")
    )
    if result.eer < progress.best_eer:
        progress.best_eer = result.eer
        run.keep(best)


@contextmanager
def _lengths_that_differ() -> Iterator[None]:
    """Spare what would be done anew for each length: compiling, and cuDNN's trying of algorithms.

    What it found for the crops of training stays.
    """
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, False
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        cudnn.benchmark = before


def _average(run: Run, best: Path) -> None:
    """Put the mean of the last epochs into backbone, head and projection; keep and measure it."""
    objective = run.objective
    if run.place.is_first:
        paths = [_epoch_path(run, epoch) for epoch in range(run.progress.n_begun + 1)]
        kept = [path for path in paths if path.is_file()][-run.config.train.average :]
        mean = average_checkpoints(kept)
        objective.backbone.load_state_dict(mean.model)
        if objective.head is not None:
            objective.head.load_state_dict(mean.head)
        if objective.projection is not None:
            objective.projection.load_state_dict(mean.projection)
    ddp.same_state(objective, run.place)
    run.keep(run.out / "average.pt")
    if run.validator is not None:
        _validate(run, "average", best)


def _epoch_path(run: Run, epoch: int) -> Path:
    return run.out / f"epoch-{epoch:04d}.pt"


def _draw(run: Run) -> None:
    path, last = run.out / "curves.png", run.out / "last.pt"
    how = f"{last} is saved: go on with resume=true, with train.curves=false where room is short"
    try:
        with writing(path, "the curves", how):
            draw_curves(run.out / LOG, path)
    except MissingExtra as error:
        if run.progress.n_begun == 1:
            run.log.say(str(error))

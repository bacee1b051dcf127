"""Learning rate and margin of each step of a run, by its settings; see `groove.training.schedule`.

The settings give shares of the whole run, so its length decides the rates of every step: a run that
goes on with another length jumps, and `schedule_jump` says from what to what.
"""

from __future__ import annotations

from dataclasses import dataclass

from groove.training.config import TrainConfig
from groove.training.schedule import learning_rate, margin_rad


@dataclass(frozen=True)
class Rates:
    """What the schedules say of a step."""

    lr: float
    margin_rad: float


def rates(config: TrainConfig, step: int, n_steps: int) -> Rates:
    """Learning rate and margin of a step, counted from 0."""
    schedule = config.schedule
    return Rates(
        learning_rate(
            step,
            n_steps,
            peak=config.train.lr,
            final=schedule.final_lr,
            warmup=round(schedule.warmup * n_steps),
            shape=schedule.lr_shape,
        ),
        margin_rad(
            step,
            start=round(schedule.margin_start * n_steps),
            full=round(schedule.margin_full * n_steps),
            final=config.head.margin_rad,
            initial=schedule.margin_initial_rad,
            shape=schedule.margin_shape,
        ),
    )


def n_steps_of(config: TrainConfig, n_batches: int) -> int:
    """Steps of a run whose epochs have so many batches."""
    whole = config.train.epochs * n_batches
    return min(whole, config.train.max_steps) if config.train.max_steps else whole


def schedule_jump(before: TrainConfig, now: TrainConfig, n_batches: int, step: int) -> str:
    """One line for a run that goes on at ``step`` with another length; empty for the same one."""
    n_before, n_now = n_steps_of(before, n_batches), n_steps_of(now, n_batches)
    if n_now == n_before:
        return ""
    old, new = rates(before, step, n_before), rates(now, step, n_now)
    return (
        f"schedule {'stretched' if n_now > n_before else 'shortened'} from {n_before:,} to "
        f"{n_now:,} steps: at step {step:,} the learning rate is now {new.lr:.3g} where it was "
        f"{old.lr:.3g}, the margin {new.margin_rad:.3g} where it was {old.margin_rad:.3g}"
    )

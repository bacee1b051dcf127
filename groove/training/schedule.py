r"""Learning rate and margin as functions of the step, 0 to ``n_steps`` - 1: no state, no epochs.

    learning rate                                margin
      |   /\_                                       |          ______
      |  /   \__                                    |        _/
      | /       \____                               | ______/
      +--|------------- step                       +-------|-|------ step
         warm-up       n_steps                       start   full

`learning_rate` with "exponential" is WeSpeaker's ExponentialDecrease with ``warm_from_zero`` (its
``scale_ratio`` multiplied into both rates), with "cosine" its WarmupCosineScheduler; `margin_rad`
is its MarginScheduler, all in utils/schedulers.py.
"""

from __future__ import annotations

import math

LR_SHAPES = ("exponential", "cosine", "constant")
MARGIN_SHAPES = ("exponential", "linear")
MARGIN_LEFT = 1e-3 / (1 + 1e-6)  # of the rise, when the exponential is cut: WeSpeaker's numbers


def learning_rate(
    step: int, n_steps: int, *, peak: float, final: float, warmup: int, shape: str = "exponential"
) -> float:
    """The rate of one step.

    Args:
        step: counted from 0; the rate of step 0 is 0 where there is a warm-up.
        n_steps: length of the run.
        peak: the rate that warm-up leads to. The exponential falls from step 0 on, so that it has
            already fallen a little when the warm-up ends.
        final: the rate at ``n_steps``; above 0 for the exponential.
        warmup: steps of linear rise.
        shape: one of `LR_SHAPES`.
    """
    warm = min(1.0, step / warmup) if warmup else 1.0
    if shape == "constant":
        return peak * warm
    if shape == "exponential":
        return warm * peak * math.exp(step / n_steps * math.log(final / peak))
    if step < warmup:
        return peak * warm
    share = (step - warmup) / max(1, n_steps - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * min(1.0, share)))


def margin_rad(
    step: int,
    *,
    start: int,
    full: int,
    final: float,
    initial: float = 0.0,
    shape: str = "exponential",
) -> float:
    """The margin of one step: ``initial`` before ``start``, ``final`` from ``full`` on.

    Args:
        step: counted from 0.
        start: first step of the rise.
        full: first step with the final margin; not before ``start``.
        final: in radians.
        initial: in radians.
        shape: one of `MARGIN_SHAPES`.
    """
    if step >= full:
        return final
    if step < start:
        return initial
    done = (step - start) / (full - start)
    share = done if shape == "linear" else 1 - math.exp(done * math.log(MARGIN_LEFT))
    return initial + (final - initial) * share

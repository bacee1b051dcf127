"""Muon: kernels step by the nearest orthogonal matrix to their momentum, the rest as AdamW.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the step's length is
0.2 sqrt(max(rows, columns)), which makes its root mean square about AdamW's, so that both kinds of
weights share one learning rate (Liu et al. 2025, arXiv 2502.16982, equation 4). A large kernel may
go in blocks, each orthogonal by itself (Khaled et al. 2025, "MuonBP", arXiv 2510.16981): the cost
grows with the square of the shorter side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
ROUNDS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the odd polynomial: singular values go near 1


class Muon(torch.optim.AdamW):
    """Groups with ``orthogonal=True`` step by Muon, all others by AdamW. All have ``lr``.

    Such a group's ``block`` is the longest shorter side of what is made orthogonal in one piece; 0:
    every kernel is one piece.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every weight that has a gradient; those of kernels are used up."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group.get("orthogonal"):
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._step_kernel(weight, weight.grad, group)
                        weight.grad = None  # AdamW passes it by
        super().step()
        return loss

    def _step_kernel(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        lr: float = group["lr"]
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW looks for it where a state is loaded
        state["step"] += 1
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        ahead = torch.lerp(gradient, momentum, MOMENTUM)  # Nesterov's
        direction = orthogonal_blocks(ahead.flatten(1), group.get("block", 0))
        length = 0.2 * max(direction.shape) ** 0.5
        weight.mul_(1 - lr * group["weight_decay"])
        weight.add_(direction.view_as(weight), alpha=-lr * length)


def orthogonal_blocks(matrix: Tensor, block: int) -> Tensor:
    """`orthogonal` of a matrix [R, C], or of its blocks of ``block`` along the shorter side.

    A block is as long as the matrix, so the size of the entries does not change.
    """
    shorter = int(matrix.shape[1] < matrix.shape[0])
    if not block or matrix.shape[shorter] <= block:
        return orthogonal(matrix)
    return torch.cat(
        [orthogonal(part) for part in torch.split(matrix, block, dim=shorter)], dim=shorter
    )


def orthogonal(matrix: Tensor) -> Tensor:
    """Near the orthogonal matrix that is nearest to one [R, C], by Newton and Schulz's iteration.

    Its singular values come to lie about 0.7 to 1.2. Computed in bfloat16 on a GPU, in float32
    elsewhere.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = (x if wide else x.T).to(matrix.dtype)
    return found

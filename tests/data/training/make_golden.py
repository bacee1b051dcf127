"""Make golden.json: logits and gradients of WeSpeaker's own ECAPA-TDNN and margin heads.

    python -m pip install --no-deps -r requirements/peers.txt
    python -m tests.data.training.make_golden

Weights and inputs are random, from numpy's seeded generators, so that nothing but results is
stored. Gradients of a network of millions of weights are stored as a few numbers a layer: the norm
of its gradient and its product with a random direction.
"""

from __future__ import annotations

import importlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.seeded import fill

PATH = Path(__file__).with_name("golden.json")
ECAPA = {"channels": 64, "embedding_size": 24, "n_frames": 57, "batch": 4, "seed": 11}


@dataclass(frozen=True)
class HeadCase:
    margin_rad: float
    sub_centers: int = 1


HEAD_CASES = {
    "no margin": HeadCase(0.0),
    "margin 0.2": HeadCase(0.2),
    "margin 0.5": HeadCase(0.5),
    "margin 0.2, 3 sub-centers": HeadCase(0.2, 3),
}


@dataclass(frozen=True)
class HeadInputs:
    embedding: Tensor  # [B, D]
    weight: Tensor  # [K * sub_centers, D]
    label: Tensor  # [B]


def head_inputs(name: str) -> HeadInputs:
    """The first row lies nearly opposite its centre, beyond pi - margin.

    Exactly opposite, WeSpeaker's slope is NaN; ours is finite, which test_heads.py shows.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    sub = HEAD_CASES[name].sub_centers
    weight = rng.standard_normal((9 * sub, 16)).astype(np.float32)
    embedding = rng.standard_normal((6, 16)).astype(np.float32)
    label = rng.integers(9, size=6)
    embedding[0] = -weight.reshape(9, sub, 16)[label[0]].mean(axis=0) + 0.05 * embedding[0]
    return HeadInputs(*map(torch.from_numpy, (embedding, weight, label)))


def ecapa_frames() -> Tensor:
    rng = np.random.default_rng(ECAPA["seed"])
    shape = (ECAPA["batch"], ECAPA["n_frames"], 80)
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def directions(size: int, name: str) -> Tensor:
    return torch.from_numpy(np.random.default_rng(zlib.crc32(name.encode())).standard_normal(size))


def summarise(
    network: nn.Module,
    embed: Callable[[Tensor], Tensor],
    *,
    training: bool,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Embedding [B, D], and of each layer's gradient its norm and its product with a direction."""
    embedding, gradients = differentiate(network, embed, training=training, names=names)
    return {
        "embedding": _listed(embedding),
        "gradients": {name: _two(name, gradient) for name, gradient in gradients.items()},
    }


def differentiate(
    network: nn.Module,
    embed: Callable[[Tensor], Tensor],
    *,
    training: bool,
    names: Mapping[str, str] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Embedding [B, D], and the gradients of the frames and of every weight.

    The loss is the embedding's product with a fixed direction. ``names`` maps the network's layer
    names to those under which directions are drawn and results are stored.
    """
    network.train(training)
    frames = ecapa_frames().requires_grad_(True)
    embedding = embed(frames)
    weights = directions(embedding.numel(), "loss").view_as(embedding).float()
    (embedding * weights).sum().backward()
    found = {"frames": frames.grad}
    found |= {(names or {}).get(n, n): p.grad for n, p in network.named_parameters()}
    if lost := [name for name, gradient in found.items() if gradient is None]:
        raise ValueError(f"{lost[0]}: no gradient")
    return embedding.detach(), {name: g.detach() for name, g in found.items() if g is not None}


def _two(name: str, gradient: Tensor) -> list[float]:
    flat = gradient.double().flatten()
    unit = directions(flat.numel(), name)
    return [float(flat.norm()), float(flat @ (unit / unit.norm()))]


def _listed(value: Tensor) -> Any:
    """Nested lists with eight digits, as float32 has."""
    digits = [float(f"{x:.8g}") for x in value.detach().double().flatten().tolist()]
    return np.array(digits).reshape(value.shape).tolist()


def relative(found: Tensor, wanted: Any) -> float:
    """Largest difference, as a share of the largest wanted value."""
    target = torch.as_tensor(wanted, dtype=torch.float64)
    return float((found.double() - target).abs().max() / target.abs().max())


def golden_head(name: str) -> dict[str, Any]:
    case, inputs = HEAD_CASES[name], head_inputs(name)
    module = importlib.import_module("wespeaker.models.projections")
    if case.sub_centers > 1:
        head = module.ArcMarginProduct_intertopk_subcenter(
            16, 9, scale=32.0, margin=case.margin_rad, K=case.sub_centers, mp=0.0, k_top=1
        )
    else:
        head = module.ArcMarginProduct(16, 9, scale=32.0, margin=case.margin_rad)
    with torch.no_grad():
        head.weight.copy_(inputs.weight)
    embedding = inputs.embedding.clone().requires_grad_(True)
    logits = head(embedding, inputs.label)
    loss = nn.functional.cross_entropy(logits, inputs.label, reduction="none")
    loss.mean().backward()
    found = {"logits": logits, "loss": loss}
    found |= {"embedding_gradient": embedding.grad, "weight_gradient": head.weight.grad}
    return {key: _listed(value) for key, value in found.items()}


def golden_ecapa(training: bool) -> dict[str, Any]:
    from tests.data.backbones import peer_modules

    network = fill(peer_modules.wespeaker_ecapa(ECAPA["channels"], ECAPA["embedding_size"]), 7)
    return summarise(network, lambda frames: network(frames)[-1], training=training)


def golden() -> dict[str, Any]:
    from tests.data.backbones import peer_modules

    peer_modules.wespeaker_ecapa(8, 8)  # enters the package without its audio libraries
    return {
        "made_with": peer_modules.VERSIONS["wespeaker"],
        "head": {name: golden_head(name) for name in HEAD_CASES},
        "ecapa": {mode: golden_ecapa(mode == "training") for mode in ("training", "evaluation")},
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden()) + "\n", encoding="utf-8")

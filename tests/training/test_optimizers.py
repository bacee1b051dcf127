"""Optimizers: Muon and SGD against torch's own, which weights go where, and clipping."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn.utils import parameters_to_vector  # noqa: E402

from groove.fbank import FbankConfig  # noqa: E402
from groove.training import loop  # noqa: E402
from groove.training.checkpoint import load  # noqa: E402
from groove.training.heads import AamSoftmax  # noqa: E402
from groove.training.loop import train  # noqa: E402
from groove.training.muon import Muon, orthogonal, orthogonal_blocks  # noqa: E402
from groove.training.networks import Network, build_encoder  # noqa: E402
from groove.training.objective import Objective, Weights  # noqa: E402
from groove.training.optimizers import make_optimizer  # noqa: E402
from groove.training.run import Run  # noqa: E402
from tests.training.tiny import config, curve, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch


def steps(module: Any, optimizer: Any, n: int = 20) -> None:
    torch.manual_seed(1)
    given, wanted = torch.randn(50, 30), torch.randn(50, 20)
    for _ in range(n):
        optimizer.zero_grad()
        (module(given) - wanted).square().mean().backward()
        optimizer.step()


def test_muon_walks_as_torch_does() -> None:
    """Torch iterates in bfloat16, we in float32: the ways agree to bfloat16's eight bits."""
    torch.manual_seed(0)
    ours = torch.nn.Linear(30, 20, bias=False)
    theirs, start = copy.deepcopy(ours), ours.weight.detach().clone()
    group = {"params": ours.parameters(), "orthogonal": True, "weight_decay": 0.1}
    steps(ours, Muon([group], lr=0.01))
    reference = torch.optim.Muon(
        theirs.parameters(), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    steps(theirs, reference)
    apart = (ours.weight - theirs.weight).detach().norm()
    assert float(apart / (theirs.weight.detach() - start).norm()) < 0.01


@pytest.mark.parametrize("shape", [(64, 200), (200, 64), (32, 32)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonal(matrix)
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.3 and float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert float(torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), 0)) > 0.9


@pytest.mark.parametrize("shape", [(96, 60), (60, 96), (96, 20)])
def test_a_large_kernel_goes_in_blocks_each_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonal_blocks(matrix, 30)
    shorter = int(shape[1] < shape[0])
    parts = zip(found.split(30, dim=shorter), matrix.split(30, dim=shorter), strict=True)
    assert all(torch.equal(part, orthogonal(own)) for part, own in parts)
    assert found.shape == matrix.shape
    assert torch.equal(orthogonal_blocks(matrix, 0), orthogonal(matrix))
    if min(shape) > 30:
        assert not torch.allclose(found, orthogonal(matrix), atol=1e-2)


def test_the_rest_steps_as_adamw() -> None:
    torch.manual_seed(0)
    ours = torch.nn.Linear(30, 20)
    theirs = copy.deepcopy(ours)
    plain = [{"params": ours.parameters(), "orthogonal": False, "weight_decay": 0.1}]
    steps(ours, Muon(plain, lr=0.01))
    steps(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1))
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)


@pytest.mark.parametrize("momentum", [0.8, 0.0])
def test_sgd_walks_as_torch_does_and_only_kernels_decay(momentum: float) -> None:
    torch.manual_seed(0)
    ours = torch.nn.Linear(30, 20)
    theirs = copy.deepcopy(ours)
    steps(ours, make_optimizer(ours, "sgd", lr=0.1, weight_decay=0.05, momentum=momentum))
    groups = [
        {"params": [theirs.weight], "weight_decay": 0.05},
        {"params": [theirs.bias], "weight_decay": 0.0},
    ]
    steps(theirs, torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=momentum > 0))
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)


def test_a_step_is_no_longer_than_clip_norm_allows_and_the_log_has_the_length_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: Nesterov's first step is the gradient times 1 + momentum, times the rate."""
    take, moved, corpus = loop.take_step, [], write_corpus(tmp_path / "corpus")

    def measured(run: Run, *rest: Any) -> Any:
        before = parameters_to_vector(run.objective.parameters()).detach().clone()
        taken = take(run, *rest)
        moved.append(parameters_to_vector(run.objective.parameters()).detach() - before)
        return taken

    monkeypatch.setattr(loop, "take_step", measured)
    norms = []
    for clip_norm in (0.0, 0.01):
        settings = config(
            corpus,
            tmp_path / f"{clip_norm}",
            train={"max_steps": 1, "lr": 0.5},
            optimizer={"name": "sgd", "momentum": 0.6, "weight_decay": 0, "clip_norm": clip_norm},
            schedule={"lr_shape": "constant", "warmup": 0},
            validate={"every": 0},
        )
        for group in load(train(settings)).optimizer["param_groups"]:
            made = group["momentum"], group["nesterov"], group["weight_decay"]
            assert made == (0.6, True, 0)
        norms += [x["grad_norm"] for x in curve(tmp_path / f"{clip_norm}") if x["kind"] == "step"]
    assert norms[0] == norms[1] > 1
    lengths = [float(vector.norm()) for vector in moved]
    assert lengths == pytest.approx([0.5 * 1.6 * norms[0], 0.5 * 1.6 * 0.01], rel=1e-3)


def test_the_classifier_and_vectors_are_not_made_orthogonal() -> None:
    encoder = build_encoder(Network("ecapa", 16, 8), FbankConfig(n_mels=16))
    module = Objective(encoder, AamSoftmax(16, 3), weights=Weights(1, 1), target_size=24)
    made = make_optimizer(module, "muon", lr=1e-3, weight_decay=0.1, momentum=0.9, block=32)
    kernels, matrices, vectors = made.param_groups
    assert kernels["block"] == 32
    assert {id(p) for p in matrices["params"]} == {
        id(module.head.weight),
        id(module.projection.weight),
    }
    assert all(p.ndim > 1 for p in kernels["params"]) and vectors["weight_decay"] == 0
    n = sum(len(group["params"]) for group in made.param_groups)
    assert n == len(list(module.parameters()))


def test_a_run_by_muon_learns_and_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")

    def run(name: str, epochs: int, **more: Any) -> Path:
        settings = config(
            corpus,
            tmp_path / name,
            train={"epochs": epochs, "curves": False},
            optimizer={"name": "muon", "block": 16},
            schedule={"lr_shape": "constant", "warmup": 0},  # another length changes no step
            head={"margin_rad": 0.0},
            validate={"every": 0},
            **more,
        )
        return train(settings)

    run("whole", 2)
    run("halves", 1)
    run("halves", 2, resume=True)
    whole, halves = (
        [line for line in curve(tmp_path / name) if line["kind"] == "step"]
        for name in ("whole", "halves")
    )
    assert len(whole) == 8
    assert [step["loss"] for step in halves] == [step["loss"] for step in whole]

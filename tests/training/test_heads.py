"""The head against ArcFace's formula in float64 numpy, finite differences, and WeSpeaker's own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from groove.training.heads import BEYOND, AamSoftmax, add_margin  # noqa: E402
from tests.data.training.make_golden import HEAD_CASES, PATH, head_inputs, relative  # noqa: E402

pytestmark = pytest.mark.torch
D, K, B = 6, 5, 7


def arcface(
    embedding: Any, weight: Any, label: Any, margin: float, scale: float, beyond: str
) -> Any:
    """Deng et al. 2019, equation 3, with angles: no cosine of a sum. Returns logits [B, K]."""
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    centres = weight / np.linalg.norm(weight, axis=2, keepdims=True)  # [K, sub, D]
    cosine = np.einsum("bd,ksd->bks", unit, centres).max(axis=2).clip(-1, 1)
    logits = cosine.copy()
    for row, own in enumerate(label):
        theta = np.arccos(cosine[row, own])
        if beyond == "easy":
            raised = np.cos(theta + margin) if theta < np.pi / 2 else np.cos(theta)
        elif theta + margin < np.pi:
            raised = np.cos(theta + margin)
        elif beyond == "arcface":
            raised = np.cos(theta) - margin * np.sin(margin)
        else:
            raised = np.cos(theta) - (1 - np.cos(margin))
        logits[row, own] = raised
    return scale * logits


def cross_entropy(logits: Any, label: Any) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return log_sum - shifted[np.arange(len(label)), label]


@pytest.mark.parametrize("beyond", BEYOND)
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.2])
@pytest.mark.parametrize("sub_centers", [1, 3])
def test_loss_and_logits_are_the_papers(beyond: str, margin: float, sub_centers: int) -> None:
    rng = np.random.default_rng(3)
    embedding, label = rng.standard_normal((B, D)), rng.integers(K, size=B)
    head = AamSoftmax(D, K, scale=30.0, sub_centers=sub_centers, beyond=beyond).double()
    embedding[0] = -head.weight.detach().numpy().reshape(K, sub_centers, D)[label[0], 0]  # far off
    weight = head.weight.detach().numpy().reshape(K, sub_centers, D)
    wanted = arcface(embedding, weight, label, margin, 30.0, beyond)
    found = head(torch.from_numpy(embedding), torch.from_numpy(label), margin)
    np.testing.assert_allclose(found.logits.detach().numpy(), wanted, rtol=0, atol=1e-6)
    loss = cross_entropy(wanted, label)
    np.testing.assert_allclose(found.loss.detach().numpy(), loss, rtol=1e-7, atol=1e-6)
    plain = arcface(embedding, weight, label, 0.0, 1.0, "easy").argmax(axis=1)
    assert (found.correct.numpy() == (plain == label)).all()


@pytest.mark.parametrize("beyond", BEYOND)
def test_gradient_is_that_of_finite_differences(beyond: str) -> None:
    torch.manual_seed(0)
    head = AamSoftmax(D, K, scale=8.0, sub_centers=2, beyond=beyond).double()
    embedding = torch.randn(B, D, dtype=torch.float64, requires_grad=True)
    label = torch.randint(K, (B,))

    def loss(embedding: Any, weight: Any) -> Any:
        parameters = {"weight": weight}
        return torch.func.functional_call(head, parameters, (embedding, label, 0.3)).loss.sum()

    assert torch.autograd.gradcheck(loss, (embedding, head.weight), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_tensors_give_finite_losses_and_gradients_even_at_the_poles(dtype: Any) -> None:
    head = AamSoftmax(4, 3, scale=64.0).to(dtype)
    embedding = torch.eye(4, dtype=dtype)[:3] * 300  # 300^2 is beyond float16
    with torch.no_grad():
        head.weight.copy_(torch.stack([embedding[0], -embedding[1], embedding[2] + 1e-3]))
    embedding.requires_grad_(True)
    found = head(embedding, torch.arange(3), 0.5)  # cosines 1, -1 and nearly 1
    found.loss.sum().backward()
    assert found.loss.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(found.loss).all()
    assert torch.isfinite(embedding.grad).all() and torch.isfinite(head.weight.grad).all()


def test_the_slope_at_the_poles_is_finite_where_the_formulas_is_not() -> None:
    cosine = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    add_margin(cosine, 0.2).sum().backward()
    assert torch.isfinite(cosine.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_reach_the_head(dtype: Any) -> None:
    torch.manual_seed(0)
    head, embedding, label = AamSoftmax(D, K), torch.randn(B, D), torch.randint(K, (B,))
    outside = head(embedding, label, 0.2).loss
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(head(embedding, label, 0.2).loss, outside)


def test_without_a_margin_it_is_a_cosine_classifier() -> None:
    torch.manual_seed(0)
    head, embedding, label = AamSoftmax(D, K, scale=9.0), torch.randn(B, D), torch.randint(K, (B,))
    cosine = torch.nn.functional.cosine_similarity(embedding[:, None], head.weight[None], dim=2)
    wanted = torch.nn.functional.cross_entropy(9.0 * cosine, label, reduction="none")
    assert torch.allclose(head(embedding, label).loss, wanted, atol=1e-5)


def test_a_wrong_word_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted one of"):
        AamSoftmax(D, K, beyond="hard")


@pytest.mark.parametrize("name", HEAD_CASES)
def test_logits_and_gradients_are_wespeakers(name: str) -> None:
    golden = json.loads(PATH.read_text("utf-8"))["head"][name]
    case, inputs = HEAD_CASES[name], head_inputs(name)
    n_classes = len(inputs.weight) // case.sub_centers
    head = AamSoftmax(inputs.weight.shape[1], n_classes, scale=32.0, sub_centers=case.sub_centers)
    with torch.no_grad():
        head.weight.copy_(inputs.weight)
    embedding = inputs.embedding.clone().requires_grad_(True)
    found = head(embedding, inputs.label, case.margin_rad)
    found.loss.mean().backward()
    for key, value in (
        ("logits", found.logits),
        ("loss", found.loss),
        ("embedding_gradient", embedding.grad),
        ("weight_gradient", head.weight.grad),
    ):
        assert relative(value.detach(), golden[key]) < 1e-4, key

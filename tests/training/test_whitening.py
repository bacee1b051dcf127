"""Partial whitening against its definition, on the network's own embeddings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from groove.errors import SettingsError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.training.checkpoint import Checkpoint  # noqa: E402
from groove.training.networks import Network, build_encoder, new_card  # noqa: E402
from groove.training.whitening import whitened  # noqa: E402
from tests.fakes import telephone_card  # noqa: E402

pytestmark = pytest.mark.torch
FBANK, NETWORK = FbankConfig(n_mels=16), Network("ecapa", 8, 16)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = build_encoder(NETWORK, FBANK).backbone.state_dict()
    head = {"weight": torch.ones(3, 8)}
    return Checkpoint(new_card(NETWORK, FBANK, name="x"), NETWORK, model, {}, ["a"], head)


def embed(checkpoint: Checkpoint) -> np.ndarray:
    module = build_encoder(checkpoint.network, FBANK)
    module.backbone.load_state_dict(checkpoint.model)
    frames = torch.randn(300, 20, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return module.backbone.eval()(frames).double().numpy()


@pytest.mark.parametrize("power", [0.25, 0.5])
def test_the_covariance_is_that_of_the_definition(checkpoint: Checkpoint, power: float) -> None:
    before = embed(checkpoint)
    after = embed(whitened(checkpoint, before, power=power))
    spread, axes = np.linalg.eigh(np.cov(before.T))
    wanted = (axes * spread ** (1 - 2 * power)) @ axes.T
    np.testing.assert_allclose(np.cov(after.T), wanted, rtol=1e-3, atol=1e-3 * wanted.max())


def test_no_power_changes_nothing(checkpoint: Checkpoint) -> None:
    before = embed(checkpoint)
    after = embed(whitened(checkpoint, before, power=0))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_what_belongs_to_the_old_space_is_left_behind(checkpoint: Checkpoint) -> None:
    found = whitened(checkpoint, embed(checkpoint))
    assert checkpoint.head and not found.head
    assert found.card == checkpoint.card
    measured = replace(checkpoint, card=replace(telephone_card(), name="x"))
    card = whitened(measured, embed(checkpoint)).card
    assert card.thresholds == () and card.calibration is None and card.narrow_band is None
    assert found.speakers == checkpoint.speakers == ["a"]  # for evaluation's warning


def test_what_cannot_be_whitened_is_refused(checkpoint: Checkpoint) -> None:
    rows = embed(checkpoint)
    with pytest.raises(TrainingError, match=r"shape \(15, 8\); wanted at least 16 of 8"):
        whitened(checkpoint, rows[:15])
    with pytest.raises(SettingsError, match="power 0.6; wanted 0"):
        whitened(checkpoint, rows, power=0.6)
    other = Checkpoint(checkpoint.card, checkpoint.network, {}, {})
    with pytest.raises(TrainingError, match="knows the last layer of ecapa"):
        whitened(other, rows)

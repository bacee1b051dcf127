"""A widened network says what the narrow one says, and learns with what was added."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from groove.errors import SettingsError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.training.checkpoint import Checkpoint, load, save  # noqa: E402
from groove.training.networks import Network, build_encoder, new_card  # noqa: E402
from groove.training.widening import widened  # noqa: E402

pytestmark = pytest.mark.torch
FBANK = FbankConfig(n_mels=16)
ROOT = Path(__file__).resolve().parents[2]


def trained(network: Network) -> Checkpoint:
    """As after a training: no norm is at its beginning any more."""
    torch.manual_seed(0)
    model = build_encoder(network, FBANK).backbone.state_dict()
    for name, value in model.items():
        if "norm" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    card = new_card(network, FBANK, name="x")
    return Checkpoint(card, network, model, {}, ["a"], {"weight": torch.ones(1, 8)}, {}, {"o": 1})


def embed(checkpoint: Checkpoint, *, training: bool) -> torch.Tensor:
    module = build_encoder(checkpoint.network, FBANK).backbone
    module.load_state_dict(checkpoint.model)
    frames = torch.randn(7, 40, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return module.double().train(training)(frames.double())


# 128 channels are also the bottlenecks' size, 16 the number of mel bands.
@pytest.mark.parametrize(("channels", "wide"), [(16, 24), (16, 32), (128, 136)])
@pytest.mark.parametrize("training", [False, True])
def test_the_embeddings_stay(channels: int, wide: int, training: bool) -> None:
    narrow = trained(Network("ecapa", 8, channels))
    grown = widened(narrow, wide)
    assert grown.network.channels == wide and grown.card.architecture == f"ECAPA-TDNN C{wide}"
    before, after = embed(narrow, training=training), embed(grown, training=training)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-7)


def test_the_new_channels_are_heard_from_and_learn() -> None:
    grown = widened(trained(Network("ecapa", 8, 16)), 32)
    module = build_encoder(grown.network, FBANK).backbone
    module.load_state_dict(grown.model)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    frames = torch.randn(7, 40, 16, generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # the first step moves the zeros, the second what lies behind them
        optimizer.zero_grad()
        module(frames).square().sum().backward()
        optimizer.step()
    enter, drawn = (
        module.blocks[0].enter.conv.weight.detach(),
        grown.model["blocks.0.enter.conv.weight"],
    )
    assert not drawn[0, 2:4].any() and enter[0, 2:4].all()  # an old row, its new columns
    assert not torch.equal(enter[2:4], drawn[2:4])  # rows that are new


def test_speakers_stay_and_the_optimizer_goes() -> None:
    narrow = trained(Network("ecapa", 8, 16))
    narrow = replace(narrow, config={"train": {"channels": 16, "p": 4}, "resume": False})
    grown = widened(narrow, 32)
    assert grown.config == {"train": {"channels": 32, "p": 4}, "resume": False}
    assert grown.speakers == ["a"] and grown.head is narrow.head
    assert narrow.optimizer and not grown.optimizer


def test_seeds_draw_other_channels_and_leave_the_caller_its_own() -> None:
    narrow = trained(Network("ecapa", 8, 16))
    state = torch.get_rng_state()
    first, again = widened(narrow, 32), widened(narrow, 32)
    other = widened(narrow, 32, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    name = "stem.conv.weight"
    assert torch.equal(first.model[name], again.model[name])
    assert not torch.equal(first.model[name], other.model[name])


@pytest.mark.parametrize("channels", [8, 16, 20])
def test_channels_that_cannot_be_reached_are_refused(channels: int) -> None:
    with pytest.raises(SettingsError, match="multiple of 8 above the 16"):
        widened(trained(Network("ecapa", 8, 16)), channels)


def test_another_network_is_refused() -> None:
    narrow = trained(Network("ecapa", 8, 16))
    other = Checkpoint(narrow.card, Network("campplus", 8), {}, {})
    with pytest.raises(TrainingError, match="ecapa networks only"):
        widened(other, 32)


def test_the_command(tmp_path: Path) -> None:
    save(trained(Network("ecapa", 8, 16)), tmp_path / "narrow.pt")
    command = [sys.executable, str(ROOT / "scripts" / "widen.py"), "--ckpt", tmp_path / "narrow.pt"]
    done = subprocess.run(
        [*command, "--channels", "24", "--out", tmp_path / "wide.pt"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "wide.pt").network.channels == 24
    refused = subprocess.run(
        [*command, "--channels", "16", "--out", tmp_path / "no.pt"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert refused.returncode and "widen: channels 16" in refused.stderr
    assert not (tmp_path / "no.pt").exists()

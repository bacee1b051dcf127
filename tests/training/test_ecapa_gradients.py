"""Gradients of our ECAPA-TDNN against those of WeSpeaker's with the same weights.

`pytest -m peers` asks WeSpeaker again for these numbers, and for those of the heads.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from groove.training.backbones.ecapa import EcapaTdnn  # noqa: E402
from groove.training.importers import _ecapa_names  # noqa: E402
from tests.data.backbones import peer_modules as peers  # noqa: E402
from tests.data.training import make_golden  # noqa: E402
from tests.seeded import fill, seeded_state, shapes_of  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_embedding_and_every_layers_gradient_are_wespeakers(mode: str) -> None:
    golden = json.loads(make_golden.PATH.read_text("utf-8"))["ecapa"][mode]
    network, theirs = ours_with_the_same_weights()
    found = make_golden.summarise(network, network, training=mode == "training", names=theirs)
    assert_same(found, golden)


def ours_with_the_same_weights() -> tuple[EcapaTdnn, dict[str, str]]:
    """Our network filled as WeSpeaker's is, and WeSpeaker's name of each of its weights."""
    settings = make_golden.ECAPA
    network = EcapaTdnn(80, settings["channels"], settings["embedding_size"])
    theirs = {ours: name for name, ours in _ecapa_names().items()}
    shapes = {theirs[name]: shape for name, shape in shapes_of(network.state_dict()).items()}
    drawn = seeded_state(shapes, 7)
    network.load_state_dict({ours: drawn[name] for ours, name in theirs.items() if name in drawn})
    return network, theirs


def assert_same(found: dict[str, Any], golden: dict[str, Any]) -> None:
    """Embeddings, and of each layer's gradient both numbers, but for rounding."""
    embedding = torch.tensor(found["embedding"])
    assert make_golden.relative(embedding, golden["embedding"]) < 1e-4
    assert set(found["gradients"]) == set(golden["gradients"]) and len(golden["gradients"]) > 80
    scale = max(norm for norm, _ in golden["gradients"].values())
    for name, (norm, product) in golden["gradients"].items():
        ours = found["gradients"][name]
        # A bias before a batch normalisation has, in training, a gradient of nothing but rounding.
        limit = 1e-4 * norm + 1e-6 * scale
        assert abs(ours[0] - norm) < limit and abs(ours[1] - product) < limit, name


@pytest.mark.peers
@pytest.mark.parametrize("training", [True, False])
def test_every_number_of_every_gradient_is_wespeakers(training: bool) -> None:
    """What is stored are two numbers a layer; here both networks run, and all are compared."""
    assert not peers.missing_peers(), "pip install --no-deps -r requirements/peers.txt"
    settings = make_golden.ECAPA
    peer = peers.wespeaker_ecapa(settings["channels"], settings["embedding_size"])
    fill(peer, 7)
    wanted, theirs = make_golden.differentiate(peer, lambda x: peer(x)[-1], training=training)
    network, names = ours_with_the_same_weights()
    found, ours = make_golden.differentiate(network, network, training=training, names=names)
    assert make_golden.relative(found, wanted) < 1e-4
    assert set(ours) == set(theirs) and len(theirs) > 80
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        assert ours[name].shape == gradient.shape, name
        limit = 1e-4 * float(gradient.abs().max()) + 1e-6 * largest  # as in assert_same
        assert float((ours[name] - gradient).abs().max()) < limit, name


@pytest.mark.peers
def test_the_golden_file_is_what_the_peer_says() -> None:
    assert not peers.missing_peers(), "pip install --no-deps -r requirements/peers.txt"
    found, kept = make_golden.golden(), json.loads(make_golden.PATH.read_text("utf-8"))
    assert found["made_with"] == kept["made_with"]
    assert set(found) == set(kept) and set(found["ecapa"]) == set(kept["ecapa"])
    for mode, values in found["ecapa"].items():
        assert_same(values, kept["ecapa"][mode])
    assert set(found["head"]) == set(kept["head"]) == set(make_golden.HEAD_CASES)
    for name, values in found["head"].items():
        assert set(values) == set(kept["head"][name])
        for key, value in values.items():
            wanted = kept["head"][name][key]
            assert make_golden.relative(torch.tensor(value), wanted) < 1e-5, (name, key)

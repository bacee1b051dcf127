"""Checkpoints: whole or not at all, plain data, refused when they are not ours."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from groove.errors import ModelError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.training.checkpoint import (  # noqa: E402
    Checkpoint,
    is_checkpoint,
    load,
    load_encoder,
    rng_states,
    save,
    set_rng_states,
)
from groove.training.networks import Network, build_encoder, network_of, new_card  # noqa: E402

pytestmark = pytest.mark.torch
SMALL = Network("ecapa", 12, 8)


def checkpoint(network: Network = SMALL, **changes: Any) -> Checkpoint:
    torch.manual_seed(1)
    fbank = FbankConfig(window="hamming", n_mels=24)
    module = build_encoder(network, fbank)
    values: dict[str, Any] = {
        "card": new_card(network, fbank, name="small"),
        "network": network,
        "model": module.backbone.state_dict(),
        "config": {"train": {"lr": 0.1, "speeds": [1.0]}},
        "speakers": ["a", "b"],
        "progress": {"step": 7, "best_eer": 0.25},
        "rng": rng_states(),
    }
    return Checkpoint(**{**values, **changes})


def test_what_was_saved_is_read_and_holds_plain_data(tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW(build_encoder(SMALL, FbankConfig(n_mels=24)).parameters())
    saved = checkpoint(optimizer=optimizer.state_dict())
    save(saved, tmp_path / "last.pt")
    found = load(tmp_path / "last.pt")
    assert (
        found.card.to_json() == saved.card.to_json()
        and found.network == SMALL
        and found.speakers == ["a", "b"]
    )
    assert found.progress == saved.progress and found.config == saved.config
    assert all(torch.equal(found.model[n], v) for n, v in saved.model.items())
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("network", [SMALL, Network("campplus", 16)])
def test_the_encoder_is_built_again(tmp_path: Path, network: Network) -> None:
    save(checkpoint(network), tmp_path / "m.pt")
    module, card = load_encoder(tmp_path / "m.pt")
    assert not module.training and network_of(module) == network
    assert module(torch.zeros(2, 8000).uniform_(-0.1, 0.1)).shape == (2, card.embedding_size)


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save(checkpoint(), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # acts as a full disk does
    try:
        with pytest.raises(TrainingError, match="cannot be written .*still there.*resume=true"):
            save(checkpoint(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_other_versions_foreign_and_damaged_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(ModelError, match="no such checkpoint"):
        load(path)
    torch.save({"model": {"w": torch.zeros(2)}}, path)
    assert not is_checkpoint(path)
    with pytest.raises(ModelError, match="is it a public one"):
        load(path)
    save(checkpoint(), path)
    assert is_checkpoint(path)
    values = torch.load(path, weights_only=True)
    torch.save({**values, "version": 99}, path)
    with pytest.raises(ModelError, match="version 99, this Groove reads 1"):
        load(path)
    del values["speakers"]
    torch.save(values, path)
    with pytest.raises(ModelError, match="damaged checkpoint"):
        load(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match="damaged, or not"):
        load(path)
    assert not is_checkpoint(path)


def test_a_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ModelError, match="not a checkpoint of plain tensors"):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_random_numbers_go_on_where_they_stopped() -> None:
    states = rng_states()
    first = torch.rand(5)
    set_rng_states(states)
    assert torch.equal(torch.rand(5), first)

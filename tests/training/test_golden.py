"""The same weights and the same waveform in a peer's own network and in ours.

The golden files say what the peers' networks gave, on frames of kaldi-native-fbank;
tests/data/backbones/make_golden.py made them. `pytest -m peers` asks the peers again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.training.encoder import TorchEncoder
from groove.training.importers import import_checkpoint
from tests.data.backbones import peer_modules as peers
from tests.data.backbones.make_golden import (
    CASES,
    EMBEDDING_SIZE,
    FOLDER,
    REAL_MODEL,
    SEED,
    cuts,
    golden,
    peer_frames,
    real_golden,
)
from tests.seeded import digest, fill, shapes_of
from tests.training.published import published_shapes, published_state, save

pytestmark = pytest.mark.torch


def read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return values


def unit(rows: object) -> NDArray[np.float64]:
    wide = np.asarray(rows, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def imported(kind: str, folder: Path) -> TorchEncoder:
    path = save(folder / "published.pt", published_state(kind, embedding_size=EMBEDDING_SIZE))
    found = import_checkpoint(path, kind)
    return TorchEncoder(found.module, found.card)


@pytest.mark.parametrize("name", list(CASES))
def test_an_imported_network_gives_the_peers_embedding(name: str, tmp_path: Path) -> None:
    wanted = read(name)
    kind = wanted["kind"]
    assert (kind, wanted["seed"]) == (CASES[name].kind, SEED)
    assert digest(published_shapes(kind, embedding_size=EMBEDDING_SIZE)) == wanted["layers_crc32"]
    encoder = imported(kind, tmp_path)
    found = np.concatenate([encoder(cut[None]) for cut in cuts()])
    assert np.abs(unit(found) - unit(wanted["embeddings"])).max() < 1e-4


@pytest.mark.parametrize("name", list(CASES))
def test_on_the_peers_own_frames_only_rounding_is_left(name: str, tmp_path: Path) -> None:
    wanted = unit(read(name)["embeddings"])
    backbone = imported(CASES[name].kind, tmp_path).module.backbone
    frames = [peer_frames(cut, CASES[name].frames) for cut in cuts()]
    found = np.concatenate([peers.embed(backbone, f).numpy() for f in frames])
    assert np.abs(unit(found) - wanted).max() < 5e-5  # float64: 1e-14


@pytest.mark.peers
@pytest.mark.parametrize("name", list(CASES))
def test_the_golden_file_is_what_the_peer_says(name: str) -> None:
    assert not peers.missing_peers(), "pip install --no-deps -r requirements/peers.txt"
    found, kept = golden(CASES[name]), read(name)
    assert np.abs(unit(found.pop("embeddings")) - unit(kept.pop("embeddings"))).max() < 1e-5
    assert found == kept


@pytest.mark.peers
def test_the_widest_ecapa_is_wespeakers_too(tmp_path: Path) -> None:
    theirs = peers.wespeaker_ecapa(1024, 256)
    sizes = {"embedding_size": 256, "channels": 1024}
    assert digest(published_shapes("wespeaker-ecapa", **sizes)) == digest(
        shapes_of(theirs.state_dict())
    )
    path = save(tmp_path / "c1024.pt", published_state("wespeaker-ecapa", **sizes))
    ours = import_checkpoint(path, "wespeaker-ecapa").module.backbone
    frames = peer_frames(cuts()[0], CASES["wespeaker-ecapa-512"].frames)
    wanted = unit(peers.embed(fill(theirs, SEED), frames).numpy())
    assert np.abs(unit(peers.embed(ours, frames).numpy()) - wanted).max() < 1e-5


@pytest.mark.peers
def test_the_published_weights_say_the_same_in_funasrs_network() -> None:
    found, kept = real_golden(), read(REAL_MODEL)
    assert (unit(found["embeddings"]) * unit(kept["embeddings"])).sum(axis=1).min() > 0.999999

"""Make the golden files of this folder: what peers' own networks say of one example recording.

    python -m pip install --no-deps -r requirements/peers.txt
    python -m tests.data.backbones.make_golden

Weights are random, from `tests.seeded`; only for ``campplus-zh-en`` they are the published ones,
whose checkpoint is fetched as `groove models pull` does. Frames come from kaldi-native-fbank, not
from Groove. A file holds the embeddings of two cuts, so it stays below 10 KB.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from groove import models, pull
from groove.audio import SAMPLE_RATE, read_audio
from groove.fbank import FbankConfig
from tests.conftest import VOICE_A
from tests.data.backbones import peer_modules as peers
from tests.seeded import digest, fill, shapes_of
from tests.test_fbank import kaldi_fbank

FOLDER = Path(__file__).parent
SEED, EMBEDDING_SIZE = 7, 24
REAL_MODEL = "campplus-zh-en"
CUTS_S = (5.0, 0.73)  # more than one segment of CAM++'s mask, and less
LEVEL = 0.08  # rms of the cuts: above what the front end for CAM++ would raise
WESPEAKER = FbankConfig(window="hamming", subtract_mean=False)
THREE_D_SPEAKER = FbankConfig(sample_scale=1.0, subtract_mean=False)


@dataclass(frozen=True)
class Case:
    """A network of a peer, and the kind under which Groove imports its weights."""

    peer: str
    kind: str
    frames: FbankConfig
    build: Callable[[int], nn.Module]


CASES = {
    "wespeaker-ecapa-512": Case(
        "wespeaker", "wespeaker-ecapa", WESPEAKER, lambda size: peers.wespeaker_ecapa(512, size)
    ),
    "wespeaker-campplus": Case(
        "wespeaker", "wespeaker-campplus", WESPEAKER, peers.wespeaker_campplus
    ),
    "funasr-campplus": Case("funasr", "3dspeaker-campplus", THREE_D_SPEAKER, peers.funasr_campplus),
}


def cuts() -> list[NDArray[np.float32]]:
    voice = read_audio(VOICE_A)
    return [_at_level(voice[: round(s * SAMPLE_RATE)]) for s in CUTS_S]


def peer_frames(cut: NDArray[np.float32], config: FbankConfig) -> torch.Tensor:
    """[1, T, 80] from kaldi-native-fbank, mean subtracted."""
    frames = kaldi_fbank(cut, config)
    return torch.from_numpy(frames - frames.mean(axis=0))[None]


def golden(case: Case) -> dict[str, Any]:
    network = case.build(EMBEDDING_SIZE)
    layers = digest(shapes_of(network.state_dict()))
    return _said(fill(network, SEED), case) | {"seed": SEED, "layers_crc32": layers}


def real_golden() -> dict[str, Any]:
    """The published weights in FunASR's CAMPPlus."""
    case = replace(CASES["funasr-campplus"])
    network = case.build(192)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, _ = pull.fetch(models.entry(REAL_MODEL), Path(scratch))
        network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    return _said(network.eval(), case) | {"sha256": models.entry(REAL_MODEL).sha256}


def _said(network: nn.Module, case: Case) -> dict[str, Any]:
    said = [peers.embed(network, peer_frames(cut, case.frames))[0].tolist() for cut in cuts()]
    rounded = [[float(f"{value:.7g}") for value in row] for row in said]
    return {"peer": peers.VERSIONS[case.peer], "kind": case.kind, "embeddings": rounded}


def _at_level(cut: NDArray[np.float32]) -> NDArray[np.float32]:
    rms = float(np.sqrt(np.mean(cut.astype(np.float64) ** 2)))
    return (cut * np.float32(LEVEL / rms)).astype(np.float32)


if __name__ == "__main__":
    made = {name: golden(case) for name, case in CASES.items()} | {REAL_MODEL: real_golden()}
    for name, values in made.items():
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")
        print(path.name, path.stat().st_size, "bytes")

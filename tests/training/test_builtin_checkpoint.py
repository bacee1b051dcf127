"""The checkpoint that belongs to the built-in model: the same network, to train on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import groove  # noqa: E402
from groove.audio import SAMPLE_RATE, read_audio  # noqa: E402
from groove.models import BUILT_IN  # noqa: E402
from groove.training.checkpoint import load, load_encoder  # noqa: E402
from groove.training.encoder import TorchEncoder  # noqa: E402
from groove.training.loop import train  # noqa: E402
from tests.conftest import ROOT, VOICE_A, VOICE_B  # noqa: E402
from tests.training.tiny import config, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch
CHECKPOINT = ROOT / "checkpoints" / "groove-ecapa.pt"


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_gives_the_embeddings_of_the_model_file(name: str) -> None:
    ours, packaged = TorchEncoder(*load_encoder(CHECKPOINT)), groove.open_encoder(name, threads=1)
    assert ours.card.version == packaged.card.version.removesuffix("+int8")
    for path in (VOICE_A, VOICE_B):
        waveform = read_audio(path)[None, : 3 * SAMPLE_RATE]
        a, b = ours(waveform)[0], packaged(waveform)[0]
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert cosine >= (0.99 if "int8" in packaged.card.version else 0.999), path


def test_it_names_nobody_and_training_goes_on_from_it(tmp_path: Path) -> None:
    found = load(CHECKPOINT)
    assert not (found.speakers or found.config or found.optimizer or found.head)
    corpus = write_corpus(tmp_path)
    more = {"init": str(CHECKPOINT), "max_steps": 1, "curves": False}
    assert found.card.fbank.n_mels == 80
    train(config(corpus, tmp_path / "out", train=more))
    after = load(tmp_path / "out" / "last.pt")
    assert after.network == found.network and after.card.fbank == found.card.fbank
    moved = [n for n in found.model if "running" not in n and "num_batches" not in n]
    near = [float((after.model[n].float() - found.model[n].float()).abs().max()) for n in moved]
    assert 0 < max(near) < 0.01  # one step of the learning rate

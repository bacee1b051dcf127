"""The front end in torch against `groove.fbank.log_mel`, which Kaldi's own values check."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.fbank import FbankConfig, log_mel
from groove.training.backbones.campplus import CamPlusPlus
from groove.training.backbones.ecapa import EcapaTdnn
from groove.training.frontend import FbankFrontEnd
from groove.training.importers import THREE_D_SPEAKER, WESPEAKER
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.seeded import fill
from tests.test_fbank import CONFIGS, voice_like

pytestmark = pytest.mark.torch

ALL_CONFIGS = CONFIGS | {
    "raised": THREE_D_SPEAKER,
    "raised, mirrored": replace(THREE_D_SPEAKER, snip_edges=False),
    "mean kept": FbankConfig(subtract_mean=False),
}


def frames_of(waveforms: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    with torch.inference_mode():
        frames: NDArray[np.float32] = FbankFrontEnd(config)(torch.from_numpy(waveforms)).numpy()
    return frames


@pytest.mark.parametrize("name", list(ALL_CONFIGS))
def test_frames_are_those_of_log_mel(name: str, rng: np.random.Generator) -> None:
    config = ALL_CONFIGS[name]
    wave = voice_like(rng, 2 * config.sample_rate + 123, config.sample_rate)
    rows = np.stack([wave, wave[::-1].copy(), wave * np.float32(0.02)])  # the last one is quiet
    found = frames_of(rows, config)
    wanted = np.stack([log_mel(row, config) for row in rows])
    assert found.shape == wanted.shape and found.dtype == np.float32
    assert np.abs(found - wanted).mean() < 1e-4
    assert np.abs(found - wanted).max() < 2e-2  # in bins near silence


@pytest.mark.parametrize("config", [WESPEAKER, THREE_D_SPEAKER, FbankConfig(snip_edges=False)])
@pytest.mark.parametrize("path", [VOICE_A, VOICE_A2, VOICE_B])
def test_both_front_ends_give_the_same_embedding(config: FbankConfig, path: object) -> None:
    waveform = read_audio(str(path))
    separate = torch.from_numpy(log_mel(waveform, config))[None]
    folded = torch.from_numpy(frames_of(waveform[None], config))
    assert _cosine(separate, folded) >= 0.99999


@pytest.mark.speech
def test_both_front_ends_give_the_same_embedding_on_real_speech(
    eval_rows: list[dict[str, str]],
) -> None:
    rows = eval_rows[::60]
    assert len(rows) > 5
    for i, row in enumerate(rows):
        factor = (1.0, 0.03)[i % 2]  # every other one so quiet that THREE_D_SPEAKER raises it
        waveform = (read_audio(row["path"]) * np.float32(factor)).astype(np.float32)
        for config in (WESPEAKER, THREE_D_SPEAKER):
            separate = torch.from_numpy(log_mel(waveform, config))[None]
            folded = torch.from_numpy(frames_of(waveform[None], config))
            assert _cosine(separate, folded) >= 0.99999


def _cosine(a: object, b: object) -> float:
    """The smallest over two networks with random weights."""
    worst = 1.0
    for network in _networks():
        with torch.inference_mode():
            x, y = network(a)[0].double(), network(b)[0].double()
        worst = min(worst, float(x @ y / x.norm() / y.norm()))
    return worst


_made: list[torch.nn.Module] = []


def _networks() -> list[torch.nn.Module]:
    if not _made:
        _made.append(fill(EcapaTdnn(channels=64, embedding_size=64), 3))
        _made.append(fill(CamPlusPlus(embedding_size=64), 3))
    return _made


def test_it_stays_in_float32_where_half_would_overflow(rng: np.random.Generator) -> None:
    wave = torch.from_numpy(voice_like(rng, SAMPLE_RATE, SAMPLE_RATE))[None]
    front_end = FbankFrontEnd(FbankConfig())
    wanted = front_end(wave)
    halved = FbankFrontEnd(FbankConfig()).half()
    assert halved.kernel.dtype == torch.float32
    assert torch.equal(halved(wave), wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(front_end(wave), wanted)


def test_it_has_nothing_to_learn_or_to_store_and_lets_gradients_through(
    rng: np.random.Generator,
) -> None:
    front_end = FbankFrontEnd(THREE_D_SPEAKER)
    assert not list(front_end.parameters()) and not front_end.state_dict()
    wave = torch.from_numpy(voice_like(rng, 8000, SAMPLE_RATE))[None].requires_grad_()
    front_end(wave).square().sum().backward()
    assert torch.isfinite(wave.grad).all() and wave.grad.abs().max() > 0


def test_silence_is_finite_and_one_frame_is_enough() -> None:
    for config in (FbankConfig(), THREE_D_SPEAKER):
        found = frames_of(np.zeros((2, config.min_samples), np.float32), config)
        assert found.shape == (2, 1, 80) and np.isfinite(found).all()

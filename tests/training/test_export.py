"""The model file computes what the network computes, at every length and batch, or is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groove.audio import read_audio
from groove.encoder import OnnxEncoder
from groove.errors import EmptyAudio, ModelError
from groove.fbank import FbankConfig, log_mel
from groove.parity import ParityGate, bundled_voices
from groove.training.backbones.campplus import CamPlusPlus
from groove.training.backbones.ecapa import EcapaTdnn
from groove.training.encoder import EncoderModule, TorchEncoder
from groove.training.export import export_onnx
from groove.training.importers import THREE_D_SPEAKER, WESPEAKER
from tests.conftest import VOICE_A, VOICE_B
from tests.data.model.make_tiny_model import tiny_card, tiny_module
from tests.fakes import fake_card
from tests.seeded import fill

pytestmark = pytest.mark.torch
SIZE = 16


def ecapa() -> EncoderModule:
    return EncoderModule(WESPEAKER, fill(EcapaTdnn(channels=16, embedding_size=SIZE), 1))


def campplus() -> EncoderModule:
    return EncoderModule(THREE_D_SPEAKER, fill(CamPlusPlus(embedding_size=SIZE), 1))


def card_for(module: EncoderModule, **changes: object) -> object:
    return fake_card(fbank=module.front_end.config, embedding_size=SIZE, **changes)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    found: NDArray[np.float64] = (x * y).sum(1) / np.linalg.norm(x, axis=1)
    return found / np.linalg.norm(y, axis=1)


@pytest.fixture(scope="module", params=[ecapa, campplus])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TorchEncoder, OnnxEncoder]:
    module = request.param()
    card = card_for(module)
    path = export_onnx(module, card, tmp_path_factory.mktemp("export") / "m.onnx")
    return TorchEncoder(module, card), OnnxEncoder(path, threads=1)


def test_the_file_agrees_at_lengths_and_batches_that_were_not_traced(
    pair: tuple[TorchEncoder, OnnxEncoder],
) -> None:
    voice = np.concatenate([read_audio(VOICE_A), read_audio(VOICE_B)])
    for n_samples, batch in ((400, 1), (401, 2), (8_111, 3), (33_333, 5), (80_000, 2)):
        starts = np.linspace(0, len(voice) - n_samples, batch).astype(int)
        rows = np.stack([voice[s : s + n_samples] for s in starts])
        wanted, found = (encoder(rows) for encoder in pair)
        assert found.shape == (batch, SIZE)
        assert cosines(wanted, found).min() >= 0.99999
    with pytest.raises(EmptyAudio, match="399 samples are less than one frame"):
        pair[1](voice[None, :399])


def test_batching_changes_no_embedding(pair: tuple[TorchEncoder, OnnxEncoder]) -> None:
    voice = np.concatenate([read_audio(VOICE_A), read_audio(VOICE_B)])
    rows = np.stack([voice[s : s + 24_000] for s in range(0, 120_000, 12_000)])
    for encoder in pair:
        together = encoder(rows)
        alone = np.concatenate([encoder(row[None]) for row in rows])
        reversed_ = encoder(rows[::-1])[::-1]
        assert cosines(together, alone).min() > 0.999999
        assert cosines(together, reversed_).min() > 0.999999
        assert cosines(together[:1], together[5:6]).max() < 0.99999  # rows do differ


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        export_onnx(tiny_module(), tiny_card(), tmp_path / name).read_bytes() for name in "ab"
    )
    assert first == second


def test_names_shapes_and_card_are_in_the_file(tmp_path: Path) -> None:
    model = onnx.load(str(export_onnx(tiny_module(), tiny_card(), tmp_path / "m.onnx")))
    (given,), (out,) = model.graph.input, model.graph.output
    assert (given.name, out.name) == ("waveform", "embedding")
    assert [d.dim_param for d in given.type.tensor_type.shape.dim] == ["B", "S"]
    assert out.type.tensor_type.shape.dim[0].dim_param == "B"
    assert out.type.tensor_type.shape.dim[1].dim_value == 16
    assert [entry.key for entry in model.metadata_props] == ["groove.card"]


def test_a_features_in_file_takes_frames_and_groove_makes_them(tmp_path: Path) -> None:
    waveform_in = OnnxEncoder(export_onnx(tiny_module(), tiny_card(), tmp_path / "w.onnx"))
    card = replace(tiny_card(), input="fbank")
    features_in = OnnxEncoder(export_onnx(tiny_module(), card, tmp_path / "f.onnx"))
    assert features_in.path.stat().st_size < waveform_in.path.stat().st_size - 50_000
    voice = read_audio(VOICE_A)[None]
    assert cosines(waveform_in(voice), features_in(voice)).min() >= 0.99999
    import onnxruntime

    session = onnxruntime.InferenceSession(str(features_in.path))
    (by_hand,) = session.run(None, {"fbank": log_mel(voice[0], card.fbank)[None]})
    assert np.allclose(by_hand, features_in(voice), rtol=1e-4, atol=1e-4)


class FrozenTime(nn.Module):
    """Tracing turns the number of frames into a constant: wrong at every other length."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(80, SIZE)

    def forward(self, frames: Tensor) -> Tensor:
        weights = torch.arange(frames.shape[1], dtype=torch.float32)
        weights = torch.where(weights < int(frames.shape[1]) // 2, 1.0, -1.0)
        mixed: Tensor = self.linear((frames * weights[:, None]).sum(1))
        return mixed


class NotFinite(FrozenTime):
    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = self.linear(frames.sum(1)) * float("nan")
        return out


class NoGraph(FrozenTime):
    def forward(self, frames: Tensor) -> Tensor:
        return self.linear(torch.linalg.eigvals(frames[0, :80].T @ frames[0, :80]).real[None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (FrozenTime, "differs from torch: cosine"),
        (NotFinite, "not finite"),
        (NoGraph, "export failed"),
    ],
)
def test_a_network_that_cannot_be_exported_leaves_the_old_file(
    make: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"what was here")
    module = EncoderModule(FbankConfig(), fill(make(), 1))
    with pytest.raises(ModelError, match=message) as caught:
        export_onnx(module, card_for(module), target)
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"what was here"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    class Interrupts(FrozenTime):
        def forward(self, frames: Tensor) -> Tensor:
            raise KeyboardInterrupt

    module = EncoderModule(FbankConfig(), Interrupts())
    with pytest.raises(KeyboardInterrupt):
        export_onnx(module, card_for(module), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_parity_says_where_two_networks_part(tmp_path: Path) -> None:
    exported = OnnxEncoder(export_onnx(tiny_module(), tiny_card(), tmp_path / "m.onnx"))
    other = tiny_module()
    with torch.no_grad():
        other.backbone.linear.bias += 3.0
    for module, holds in ((other, False), (tiny_module(), True)):
        gate = ParityGate(TorchEncoder(module, tiny_card()), bundled_voices(), (0.1, 1.0))
        found = gate.check(exported, 0.99999)
        assert found.holds is holds
        assert holds or re.match(r"\d\S* s, batch [17], (loud|-60 dBFS)$", found.where)


def test_a_card_of_another_front_end_and_a_folder_that_is_not_there_are_refused(
    tmp_path: Path,
) -> None:
    wrong = replace(tiny_card(), fbank=FbankConfig(), front_end_hash="")
    with pytest.raises(ModelError, match="the card's front end"):
        export_onnx(tiny_module(), wrong, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="no such folder"):
        export_onnx(tiny_module(), tiny_card(), tmp_path / "absent" / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_a_torch_encoder_follows_its_weights() -> None:
    first, same, other = (TorchEncoder(tiny_module(), tiny_card()) for _ in range(3))
    with torch.no_grad():
        other.module.backbone.linear.bias[0] += 1e-6
    assert first.model_hash == same.model_hash != other.model_hash

"""Make tiny.onnx and tiny_features.onnx: real model files, small, that know no voice.

    python -m tests.data.model.make_tiny_model        # needs the train extra

Front end, one SE-Res2 block, attentive pooling and card are those of Groove; the weights are drawn
from a seed. The frames are short (8 ms, 24 bands) because the folded filter bank of the usual front
end alone weighs 0.9 MB. Run it again when the model file's format changes, and never otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groove.audio import read_audio
from groove.card import ModelCard, ThresholdTable
from groove.fbank import FbankConfig
from groove.scoring import Calibration, ThresholdRow
from groove.training.backbones.ecapa import ConvReluNorm, SERes2Block
from groove.training.backbones.pooling import AttentiveStatisticsPooling
from groove.training.encoder import EncoderModule
from groove.training.export import export_onnx
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.seeded import fill

TINY_MODEL = Path(__file__).with_name("tiny.onnx")
TINY_FEATURES_MODEL = Path(__file__).with_name("tiny_features.onnx")  # takes frames
FBANK = FbankConfig(n_mels=24, frame_length_ms=8.0, frame_shift_ms=8.0)
# With this seed the two recordings of one example voice pass the threshold and the other does not.
CHANNELS, EMBEDDING_SIZE, SEED = 8, 16, 131
EXAMPLES = (VOICE_A, VOICE_A2, VOICE_B, VOICE_B)  # as much of one voice as of the other
NOT_MEASURED = "made up for tests"


class TinyBackbone(nn.Module):
    """Frames [B, T, M] -> embedding [B, D]: an ECAPA-TDNN with one block of eight channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvReluNorm(FBANK.n_mels, CHANNELS, width=5)
        self.block = SERes2Block(CHANNELS, dilation=2)
        self.pooling = AttentiveStatisticsPooling(CHANNELS, bottleneck=CHANNELS)
        self.linear = nn.Linear(2 * CHANNELS, EMBEDDING_SIZE)

    def forward(self, frames: Tensor) -> Tensor:
        hidden = self.block(self.stem(frames.transpose(1, 2)))
        embedding: Tensor = self.linear(self.pooling(F.relu(hidden)))
        return embedding


def tiny_module() -> EncoderModule:
    """Random weights; the last bias puts the example recordings around zero, to spread scores."""
    backbone = fill(TinyBackbone(), SEED)
    module = EncoderModule(FBANK, backbone)
    with torch.no_grad():
        voices = [torch.from_numpy(read_audio(path))[None] for path in EXAMPLES]
        backbone.linear.bias -= torch.cat([module(voice) for voice in voices]).mean(dim=0)
    return module


def tiny_card() -> ModelCard:
    rows = tuple(
        ThresholdRow(fmr, threshold, 0.02, round(fmr * 10_000), 10_000, 1_000, 100)
        for fmr, threshold in ((0.1, 0.80), (0.01, 0.90), (0.005, 0.95))
    )
    return ModelCard(
        name="tiny",
        version="1",
        architecture="one SE-Res2 block with random weights",
        embedding_size=EMBEDDING_SIZE,
        input="waveform",
        fbank=FBANK,
        licence="Apache-2.0",
        source="tests/data/model/make_tiny_model.py",
        training_data="none: the weights are random",
        thresholds=(ThresholdTable(0.5, NOT_MEASURED, rows),),
        calibration=Calibration(
            w_score=20.0,
            w_score_speech=2.0,
            w_speech=-1.0,
            bias=-17.0,
            min_speech_s=0.5,
            max_speech_s=10.0,
            n_target=1_000,
            n_nontarget=10_000,
            n_speakers=100,
            measured_on=NOT_MEASURED,
        ),
    )


if __name__ == "__main__":
    export_onnx(tiny_module(), tiny_card(), TINY_MODEL)
    export_onnx(tiny_module(), replace(tiny_card(), input="fbank"), TINY_FEATURES_MODEL)

"""Networks by name: what a checkpoint must say so that its encoder can be built again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from groove.card import ModelCard
from groove.errors import ModelError
from groove.fbank import FbankConfig
from groove.training.backbones.campplus import CamPlusPlus
from groove.training.backbones.ecapa import EcapaTdnn
from groove.training.encoder import EncoderModule
from groove.version import VERSION

NAMES = ("ecapa", "campplus")


@dataclass(frozen=True)
class Network:
    """A backbone's name and size; the front end stands in the card."""

    name: str
    embedding_size: int
    channels: int = 0  # of ECAPA-TDNN; CAM++ has one size

    @property
    def architecture(self) -> str:
        """What the card calls it."""
        return f"ECAPA-TDNN C{self.channels}" if self.name == "ecapa" else "CAM++"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Network:
        """Read what `to_dict` wrote."""
        return cls(str(values["name"]), int(values["embedding_size"]), int(values["channels"]))


def build_encoder(network: Network, fbank: FbankConfig) -> EncoderModule:
    """A new encoder with random weights.

    Raises:
        ModelError: a name that this Groove does not know, or a size that its network refuses.
    """
    backbone: nn.Module
    size = network.embedding_size
    try:
        if network.name == "ecapa":
            backbone = EcapaTdnn(fbank.n_mels, network.channels, size)
        elif network.name == "campplus":
            backbone = CamPlusPlus(fbank.n_mels, size)
        else:
            raise ModelError(f"network {network.name!r}; wanted one of {', '.join(NAMES)}")
    except ValueError as error:
        raise ModelError(f"{network.architecture}: {error}") from None
    return EncoderModule(fbank, backbone)


def network_of(module: EncoderModule) -> Network:
    """Name and size of a module that came from a public checkpoint."""
    backbone = module.backbone
    if isinstance(backbone, EcapaTdnn):
        return Network("ecapa", backbone.embedding_size, backbone.stem.conv.out_channels)
    if isinstance(backbone, CamPlusPlus):
        return Network("campplus", backbone.embedding_size)
    raise ModelError(f"{type(backbone).__name__}: training knows {', '.join(NAMES)}")


def new_card(network: Network, fbank: FbankConfig, *, name: str, parent: str = "") -> ModelCard:
    """The card of a network that was just trained: nothing is measured yet."""
    return ModelCard(
        name=name,
        version=VERSION,
        architecture=network.architecture,
        embedding_size=network.embedding_size,
        input="waveform",
        fbank=fbank,
        parent=parent,
    )

"""Peers' own networks, imported from their packages (requirements/peers.txt) without the rest.

Both packages import audio libraries, hubs and task registries that a network does not need. So
their packages are entered as bare folders, and what their network files import besides torch is
stood in for; the files of the networks themselves run as they were published.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn

VERSIONS = {"wespeaker": "wespeaker-unofficial 0.0.2", "funasr": "funasr 1.4.16"}


def missing_peers() -> list[str]:
    return [name for name in VERSIONS if importlib.util.find_spec(name) is None]


def wespeaker_ecapa(channels: int, embedding_size: int) -> nn.Module:
    """ECAPA_TDNN_GLOB of WeSpeaker: frames [B, T, 80] -> (frames, [B, D])."""
    _bare("wespeaker")
    module = importlib.import_module("wespeaker.models.ecapa_tdnn")
    network: nn.Module = module.ECAPA_TDNN(
        channels=channels, feat_dim=80, embed_dim=embedding_size, global_context_att=True
    )
    return network.eval()


def wespeaker_campplus(embedding_size: int) -> nn.Module:
    """CAMPPlus of WeSpeaker: frames [B, T, 80] -> [B, D]."""
    _bare("wespeaker")
    module = importlib.import_module("wespeaker.models.campplus")
    network: nn.Module = module.CAMPPlus(feat_dim=80, embed_dim=embedding_size)
    return network.eval()


def funasr_campplus(embedding_size: int) -> nn.Module:
    """CAMPPlus of FunASR, by the authors of 3D-Speaker: frames [B, T, 80] -> [B, D]."""
    _bare("funasr")
    _bare("funasr.models")
    _bare("funasr.models.campplus")
    _stand_in("distutils.version", LooseVersion=lambda text: torch.torch_version.TorchVersion(text))
    _stand_in("funasr.register", tables=types.SimpleNamespace(register=lambda *_: lambda c: c))
    _stand_in("funasr.models.campplus.utils", extract_feature=None)
    _stand_in("funasr.utils.load_utils", load_audio_text_image_video=None)
    _stand_in("funasr.utils.amp", autocast=None)
    module = importlib.import_module("funasr.models.campplus.model")
    network: nn.Module = module.CAMPPlus(feat_dim=80, embedding_size=embedding_size)
    return network.eval()


def embed(network: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """Frames [B, T, 80] -> [B, D]; WeSpeaker's ECAPA gives a pair, the embedding last."""
    with torch.inference_mode():
        given = network(frames)
    found: torch.Tensor = given[-1] if isinstance(given, tuple) else given
    return found


def _bare(name: str) -> None:
    """Enter a package as a folder: its ``__init__`` does not run."""
    if name in sys.modules:
        return
    parent, _, last = name.rpartition(".")
    if parent:
        folder = Path(sys.modules[parent].__path__[0]) / last
    else:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.submodule_search_locations is not None
        folder = Path(spec.submodule_search_locations[0])
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    sys.modules[name] = package


def _stand_in(name: str, **attributes: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module

"""The network in parts, for those who go on in PyTorch: ``model.pt``, ``head.pt``, ``meta.json``.

``model.pt`` holds the backbone's weights by name, ``head.pt`` the classifier's, both plain tensors
that ``torch.load(weights_only=True)`` opens; ``meta.json`` holds the card, the sizes and the
SHA-256 of the others. Parts of two exports, as a kill between them leaves, are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groove.card import ModelCard
from groove.encoder import file_hash
from groove.errors import CardError, ModelError
from groove.training.encoder import EncoderModule, TorchEncoder
from groove.training.export.aside import aside
from groove.training.networks import Network, build_encoder, network_of

SPLIT_FILES = ("model.pt", "head.pt", "meta.json")


def split(
    module: EncoderModule, card: ModelCard, head: dict[str, Tensor] | None, folder: Path
) -> list[Path]:
    """Write the parts; ``head.pt`` only where the checkpoint has a head.

    Raises:
        ModelError: the folder cannot be written to, or what was written does not read back.
    """
    weights = {name: value.detach().cpu() for name, value in module.state_dict().items()}
    parts: dict[str, dict[str, Tensor]] = {"model.pt": weights}
    if head is not None:
        parts["head.pt"] = {name: value.detach().cpu() for name, value in head.items()}
    elif (folder / "head.pt").exists():
        (
            folder / "head.pt"
        ).unlink()  # of an earlier checkpoint: it does not belong to these weights
    made = []
    for name, tensors in parts.items():
        with aside(folder / name) as path:
            torch.save(tensors, path)
            _reads_back(path, tensors)
        made.append(folder / name)
    meta = {
        "network": _network(module),
        "card": json.loads(card.to_json()),
        "parts": {n: {k: list(v.shape) for k, v in t.items()} for n, t in parts.items()},
        "sha256": {path.name: file_hash(path) for path in made},
        "torch": torch.__version__,
    }
    with aside(folder / "meta.json") as path:
        path.write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return [*made, folder / "meta.json"]


def open_split(path: Path) -> TorchEncoder:
    """The encoder whose parts lie in a folder.

    Args:
        path: ``model.pt``, with ``meta.json`` beside it.

    Raises:
        ModelError: a part is missing, damaged or of another export, or the network is none that
            Groove builds.
    """
    meta = path.with_name("meta.json")
    try:
        values = json.loads(meta.read_text(encoding="utf-8"))
        card = ModelCard.from_json(json.dumps(values["card"]))
        _check_hashes(path, values.get("sha256"))
        if values["network"] is None:
            raise ModelError(f"{meta}: {card.architecture} is no network that Groove builds")
        module = build_encoder(Network.from_dict(values["network"]), card.fbank)
        module.load_state_dict(torch.load(path, weights_only=True))
    except CardError as error:
        raise CardError(f"{meta}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not the parts of a split export ({said})") from None
    return TorchEncoder(module, card)


def _check_hashes(path: Path, sha256: Any) -> None:
    """``head.pt`` may be left out by who does not need it; what lies there must belong."""
    head = path.with_name("head.pt")
    parts = {"model.pt": path} | ({"head.pt": head} if head.exists() else {})
    for name, part in parts.items():
        if not isinstance(sha256, dict) or sha256.get(name) != file_hash(part):
            raise ModelError(
                f"{part}: not the file that meta.json names by its SHA-256; copy the parts of one "
                "export together, or export again"
            )


def _network(module: EncoderModule) -> dict[str, Any] | None:
    """Name and size for `open_split`; None for a network that `build_encoder` does not know."""
    try:
        return network_of(module).to_dict()
    except ModelError:
        return None


def _reads_back(path: Path, tensors: dict[str, Tensor]) -> None:
    found = torch.load(path, weights_only=True)
    same = list(found) == list(tensors) and all(
        torch.equal(found[name], value) for name, value in tensors.items()
    )
    if not same:
        raise ModelError(f"{path.name}: does not read back as it was written; try again")

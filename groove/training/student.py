"""The network that is trained, and its head: new, or taken over from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groove.card import ModelCard
from groove.errors import ModelError, SettingsError, TrainingError
from groove.fbank import FbankConfig
from groove.training.checkpoint import Checkpoint, is_checkpoint, load
from groove.training.config import TrainConfig
from groove.training.encoder import EncoderModule
from groove.training.heads import AamSoftmax
from groove.training.importers import KINDS, import_checkpoint
from groove.training.networks import Network, build_encoder, network_of, new_card
from groove.training.older import as_of_now
from groove.training.typed import from_mapping, keys, plain

# May change when a run goes on. Most change nothing that the next step computes; train.epochs and
# train.max_steps do: learning rate and margin follow the step's share of the whole run, so that
# another length moves both at once, and `schedule_jump` says from what to what.
MAY_CHANGE = {
    "train.epochs",
    "train.max_steps",
    "train.save_every",
    "train.log_every",
    "train.average",
    "train.tensorboard",
    "train.curves",
    "train.device",
    "train.compile",
    "train.memory_cap_gb",
    "train.out_dir",
    "data.workers",
    "distill.cache",
    "resume",
}


@dataclass(frozen=True)
class Student:
    """A network with its card."""

    encoder: EncoderModule
    card: ModelCard
    network: Network
    rows: dict[str, Tensor] = field(default_factory=dict)  # speaker_id -> its centres [sub, D]

    @property
    def fbank(self) -> FbankConfig:
        """The front end's settings."""
        return self.card.fbank


def resume_point(config: TrainConfig, last: Path) -> Checkpoint | None:
    """The checkpoint that the run goes on from; None starts a new one.

    Raises:
        TrainingError: nothing to go on from, a run that would be overwritten, or settings that
            would make another run of it.
    """
    if not config.resume:
        if last.exists():
            raise TrainingError(
                f"{last.parent}: holds a run already; go on with resume=true, or give another "
                "train.out_dir"
            )
        return None
    if not last.is_file():
        raise TrainingError(f"{last}: no run to go on with; start one without resume=true")
    saved = load(last)
    if config.train.init:  # the size and the front end were taken from there
        config = _sized(config, saved.network, saved.card.fbank)
    then = _flat(plain(from_mapping(TrainConfig, as_of_now(saved.config))))
    now = _flat(plain(config))
    differ = [key for key in keys(TrainConfig) if now.get(key) != then.get(key)]
    differ = [key for key in differ if key not in MAY_CHANGE]
    if differ:
        first = differ[0]
        raise TrainingError(
            f"{last}: was trained with {first}={then.get(first)!r}, now it is {now[first]!r} "
            f"({len(differ)} such); go on with the old settings, or start anew in another "
            "train.out_dir"
        )
    return saved


def open_student(config: TrainConfig, saved: Checkpoint | None) -> Student:
    """The network: of the saved run, of ``train.init``, or a new one.

    Raises:
        ModelError: a checkpoint that cannot be used.
    """
    if saved is not None:
        encoder = build_encoder(saved.network, saved.card.fbank)
        encoder.backbone.load_state_dict(saved.model)
        return Student(encoder, saved.card, saved.network)
    run = config.train
    if run.init:
        found = _initialised(run.init, run.init_kind)
        return replace(found, card=replace(found.card, name=_name_of(run.out_dir)))
    channels = run.channels if config.model.name == "ecapa" else 0
    network = Network(config.model.name, run.emb_dim, channels)
    fbank = config.model.fbank
    card = new_card(network, fbank, name=_name_of(run.out_dir))
    return Student(build_encoder(network, fbank), card, network)


def effective(config: TrainConfig, student: Student) -> TrainConfig:
    """The settings with the size and front end that the student really has."""
    return _sized(config, student.network, student.fbank)


def _sized(config: TrainConfig, network: Network, fbank: FbankConfig) -> TrainConfig:
    run = replace(config.train, emb_dim=network.embedding_size)
    if network.channels:
        run = replace(run, channels=network.channels)
    model = replace(
        config.model,
        name=network.name,  # type: ignore[arg-type]
        n_mels=fbank.n_mels,
        window=fbank.window,  # type: ignore[arg-type]
        min_rms=fbank.min_rms,
    )
    return replace(config, train=run, model=model)


def _name_of(out_dir: str) -> str:
    return Path(out_dir).absolute().resolve().name


def make_head(config: TrainConfig, student: Student, speakers: list[str]) -> AamSoftmax:
    """A classifier over speakers and speeds; speakers that are known keep their centres."""
    n_speeds, head = len(config.data.speeds), config.head
    made = AamSoftmax(
        student.network.embedding_size,
        len(speakers) * n_speeds,
        scale=head.scale,
        sub_centers=head.sub_centers,
        beyond=head.beyond,
    )
    centres = made.weight.data.view(made.n_classes, head.sub_centers, -1)
    for index, speaker in enumerate(speakers):
        row = student.rows.get(speaker)
        if row is not None and row.shape == centres[index].shape:
            centres[index] = row
    return made


def lost_centres(config: TrainConfig, student: Student, speakers: list[str]) -> str:
    """One line where known speakers get new centres, having another number; empty where none do."""
    known = [student.rows[speaker] for speaker in speakers if speaker in student.rows]
    if not known or len(known[0]) == config.head.sub_centers:
        return ""
    return (
        f"{len(known):,} speakers that {config.train.init} knows begin with new centres in the "
        f"classifier: it has {len(known[0])} of each, head.sub_centers is "
        f"{config.head.sub_centers}; give head.sub_centers={len(known[0])} to keep them"
    )


def _initialised(path: str, kind: str) -> Student:
    """A network from a checkpoint of ours, or from a public one of ``kind``."""
    if is_checkpoint(path):
        saved = load(path)
        encoder = build_encoder(saved.network, saved.card.fbank)
        encoder.backbone.load_state_dict(saved.model)
        card = new_card(saved.network, saved.card.fbank, name=saved.card.name, parent=path)
        return Student(encoder, card, saved.network, _rows(saved))
    if not kind:
        if not Path(path).is_file():
            raise ModelError(f"train.init={path}: no such checkpoint")
        raise SettingsError(
            f"train.init={path}: not a checkpoint of ours; if it is a public one give "
            f"train.init_kind, one of {', '.join(KINDS)}"
        )
    imported = import_checkpoint(path, kind)
    network = network_of(imported.module)
    return Student(imported.module, replace(imported.card, parent=path), network)


def _rows(saved: Checkpoint) -> dict[str, Tensor]:
    """The centres of each speaker at its plain speed."""
    weight = saved.head.get("weight")
    if weight is None or not saved.speakers:
        return {}
    sub_centers = int(saved.config["head"]["sub_centers"])
    centres = weight.view(-1, sub_centers, weight.shape[1])
    return {speaker: centres[i] for i, speaker in enumerate(saved.speakers)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def n_weights(module: torch.nn.Module) -> int:
    """How many numbers are learned."""
    return sum(weight.numel() for weight in module.parameters())

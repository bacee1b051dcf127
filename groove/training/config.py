"""The settings of a training run: one frozen tree, made at the door by `groove.training.typed`.

Two floors of names. Under ``train`` stand the everyday settings, as the seed wrote them on its
command line (``train.epochs=100 train.lr=5e-4 train.emb_dim=256``); under ``data``, ``augment``,
``mask``, ``model``, ``head``, ``optimizer``, ``schedule``, ``validate`` and ``distill`` what is
changed less often. No value stands in both. The defaults are the recommended ones for a GPU with
6 GB; configs/train.yaml lists the same for people to read, and a test holds the two together.

Crop lengths are in frames; shares are of the whole run, so that a longer run stretches with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from groove.errors import SettingsError
from groove.fbank import FbankConfig
from groove.training.augment import AugmentConfig


@dataclass(frozen=True)
class DataConfig:
    """What is trained on."""

    train: str = "processed/cn_celeb2/train.jsonl"  # manifests
    val: str = "processed/cn_celeb2/val.jsonl"
    unlabelled: str = ""  # a manifest whose speakers are not known; for distillation
    source: Literal["files", "packed", "fbank"] = "files"
    packed: str = ""  # the file of packed samples; empty: beside the manifest, as train.i16
    sampler: Literal["pk", "shuffled"] = "pk"
    batch_size: int = 0  # of the shuffled sampler; 0: p * k
    speeds: tuple[float, ...] = (1.0, 0.9, 1.1)  # each speed makes speakers of its own
    workers: int = -1  # processes that read; -1: the machine's cores less one

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("data", self, batch_size=(0, 65_536), workers=(-1, 256))
        if not self.speeds or self.speeds[0] != 1.0 or len(set(self.speeds)) < len(self.speeds):
            raise SettingsError(
                f"data.speeds: got {list(self.speeds)}; wanted 1.0 first, and none twice"
            )
        if not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise SettingsError(f"data.speeds: got {list(self.speeds)}; wanted 0.5 to 2 each")


@dataclass(frozen=True)
class MaskConfig:
    """SpecAugment: bands and stretches of the frames are hidden (groove/training/masking.py)."""

    probability: float = 0.0  # of a crop
    n_freq_masks: int = 1
    most_bins: int = 8
    n_time_masks: int = 1
    most_frames: int = 10

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("mask", self, probability=(0, 1), n_freq_masks=(0, 20), n_time_masks=(0, 20))
        _within("mask", self, most_bins=(0, 256), most_frames=(0, 6000))


@dataclass(frozen=True)
class ModelConfig:
    """Which network, on which frames. Its size stands under ``train``: channels and emb_dim."""

    name: Literal["ecapa", "campplus"] = "ecapa"
    n_mels: int = 80
    window: Literal["povey", "hamming", "hann"] = "povey"  # WeSpeaker: hamming
    min_rms: float = 0.0  # raise quieter waveforms to this level first

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("model", self, n_mels=(8, 256), min_rms=(0, 0.99))

    @property
    def fbank(self) -> FbankConfig:
        """The front end's settings."""
        return FbankConfig(n_mels=self.n_mels, window=self.window, min_rms=self.min_rms)


@dataclass(frozen=True)
class HeadConfig:
    """The classifier over speakers (groove/training/heads.py)."""

    margin_rad: float = 0.2
    scale: float = 32.0
    sub_centers: int = 1
    beyond: Literal["continuous", "arcface", "easy"] = "continuous"

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("head", self, margin_rad=(0, 1.5), scale=(1, 256), sub_centers=(1, 16))


@dataclass(frozen=True)
class OptimizerConfig:
    """How a gradient becomes a step."""

    name: Literal["adamw", "sgd", "muon"] = "adamw"
    weight_decay: float = 1e-4
    momentum: float = 0.9  # sgd, with Nesterov's form
    block: int = 0  # muon: makes larger kernels orthogonal in blocks of so many rows or columns
    clip_norm: float = 5.0  # 0: gradients are not clipped

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("optimizer", self, weight_decay=(0, 1), momentum=(0, 0.9999), clip_norm=(0, 1e6))
        _within("optimizer", self, block=(0, 65_536))


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate and margin over the run (groove/training/schedule.py)."""

    lr_shape: Literal["exponential", "cosine", "constant"] = "exponential"
    final_lr: float = 1e-5
    warmup: float = 0.04  # share of the run
    margin_shape: Literal["exponential", "linear"] = "exponential"
    margin_initial_rad: float = 0.0
    margin_start: float = 0.127  # share of the run from which the margin rises...
    margin_full: float = 0.26  # ...to head.margin_rad

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("schedule", self, warmup=(0, 1), margin_start=(0, 1), margin_full=(0, 1))
        _within("schedule", self, margin_initial_rad=(0, 1.5), final_lr=(0, 10))
        if self.margin_full < self.margin_start:
            raise SettingsError(
                f"schedule.margin_full: got {self.margin_full:g}; wanted at least "
                f"schedule.margin_start = {self.margin_start:g}"
            )


@dataclass(frozen=True)
class RunConfig:
    """The everyday settings, under ``train``."""

    epochs: int = 80
    lr: float = 1e-3
    emb_dim: int = 256
    channels: int = 512
    crop_frames: int = 200
    crop_frames_min: int = 0  # draw each step's length from here to crop_frames; 0: all alike
    crop_frames_val: int = 400
    num_crops: int = 6  # averaged in validation; 0: the whole utterance in one pass
    p: int = 32  # speakers of a batch
    k: int = 4  # crops of each
    accumulate: int = 1  # a batch goes through in so many parts, one after the other
    seed: int = 0
    out_dir: str = "outputs"
    init: str = ""  # start from this checkpoint's network
    init_kind: str = ""  # what `groove import` calls it, if it is a public one
    device: str = "auto"  # auto: cuda where there is one
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    sync_bn: bool = False  # batch statistics over all GPUs
    max_steps: int = 0  # end the run early, for a try; 0: all epochs
    save_every: int = 1000  # steps between saves inside an epoch; 0: only at its end
    log_every: int = 20  # steps between lines of the log
    average: int = 0  # at the end, also the mean of the last n epochs' weights
    tensorboard: bool = True
    curves: bool = True  # draw curves.png after every epoch; needs matplotlib
    memory_cap_gb: float = 0.0  # refuse to use more of the GPU than this; 0: all of it

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("train", self, epochs=(1, 100_000), emb_dim=(1, 8192), channels=(8, 8192))
        _within("train", self, crop_frames=(10, 6000), crop_frames_val=(10, 6000))
        _within("train", self, num_crops=(0, 1000), p=(1, 65_536), k=(1, 65_536))
        _within("train", self, accumulate=(1, 1024), seed=(0, 2**32 - 1), max_steps=(0, 10**12))
        _within("train", self, save_every=(0, 10**9), log_every=(1, 10**6), average=(0, 1000))
        _within("train", self, memory_cap_gb=(0, 1024), lr=(0, 100))
        _within("train", self, crop_frames_min=(0, self.crop_frames))
        if 0 < self.crop_frames_min < 10:
            raise SettingsError(
                f"train.crop_frames_min: got {self.crop_frames_min}; wanted 0 (all alike) or 10 to "
                f"train.crop_frames = {self.crop_frames}"
            )
        if self.lr == 0:
            raise SettingsError("train.lr: got 0; wanted a rate above it, as 1e-3")
        if not self.out_dir.strip():
            raise SettingsError("train.out_dir: got no name; wanted a folder")


@dataclass(frozen=True)
class ValidateConfig:
    """The fixed trial list that every epoch is measured on."""

    every: int = 1  # epochs; 0: never
    n_target: int = 10_000
    n_nontarget: int = 100_000
    per_speaker: int = 15  # utterances at most, lest those with the most decide; 0: all
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _within("validate", self, every=(0, 10**6), seed=(0, 2**32 - 1), per_speaker=(0, 10**6))
        _within("validate", self, n_target=(1, 10**8), n_nontarget=(1, 10**8))


@dataclass(frozen=True)
class DistillConfig:
    """Learn from another model's embeddings (groove/training/distill.py)."""

    teacher: str = ""  # a name or a path, as for `groove compare --model`; empty: no teacher
    teacher_kind: str = ""  # what `groove import` calls it, if it is a public checkpoint
    target: Literal["crop", "utterance"] = "crop"  # the teacher hears the crop, or all of it once
    sees: Literal["clean", "augmented"] = "clean"  # with target crop
    cache: str = ""  # folder of target utterance's embeddings; empty: in train.out_dir
    cosine: float = 1.0  # weights of the losses
    mse: float = 0.0
    similarity: float = 1.0
    neighbours: float = 0.0  # wants target utterance
    temperature: float = 0.05  # of neighbours: the smaller, the fewer count
    aam: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        losses = ("cosine", "mse", "similarity", "neighbours")
        _within("distill", self, **dict.fromkeys((*losses, "aam"), (0, 1e6)))
        _within("distill", self, temperature=(1e-3, 1e3))
        if self.teacher and not any(getattr(self, name) for name in losses):
            raise SettingsError(
                f"distill: a teacher, but {', '.join(losses)} all weigh 0; give one a weight"
            )
        if self.neighbours and self.target != "utterance":
            raise SettingsError(
                "distill.neighbours: looks among the teacher's embeddings of whole utterances; "
                "set distill.target=utterance"
            )

    @property
    def aam_weight(self) -> float:
        """Of the speaker loss; without a teacher it is all there is."""
        return self.aam if self.teacher else 1.0


def _rooms() -> AugmentConfig:
    """What needs no folder: simulated rooms. Noise is better still, where one has some."""
    return AugmentConfig(reverb_probability=0.3)


@dataclass(frozen=True)
class TrainConfig:
    """The whole tree."""

    train: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=_rooms)
    mask: MaskConfig = field(default_factory=MaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    resume: bool = False  # go on from last.pt in train.out_dir

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.schedule.lr_shape == "exponential" and self.schedule.final_lr <= 0:
            raise SettingsError(
                "schedule.final_lr: got 0; an exponential never gets there, wanted more, as 1e-5"
            )
        if self.schedule.lr_shape != "constant" and self.schedule.final_lr > self.train.lr:
            raise SettingsError(
                f"schedule.final_lr: got {self.schedule.final_lr:g}, above train.lr = "
                f"{self.train.lr:g}; wanted less"
            )
        if self.model.name == "ecapa" and self.train.channels % 8:
            raise SettingsError(
                f"train.channels: got {self.train.channels}; wanted a multiple of 8"
            )
        if self.data.sampler == "pk" and self.data.batch_size not in (0, self.batch_size):
            raise SettingsError(
                f"data.batch_size: got {self.data.batch_size}, but a batch of data.sampler=pk is "
                f"train.p x train.k = {self.train.p} x {self.train.k}; set those, or "
                "data.sampler=shuffled"
            )
        if not self.distill.teacher and self.distill != DistillConfig():
            raise SettingsError("distill: without a teacher it does nothing; give distill.teacher")
        if self.data.unlabelled and not self.distill.teacher:
            raise SettingsError("data.unlabelled: needs a teacher; give distill.teacher")
        if self.data.unlabelled and self.data.sampler == "pk":
            raise SettingsError(
                "data.unlabelled: voices without names cannot be put into batches by speaker; set "
                "data.sampler=shuffled"
            )
        if self.data.source == "fbank":
            self._require_stored_frames_suffice()

    def _require_stored_frames_suffice(self) -> None:
        """Stored frames stand for the clean sound at its own speed, and nothing else."""
        wanted = ["data.speeds=[1.0]"] if len(self.data.speeds) > 1 else []
        wanted += [f"augment.{name}=0" for name in self.augment.chances]
        folders = ("noise_folders", "rir_folders")
        wanted += [f"augment.{name}=[]" for name in folders if getattr(self.augment, name)]
        if self.data.unlabelled:
            wanted.append("data.unlabelled=")
        if self.distill.teacher and self.distill.target == "crop":
            wanted.append("distill.target=utterance")
        if self.model.min_rms and not self.train.init:  # else the checkpoint there decides
            wanted.append("model.min_rms=0")
        if wanted:
            raise SettingsError(
                "data.source=fbank: stored features are of the clean sound at its own speed, of "
                f"named speakers; add {' '.join(wanted)}, or set data.source=files"
            )

    @property
    def batch_size(self) -> int:
        """Crops of a batch, over all processes together."""
        shuffled = self.data.sampler == "shuffled" and self.data.batch_size
        return self.data.batch_size if shuffled else self.train.p * self.train.k


def _within(section: str, config: object, **ranges: tuple[float, float]) -> None:
    for name, (least, most) in ranges.items():
        value = getattr(config, name)
        if not least <= value <= most:
            raise SettingsError(f"{section}.{name}: got {value:g}; wanted {least:g} to {most:g}")

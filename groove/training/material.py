"""What a run reads: utterances with their classes, where their sound comes from, and the batches.

Speakers are numbered in the order of their ids. With several speeds a class is speaker + number of
speakers x speed, so the first rows of the classifier are the speakers as they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, change_speed
from groove.errors import ManifestError, SettingsError, TrainingError
from groove.fbank import FbankConfig
from groove.manifest import Utterance, read_manifest
from groove.preparation import check_list
from groove.training import ddp
from groove.training.augment import Augmenter, open_augmenter
from groove.training.config import DataConfig, TrainConfig
from groove.training.dataset import CropDataset, FrameDataset
from groove.training.packing import PackedSource, pack
from groove.training.sampler import PKSampler, Sampler, ShuffledSampler
from groove.training.stored_material import stored_dataset, stored_validation
from groove.training.validation import Validator
from groove.training.waveforms import CACHE_BYTES, CachedSource, FileSource, WaveformSource

LONG_EPOCH = 2  # draws of P x K for an utterance, beyond which the log says so
WORTH_CACHING = 20  # times what a reader keeps: a larger corpus is read anew each time
VALIDATION_CACHE = 1 << 30  # bytes of decoded validation audio that are kept between epochs
Progress = Callable[[int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """Everything that is read while training."""

    utterances: Sequence[Utterance]
    speakers: list[str]  # by index
    labels: list[int]  # of each utterance; -1 unlabelled
    source: WaveformSource
    dataset: CropDataset | FrameDataset
    sampler: Sampler
    speeds: tuple[float, ...]
    augmenter: Augmenter | None = None

    @property
    def n_classes(self) -> int:
        """Speakers times speeds."""
        return len(self.speakers) * len(self.speeds)

    @property
    def has_unlabelled(self) -> bool:
        """Whether batches may differ in how many rows have a speaker."""
        return -1 in self.labels

    def whole(self, utterance: int, speed: int) -> NDArray[np.float32]:
        """A whole utterance [S] at a speed, clean."""
        seconds = self.source.seconds(utterance)
        return change_speed(self.source.read(utterance, 0.0, seconds + 1), self.speeds[speed])

    def summary(self) -> dict[str, float | int]:
        """Counts, for the log."""
        hours = sum(utterance.seconds for utterance in self.utterances) / 3600
        n_unlabelled = self.labels.count(-1)
        return {
            "speakers": len(self.speakers),
            "utterances": len(self.utterances),
            "unlabelled": n_unlabelled,
            "hours": round(hours, 2),
            "batches_per_epoch": self.sampler.n_batches,
        }


def open_material(
    config: TrainConfig,
    fbank: FbankConfig,
    place: ddp.Place,
    *,
    keep_clean: bool,
    say: Say,
    progress: Progress | None = None,
) -> Material:
    """Read the lists, open (or pack) the sound, and lay out the batches.

    Args:
        config: the settings.
        fbank: the network's front end: it says how many samples a crop has.
        place: this process; the first one packs, the others wait.
        keep_clean: whether batches also hold the crops before augmentation.
        say: takes lines for whoever watches.
        progress: of packing.

    Raises:
        CorpusError: a list of a prepared folder that is not of one piece with the others.
        ManifestError: a list that is missing or malformed.
        SettingsError: what the samplers or the augmenter refuse.
    """
    data = config.data
    named = _listed("data.train", data.train)
    nameless = read_manifest(data.unlabelled) if data.unlabelled else []
    utterances = [*named, *nameless]
    if len({utterance.utterance_id for utterance in utterances}) < len(utterances):
        raise ManifestError(
            f"{data.train} and {data.unlabelled} share an utterance_id; ids must be unique"
        )
    speakers = sorted({utterance.speaker_id for utterance in named})
    index = {speaker: i for i, speaker in enumerate(speakers)}
    labels = [index[utterance.speaker_id] for utterance in named] + [-1] * len(nameless)
    if len(speakers) < 2 and config.distill.aam_weight:
        raise SettingsError(
            f"{data.train}: {len(speakers)} speaker; training tells speakers apart and needs at "
            "least two"
        )
    if data.source == "fbank":
        dataset, source = stored_dataset(config, fbank, utterances, labels), FileSource(utterances)
        sampler = _sampler(config, labels, say)
        return Material(utterances, speakers, labels, source, dataset, sampler, data.speeds)
    opened = _open_source(data, utterances, place, say, progress)
    augmenter = open_augmenter(config.augment)
    crops = CropDataset(
        utterances,
        opened,
        crop_samples=samples_of(fbank, config.train.crop_frames),
        speeds=data.speeds,
        augmenter=augmenter,
        keep_clean=keep_clean,
        labels=labels,
    )
    return Material(
        utterances,
        speakers,
        labels,
        opened,
        crops,
        _sampler(config, labels, say),
        data.speeds,
        augmenter,
    )


def open_validator(config: TrainConfig, fbank: FbankConfig, speakers: Sequence[str]) -> Validator:
    """The fixed trials of ``data.val``.

    Raises:
        CorpusError: a list of a prepared folder that is not of one piece with the others.
        ManifestError: a list that is missing or malformed.
        SettingsError: speakers that are trained on, or no trials.
    """
    utterances = _listed("data.val", config.data.val)
    shared = sorted({utterance.speaker_id for utterance in utterances} & set(speakers))
    if shared:
        raise SettingsError(
            f"{config.data.val}: {len(shared)} of its speakers are trained on (such as "
            f"{shared[0]}), so its EER would say nothing; prepare disjoint lists"
        )
    return Validator(
        utterances,
        CachedSource(FileSource(utterances), len(utterances), VALIDATION_CACHE),
        crop_samples=samples_of(fbank, config.train.crop_frames_val),
        num_crops=config.train.num_crops,
        n_target=config.validate.n_target,
        n_nontarget=config.validate.n_nontarget,
        seed=config.validate.seed,
        per_speaker=config.validate.per_speaker,
        threads=max(1, min(8, os.cpu_count() or 1)),
        frames=stored_validation(config, fbank, utterances),
    )


def same_lists(
    config: TrainConfig, before: dict[str, str], material: Material, validator: Validator | None
) -> dict[str, str]:
    """The digests of the lists, after a look that those of the run that goes on are the same.

    Raises:
        TrainingError: other utterances, noises or impulse responses; the batches, or the trials of
            best.pt, were other ones.
    """
    # Trials are drawn by id: the order of that list changes nothing.
    lists = {"data.train": _digest(material.utterances)}
    if validator is not None:
        lists["data.val"] = _digest(sorted(validator.utterances, key=_id_of))
    sounds = material.augmenter.files() if material.augmenter is not None else {}
    lists |= {name: _digest_of_files(paths) for name, paths in sounds.items()}
    for name, value in lists.items():
        if before.get(name, value) != value:  # older checkpoints have not all of them
            what = "utterances, their order, speakers or lengths"
            if name in sounds:
                what = "files, by name and size,"
            raise TrainingError(
                f"{name}={_given(config, name)}: its {what} are not those that the run began with; "
                "go on with what was there, or start anew in another train.out_dir"
            )
    return before | lists


def _given(config: TrainConfig, name: str) -> str:
    """A setting's value as one types it."""
    section, _, key = name.partition(".")
    value = getattr(getattr(config, section), key)
    return value if isinstance(value, str) else f"[{','.join(value)}]"


def samples_of(fbank: FbankConfig, n_frames: int) -> int:
    """Samples that give so many frames."""
    return fbank.frame_length + (n_frames - 1) * fbank.frame_shift


def n_workers(workers: int) -> int:
    """Processes that read, for each process that trains; -1: the cores that are left."""
    if workers >= 0:
        return workers
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, (os.cpu_count() or 1) // here - 1)


def _digest(utterances: Sequence[Utterance]) -> str:
    """SHA-256 of what batches and trials follow from; the same wherever the recordings lie."""
    found = hashlib.sha256()
    for one in utterances:
        found.update(f"{one.utterance_id}\t{one.speaker_id}\t{one.seconds!r}\n".encode())
    return found.hexdigest()


def _digest_of_files(paths: Sequence[Path]) -> str:
    """SHA-256 of names and sizes: draws count files in this order."""
    found = hashlib.sha256()
    for path in paths:
        try:
            size = path.stat().st_size
        except OSError:  # gone since it was listed: whoever reads it says so
            size = -1
        found.update(f"{path.as_posix()}\t{size}\n".encode())
    return found.hexdigest()


def _id_of(utterance: Utterance) -> str:
    return utterance.utterance_id


def _sampler(config: TrainConfig, labels: Sequence[int], say: Say) -> Sampler:
    n_speeds, seed = len(config.data.speeds), config.train.seed
    if config.data.sampler == "pk":
        run = config.train
        sampler = PKSampler(labels, p=run.p, k=run.k, n_speeds=n_speeds, seed=seed)
        n_draws = sampler.n_batches * config.batch_size
        if n_draws > LONG_EPOCH * len(labels):
            say(
                f"an epoch of train.p x train.k batches has {n_draws:,} draws for {len(labels):,} "
                "utterances, since speakers have very different numbers of them; "
                "data.sampler=shuffled hears each once"
            )
        return sampler
    return ShuffledSampler(labels, batch_size=config.batch_size, n_speeds=n_speeds, seed=seed)


def _listed(setting: str, path: str) -> list[Utterance]:
    """The utterances of a list that `groove prepare` writes."""
    if not Path(path).is_file():
        raise ManifestError(
            f"{path}: no such list; prepare a corpus with  groove prepare, and name its list with "
            f"{setting}=FOLDER/{Path(path).name}"
        )
    check_list(Path(path))
    return read_manifest(path)


def _open_source(
    data: DataConfig,
    utterances: Sequence[Utterance],
    place: ddp.Place,
    say: Say,
    progress: Progress | None,
) -> WaveformSource:
    if data.source == "files":
        # Of a large corpus what fits is next to nothing, and every reader would hold it.
        needed = 2 * SAMPLE_RATE * sum(utterance.seconds for utterance in utterances)
        budget = CACHE_BYTES if needed < WORTH_CACHING * CACHE_BYTES else 0
        return CachedSource(FileSource(utterances), len(utterances), budget)
    path = Path(data.packed or Path(data.train).with_suffix(".i16"))
    if place.is_first:
        try:
            failed = pack(utterances, path, workers=os.cpu_count() or 1, progress=progress)
        except OSError as error:
            raise TrainingError(
                f"{path}: cannot be packed ({error.strerror or error}); what is packed is kept: "
                "free space and start again, or set data.source=files"
            ) from error
        for utterance_id, reason in failed[:3]:
            say(f"{utterance_id}: left out of {path.name}: {reason}")
    ddp.wait(place)
    return PackedSource(path, utterances)

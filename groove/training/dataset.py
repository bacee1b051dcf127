"""Draws -> crops -> batches: what the training loop eats.

Conventions
-----------
A crop is ``crop_samples`` long (waveforms) or ``crop_frames`` (stored features). Where it is cut,
and all that happens to it, follows from `Draw.seed` alone: neither worker nor rank nor what
was read before has a say, so the same draw gives the same bytes.

    read crop_samples x speed samples -> speed -> (clean) -> augmenter -> waveform

An utterance shorter than that is repeated to fill it, beginning anywhere. A corrupt utterance is
replaced by another one of the same speaker, drawn from the same seed; where the speaker has none
that can be read, by any other utterance, with its own label. The loader reports each once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groove.audio import SAMPLE_RATE, change_speed
from groove.errors import AudioError, ManifestError, SettingsError, UnreadableAudio
from groove.manifest import Utterance
from groove.training.augment import Augmenter
from groove.training.batch import Batch, Failure, Item
from groove.training.loader import loader
from groove.training.sampler import Draw
from groove.training.waveforms import WaveformSource

__all__ = ["Batch", "CropDataset", "FrameDataset", "FrameSource", "StoredFrames", "loader"]

MOST_REPLACED = 50  # utterances that are tried for one draw before it is given up


class FrameSource(Protocol):
    """Stored features of utterances by index."""

    def __call__(self, i: int) -> Tensor:
        """Frames [T, M] float32, no mean subtracted."""
        ...


class StoredFrames:
    """Reads the features that preparing has stored.

    Args:
        paths: the file of each utterance.
        read: opens one and refuses other front ends, such as
            ``partial(groove.training.stored.read_features, config=config)``.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], Tensor]) -> None:
        self._paths, self._read = list(paths), read

    def __call__(self, i: int) -> Tensor:
        """Frames [T, M] of utterance ``i``."""
        return self._read(self._paths[i])


class _Dataset(torch.utils.data.Dataset[Item]):
    """What both kinds share: labels, and what replaces a corrupt utterance."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        labels: Sequence[int] | None,
        n_speakers: int | None,
    ) -> None:
        if not utterances:
            raise SettingsError("a dataset without utterances; prepare a manifest with some first")
        if labels is not None and len(labels) != len(utterances):
            raise SettingsError(f"{len(labels)} labels for {len(utterances)} utterances")
        self.utterance_ids = [utterance.utterance_id for utterance in utterances]
        speakers = [-1] * len(utterances) if labels is None else labels
        self.labels = np.asarray(speakers, dtype=np.int64)
        least = int(self.labels.max()) + 1
        self.n_speakers = least if n_speakers is None else n_speakers
        if self.n_speakers < least:
            raise SettingsError(f"{n_speakers} speakers but labels up to {least - 1}")
        self.corrupt: dict[str, str] = {}  # what the loader has reported
        self.pools: dict[Any, Any] = {}  # the loader's worker processes
        self._known_bad: dict[int, str] = {}  # spares reading them again; changes no result
        self._order = np.argsort(self.labels, kind="stable")

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pools": {}}

    def __getitem__(self, draw: Draw) -> Item:
        """The crop of a draw.

        Raises:
            AudioError: nothing that could take its place can be read.
        """
        failures: list[Failure] = []
        for utterance in self._candidates(draw):
            reason = self._known_bad.get(utterance)
            if reason is None:
                try:
                    used = replace(draw, utterance=utterance)
                    return self._read(used, tuple(failures))
                except (AudioError, ManifestError, OSError) as error:  # ManifestError: of frames
                    reason = self._known_bad[utterance] = str(error)
            failures.append((self.utterance_ids[utterance], reason))
            if len(failures) == MOST_REPLACED:
                break
        raise UnreadableAudio(f"{len(failures)} utterances in a row are corrupt, such as: {reason}")

    def class_of(self, draw: Draw) -> int:
        """Class index: speaker + n_speakers x speed; -1 without a speaker."""
        speaker = int(self.labels[draw.utterance])
        return -1 if speaker < 0 else speaker + self.n_speakers * draw.speed

    @abstractmethod
    def _read(self, draw: Draw, failures: tuple[Failure, ...]) -> Item:
        """The crop of a draw whose utterance can be read."""

    def _candidates(self, draw: Draw) -> Iterator[int]:
        """The utterance itself, then others of its speaker, then any, in an order by the seed."""
        yield draw.utterance
        rng = np.random.default_rng([draw.seed, 2])
        speaker = self.labels[draw.utterance]
        if speaker >= 0:
            first, last = np.searchsorted(self.labels, [speaker, speaker + 1], sorter=self._order)
            for other in rng.permutation(self._order[first:last]).tolist():
                if other != draw.utterance:
                    yield other
        while True:
            yield int(rng.integers(len(self.labels)))


class CropDataset(_Dataset):
    """Crops of waveforms.

    Args:
        utterances: in the order that draws and the source count them.
        source: where their samples come from.
        crop_samples: length of a crop.
        speeds: what `Draw.speed` points into; the first is 1.0.
        augmenter: None leaves the crops clean.
        keep_clean: whether batches hold the crops before the augmenter as well.
        labels: the speaker index of each utterance; None: unlabelled.
        n_speakers: how many there are, if more than the labels show.

    Raises:
        SettingsError: no utterances, a crop without samples, speeds that do not begin with 1, or
            another number of labels.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        source: WaveformSource,
        *,
        crop_samples: int,
        speeds: Sequence[float] = (1.0,),
        augmenter: Augmenter | None = None,
        keep_clean: bool = False,
        labels: Sequence[int] | None = None,
        n_speakers: int | None = None,
    ) -> None:
        super().__init__(utterances, labels, n_speakers)
        if crop_samples < 1:
            raise SettingsError(f"crops of {crop_samples} samples; wanted 1 or more")
        if not speeds or speeds[0] != 1:
            raise SettingsError(f"speeds {tuple(speeds)}; wanted 1.0 first: class = speaker there")
        self._source, self._crop_samples = source, crop_samples
        self._speeds, self._augmenter, self._keep_clean = tuple(speeds), augmenter, keep_clean

    def _read(self, draw: Draw, failures: tuple[Failure, ...]) -> Item:
        clean = self._cut(draw)
        waveform = clean
        if self._augmenter is not None:
            waveform = self._augmenter.apply(clean, self._augmenter.draw(draw.seed))
            failures += self._augmenter.damaged()
        kept = clean if self._keep_clean else None
        return Item(waveform, None, kept, self.class_of(draw), draw, failures)

    def _cut(self, draw: Draw) -> NDArray[np.float32]:
        """The crop [S] at its speed."""
        speed = self._speeds[draw.speed]
        n_wanted = int(np.ceil(self._crop_samples * speed)) + (speed != 1)
        n_there = round(self._source.seconds(draw.utterance) * SAMPLE_RATE)
        chance = np.random.default_rng([draw.seed, 0]).random()
        start = int(chance * (max(n_there - n_wanted, 0) + 1))
        crop = self._source.read(draw.utterance, start / SAMPLE_RATE, n_wanted / SAMPLE_RATE)
        if len(crop) == 0:
            raise UnreadableAudio(f"{self.utterance_ids[draw.utterance]}: holds no samples")
        if len(crop) < n_wanted:
            crop = _filled(crop, n_wanted, chance)
        return change_speed(crop, speed)[: self._crop_samples]


class FrameDataset(_Dataset):
    """Crops of stored features; no speed, no augmentation of the sound.

    Args:
        utterances: in the order that draws and the source count them.
        source: their frames.
        crop_frames: length of a crop.
        subtract_mean: whether each crop's mean over its frames is taken off, as the front end does.
        labels: the speaker index of each utterance; None: unlabelled.
        n_speakers: how many there are, if more than the labels show.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        source: FrameSource,
        *,
        crop_frames: int,
        subtract_mean: bool = True,
        labels: Sequence[int] | None = None,
        n_speakers: int | None = None,
    ) -> None:
        super().__init__(utterances, labels, n_speakers)
        if crop_frames < 1:
            raise SettingsError(f"crops of {crop_frames} frames; wanted 1 or more")
        self._source, self._crop_frames, self._subtract_mean = source, crop_frames, subtract_mean

    def _read(self, draw: Draw, failures: tuple[Failure, ...]) -> Item:
        if draw.speed != 0:
            raise SettingsError(
                "stored features cannot be played at another speed; "
                "set data.speeds=[1.0], or data.source=files"
            )
        frames = self._source(draw.utterance).numpy()  # [T, M]
        if len(frames) == 0:
            raise UnreadableAudio(f"{self.utterance_ids[draw.utterance]}: holds no frames")
        chance = np.random.default_rng([draw.seed, 0]).random()
        start = int(chance * (max(len(frames) - self._crop_frames, 0) + 1))
        crop = frames[start : start + self._crop_frames].astype(np.float32)
        if len(crop) < self._crop_frames:
            crop = _filled(crop, self._crop_frames, chance)
        if self._subtract_mean:
            crop -= crop.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Item(None, crop, None, self.class_of(draw), draw, failures)


def _filled(crop: NDArray[Any], n_wanted: int, chance: float) -> NDArray[Any]:
    """A crop that is too short [n, ...], repeated to ``n_wanted`` from a place by chance."""
    return np.take(crop, np.arange(n_wanted) + int(chance * len(crop)), axis=0, mode="wrap")

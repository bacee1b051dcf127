"""Validation: the equal error rate on a list of trials that stays the same all through a run.

The list is drawn once from the validation manifest by seed (`groove.trials.draw_trials`). Each
utterance is cut into evenly spaced crops (`groove.crops`), the unit-length embeddings are averaged,
and a trial's score is the cosine: what `groove.embedder` does, batched on the training device, but
that silence is not looked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groove.audio import SAMPLE_RATE
from groove.crops import crop_starts
from groove.errors import AudioError, ManifestError, SettingsError, TrainingError
from groove.manifest import Utterance
from groove.metrics import eer, min_dcf
from groove.training import ddp
from groove.training.encoder import EncoderModule
from groove.training.waveforms import WaveformSource
from groove.trials import draw_trials

MOST_ROWS = 64  # crops in one call
MOST_SECONDS = 320.0  # and in all: C 512 takes 0.25 GB a minute of sound
LEAST_FRAMES, FRAMES_PER_S = 10, 100
LONGEST_S = 60.0  # of a whole utterance; more is left out
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Validation:
    """What was measured."""

    eer: float
    min_dcf: float  # at a prior of 0.01
    n_target: int
    n_nontarget: int
    n_unreadable: int  # utterances; their trials are left out


@dataclass(frozen=True)
class StoredValidation:
    """Stored features in the place of recordings that are not there."""

    source: Callable[[int], Tensor]  # frames [T, M] of an utterance, no mean subtracted
    crop_frames: int
    longest: int  # frames of a whole utterance; more is left out
    subtract_mean: bool

    def crops(self, utterance: int, num_crops: int) -> list[NDArray[np.float32]]:
        """Equally long crops [T, M] as the front end gives them; none of damaged features."""
        try:
            frames = self.source(utterance).numpy()
        except ManifestError:
            return []
        n = min(len(frames), self.crop_frames if num_crops else self.longest)
        if n < LEAST_FRAMES:
            return []
        starts = crop_starts(len(frames), n, num_crops) if num_crops else [0]
        found = [frames[start : start + n] for start in starts]
        return [crop - crop.mean(axis=0) if self.subtract_mean else crop for crop in found]


class Validator:
    """A fixed list of trials over a manifest.

    Args:
        utterances: of speakers that are not trained on.
        source: where their samples come from, by index.
        crop_samples: length of a crop.
        num_crops: averaged; 0 takes the whole utterance (its first minute).
        n_target: target trials at most.
        n_nontarget: non-target trials at most.
        per_speaker: utterances of a speaker at most, drawn by the seed; 0 takes all. Pairs grow
            with the square of a speaker's utterances, so that else a few speakers would decide.
        seed: of the list.
        threads: that read; their number changes nothing.

    Raises:
        SettingsError: no target or no non-target trial can be made of the utterances.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        source: WaveformSource,
        *,
        crop_samples: int,
        num_crops: int,
        n_target: int,
        n_nontarget: int,
        seed: int,
        per_speaker: int = 0,
        threads: int = 4,
        frames: StoredValidation | None = None,
    ) -> None:
        self.utterances = utterances
        drawn = thinned(utterances, per_speaker, seed) if per_speaker else utterances
        trials = draw_trials(drawn, n_target, n_nontarget, seed)
        n_true = sum(trial.is_target for trial in trials)
        if n_true in (0, len(trials)):
            raise SettingsError(
                f"validation: {n_true} target trials of {len(trials)} from {len(utterances)} "
                "utterances; wanted two speakers at least, and one with two utterances"
            )
        place = {utterance.utterance_id: i for i, utterance in enumerate(utterances)}
        self._sides = np.array([(place[t.enrollment_id], place[t.test_id]) for t in trials])
        self._is_target = np.array([t.is_target for t in trials])
        self._wanted = sorted(set(self._sides.flatten().tolist()))
        self._source, self._crop_samples, self._num_crops = source, crop_samples, num_crops
        self._threads, self._frames = threads, frames

    def __call__(
        self, encoder: EncoderModule, place: ddp.Place, progress: Progress | None = None
    ) -> Validation:
        """Measure an encoder; every process of a group embeds its share, all get the answer.

        Raises:
            TrainingError: no trial is left because nothing can be read, or embeddings that are not
                finite.
        """
        ddp.same_buffers(encoder, place)
        own = self._wanted[place.rank :: place.world_size]
        modes = [(module, module.training) for module in encoder.modules()]
        encoder.eval()
        embeddings = self._embed(encoder, own, place.device, progress)
        for module, was_training in modes:  # each as it was: an import's outer one says "no"
            module.training = was_training
        everyone: dict[int, NDArray[np.float64]] = {}
        for share in ddp.gathered(embeddings, place):
            everyone |= share
        return self._score(everyone)

    def _embed(
        self,
        encoder: EncoderModule,
        wanted: Sequence[int],
        device: torch.device,
        progress: Progress | None,
    ) -> dict[int, NDArray[np.float64]]:
        """The summed unit-length embeddings [D] of each utterance that can be read."""
        sums: dict[int, NDArray[np.float64]] = {}
        waiting: dict[int, list[tuple[int, NDArray[np.float32]]]] = defaultdict(list)  # by length

        def flush(length: int) -> None:
            rows = waiting.pop(length)
            crops = torch.from_numpy(np.stack([crop for _, crop in rows])).to(device)
            given = encoder(crops) if self._frames is None else encoder.backbone(crops)
            found = given.float().cpu().numpy().astype(np.float64)  # [B, D]
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
            for (utterance, _), embedding in zip(rows, found, strict=True):
                sums[utterance] = sums.get(utterance, 0.0) + embedding

        with torch.inference_mode(), ThreadPoolExecutor(self._threads) as pool:
            for done, (utterance, crops) in enumerate(
                zip(wanted, pool.map(self._crops, wanted), strict=True), start=1
            ):
                for crop in crops:
                    waiting[len(crop)].append((utterance, crop))
                    if len(waiting[len(crop)]) == self._most_rows(len(crop)):
                        flush(len(crop))
                if progress:
                    progress(done, len(wanted))
            for length in list(waiting):
                flush(length)
        return sums

    def _most_rows(self, length: int) -> int:
        rate = SAMPLE_RATE if self._frames is None else FRAMES_PER_S
        return max(1, min(MOST_ROWS, int(MOST_SECONDS * rate / length)))

    def _crops(self, utterance: int) -> list[NDArray[np.float32]]:
        """Equally long crops, [S] or [T, M]; none where the utterance cannot be read."""
        if self._frames is not None:
            return self._frames.crops(utterance, self._num_crops)
        try:
            waveform = self._source.read(utterance, 0.0, self._source.seconds(utterance) + 1)
        except (AudioError, OSError):
            return []
        length = self._crop_samples if self._num_crops else round(LONGEST_S * SAMPLE_RATE)
        if len(waveform) < 0.1 * SAMPLE_RATE:
            return []
        starts = crop_starts(len(waveform), length, max(1, self._num_crops))
        starts = starts if self._num_crops else [0]
        return [waveform[start : start + length] for start in starts]

    def _score(self, embeddings: dict[int, NDArray[np.float64]]) -> Validation:
        there = np.array([i in embeddings for i in range(self._sides.max() + 1)])
        kept = there[self._sides].all(axis=1)
        n_unreadable = len(self._wanted) - len(embeddings)
        is_target = self._is_target[kept]
        if is_target.sum() in (0, len(is_target)):
            raise TrainingError(
                f"validation: {n_unreadable} of {len(self._wanted)} utterances cannot be read, no "
                "trials are left; is data.val the manifest of files that are there?"
            )
        size = len(next(iter(embeddings.values())))
        units = np.zeros((len(there), size))
        for i, total in embeddings.items():
            units[i] = total / max(float(np.linalg.norm(total)), 1e-12)
        if not np.isfinite(units).all():
            raise TrainingError(
                "validation: embeddings are not finite; the network has diverged: lower train.lr"
            )
        sides = self._sides[kept]
        scores = np.einsum("nd,nd->n", units[sides[:, 0]], units[sides[:, 1]])
        target, other = scores[is_target], scores[~is_target]
        return Validation(
            eer(target, other), min_dcf(target, other), len(target), len(other), n_unreadable
        )


def thinned(utterances: Sequence[Utterance], per_speaker: int, seed: int) -> list[Utterance]:
    """At most so many utterances of each speaker, whatever the order of the list."""
    listed = sorted(utterances, key=lambda u: (u.speaker_id, u.utterance_id))
    order = np.random.RandomState(seed).permutation(len(listed))
    kept: dict[str, list[Utterance]] = defaultdict(list)
    for i in order.tolist():
        own = kept[listed[i].speaker_id]
        if len(own) < per_speaker:
            own.append(listed[i])
    return [utterance for own in kept.values() for utterance in own]

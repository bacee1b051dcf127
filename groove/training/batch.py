"""What the training loop eats: a batch of equally long crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groove.training.sampler import Draw

Failure = tuple[str, str]  # utterance_id that could not be read, and why


@dataclass(frozen=True)
class Batch:
    """Tensors of equally long crops."""

    waveform: Tensor | None  # [B, S] float32, augmented; None with stored features
    frames: Tensor | None  # [B, T, M] float32, their mean subtracted; None with waveforms
    clean: Tensor | None  # [B, S] after speed, before the augmenter; None unless it was asked for
    speaker_index: Tensor  # [B] int64, class of speaker and speed; -1 without a speaker
    draws: tuple[Draw, ...]  # what was really read: replaced utterances stand here
    failures: tuple[Failure, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; from pinned memory the copy does not wait."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in pinned memory; called by the loader's thread."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        def if_there(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else move(tensor)

        return replace(
            self,
            waveform=if_there(self.waveform),
            frames=if_there(self.frames),
            clean=if_there(self.clean),
            speaker_index=move(self.speaker_index),
        )


@dataclass(frozen=True)
class Item:
    """One crop, before it joins a batch."""

    waveform: NDArray[np.float32] | None
    frames: NDArray[np.float32] | None
    clean: NDArray[np.float32] | None
    class_index: int
    draw: Draw
    failures: tuple[Failure, ...]


def collate(items: Sequence[Item]) -> Batch:
    """One batch of items."""
    return Batch(
        waveform=_stacked([item.waveform for item in items]),
        frames=_stacked([item.frames for item in items]),
        clean=_stacked([item.clean for item in items]),
        speaker_index=torch.tensor([item.class_index for item in items], dtype=torch.int64),
        draws=tuple(item.draw for item in items),
        failures=tuple(failure for item in items for failure in item.failures),
    )


def _stacked(arrays: Sequence[NDArray[np.float32] | None]) -> Tensor | None:
    present = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(present)) if present else None

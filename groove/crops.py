"""Where an utterance is cut: evenly spaced crops, or consecutive windows of a long recording.

Both are functions of the length alone, so the same recording is always cut at the same samples.

    crops of an utterance, num_crops = 3          windows of a long recording
    |=====|                                       |======|======|======|==|
          |=====|        (may overlap)                                  the rest
                |=====|
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from groove.errors import SettingsError


def crop_starts(n_samples: int, crop_samples: int, num_crops: int) -> list[int]:
    """First samples of ``num_crops`` evenly spaced crops.

    Args:
        n_samples: length of the utterance.
        crop_samples: length of a crop.
        num_crops: how many; the first starts at 0 and the last ends with the utterance. One crop
            is taken from the middle.

    Returns:
        Starts without repeats; ``[0]`` when the utterance is not longer than one crop (the crop is
        then the whole utterance, never padded).
    """
    if crop_samples < 1 or num_crops < 1:
        raise SettingsError(
            f"{num_crops} crops of {crop_samples} samples; wanted at least one of each"
        )
    spare = n_samples - crop_samples
    if spare <= 0:
        return [0]
    if num_crops == 1:
        return [spare // 2]
    return sorted({round(i * spare / (num_crops - 1)) for i in range(num_crops)})


def cut_crops(
    blocks: Iterable[NDArray[np.float32]], starts: list[int], crop_samples: int
) -> NDArray[np.float32]:
    """Gather equally long crops [B, S] from a stream of blocks, holding nothing else.

    Raises:
        ValueError: the stream ended before the last crop did.
    """
    crops = np.empty((len(starts), crop_samples), dtype=np.float32)
    filled, position = [0] * len(starts), 0
    for block in blocks:
        for i, start in enumerate(starts):
            first, last = max(start, position), min(start + crop_samples, position + len(block))
            if first < last:
                crops[i, first - start : last - start] = block[first - position : last - position]
                filled[i] += last - first
        position += len(block)
    if any(count != crop_samples for count in filled):
        raise ValueError(f"the stream has {position} samples; the last crop ends beyond them")
    return crops


def windows(
    blocks: Iterable[NDArray[np.float32]], window_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Regroup a stream into consecutive windows [window_samples]; the last one may be shorter.

    At most one window and one block are held at a time.
    """
    held: list[NDArray[np.float32]] = []
    n_held = 0
    for block in blocks:
        while n_held + len(block) >= window_samples:
            take = window_samples - n_held
            yield np.concatenate([*held, block[:take]])
            block, held, n_held = block[take:], [], 0
        if len(block):
            held.append(block)
            n_held += len(block)
    if n_held:
        yield np.concatenate(held)

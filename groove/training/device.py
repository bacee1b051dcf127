"""The device before the first step: its settings, and what would leave it without work."""

from __future__ import annotations

import torch

from groove.errors import SettingsError
from groove.training import ddp
from groove.training.config import RunConfig, TrainConfig

LEAST_PART = 2  # crops; batch normalisation has no variance of one


def set_up(place: ddp.Place, run: RunConfig) -> None:
    """Settings of the GPU: its memory's ceiling, and no rounding of fp32 to ten bits.

    Raises:
        SettingsError: a ceiling where there is no GPU.
    """
    memory_cap_gb = run.memory_cap_gb
    if place.device.type != "cuda":
        if memory_cap_gb:
            raise SettingsError("train.memory_cap_gb: is for GPUs; leave it 0 here")
        return
    # cuDNN's TF32 would round the front end's products; 16-bit autocast does not need it.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not run.crop_frames_min  # a search for each length
    if memory_cap_gb:
        total = torch.cuda.get_device_properties(place.device).total_memory
        share = min(1.0, memory_cap_gb * 1e9 / total)
        torch.cuda.set_per_process_memory_fraction(share, place.device)


def refuse_small_parts(config: TrainConfig, place: ddp.Place) -> None:
    """Refuse parts of fewer crops than batch normalisation can learn from.

    Raises:
        SettingsError: a part of a process's share of a batch has fewer than two.
    """
    n_rows, n_parts = config.batch_size // place.world_size, config.train.accumulate
    shared = config.train.sync_bn and place.world_size > 1  # statistics over all processes
    if 0 < n_rows < (1 if shared else LEAST_PART) * n_parts:
        processes = f" in each of {place.world_size} processes" if place.world_size > 1 else ""
        most = n_rows // LEAST_PART
        wanted = f"1 to {most} parts, or a larger batch" if most else "a larger batch"
        raise SettingsError(
            f"train.accumulate: got {n_parts}, but a batch has {n_rows} crops{processes}, and a "
            f"part needs {LEAST_PART} for batch normalisation; wanted {wanted}"
        )

"""One training step, and the look at what came of the step before.

The numbers are read one step late: asking a GPU for one waits until it has computed it, and by then
the next step should be under way. Before anything is written the reading is brought up to date, so
a state that follows a loss or a teacher's embedding which is not finite is never saved.
"""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groove.errors import TrainingError
from groove.training import ddp, precision
from groove.training.batch import Batch
from groove.training.lengths import frames_of_step, shortened
from groove.training.masking import spec_augment
from groove.training.objective import PARTS
from groove.training.run import SHOWN, Run

BAD_BATCH = "bad_batch.pt"
LEAST_SCALE = 1.0  # of fp16's loss: below it no overflow is left that scaling down could cure


@dataclass(frozen=True)
class Taken:
    """A step whose numbers were not read yet."""

    step: int  # counted from 1
    parts: Tensor  # `PARTS`, of this process
    grad_norm: Tensor
    n_unheard: Tensor  # crops whose embedding by the teacher is not finite, of this process
    batch: Batch


def take_step(run: Run, batch: Batch, margin: float) -> Taken:
    """Forward and backward, in ``train.accumulate`` parts, and an update of the weights."""
    config, place = run.config, run.place
    n_labelled = float((batch.speaker_index >= 0).sum())
    if run.material.has_unlabelled:
        n_labelled = ddp.total(n_labelled, place) / place.world_size
    if config.train.crop_frames_min:
        n_frames = frames_of_step(config, run.progress.step)
        batch = shortened(batch, n_frames, run.student.fbank)
    moved = batch.to(place.device)
    frames = _frames(run, moved)  # [B, T, M]
    target = _target(run, moved)  # [B, D'] or None
    run.optimizer.zero_grad(set_to_none=True)
    parts = torch.zeros(len(PARTS), device=place.device)
    for part in range(config.train.accumulate):
        rows = slice(part, None, config.train.accumulate)
        with ddp.without_sync(run.model, part < config.train.accumulate - 1):
            with precision.autocast(run.precision, place.device):
                found = run.model(
                    frames[rows],
                    moved.speaker_index[rows],
                    None if target is None else target[rows],
                    margin,
                    run.n_rows,
                    n_labelled,
                )
            run.scaler.scale(found[0]).backward()
        parts += found.detach()
    run.scaler.unscale_(run.optimizer)
    limit = config.optimizer.clip_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(run.objective.parameters(), limit)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.progress.step += 1
    run.progress.batch += 1
    return Taken(run.progress.step, parts, norm.detach(), _n_unheard(run, target), batch)


def settle(run: Run, taken: Taken | None) -> None:
    """Read a step's numbers into the sums of the next log line.

    Raises:
        TrainingError: they are not finite, or the teacher's embeddings are not; the batch is saved,
            the checkpoints are as they were.
    """
    if taken is None:
        return
    numbers = torch.cat([taken.parts, taken.grad_norm.reshape(1), taken.n_unheard.reshape(1)])
    *means, unheard = ddp.mean(numbers, run.place).tolist()
    if unheard:
        raise TrainingError(
            f"step {taken.step:,}: the teacher's embeddings of "
            f"{round(unheard * run.place.world_size)} of {run.config.batch_size} crops are not "
            f"finite; {_save_bad(run, taken)}, {run.out / 'last.pt'} is as it was before: look at "
            "the batch, or give another distill.teacher"
        )
    values = dict(zip(SHOWN, means, strict=True))
    bad = [name for name in ("loss", "grad_norm") if not math.isfinite(values[name])]
    # fp16's scaler meets infinite gradients by plan: it skips the step and scales down. Where that
    # does not help, steps would be skipped for ever.
    skipped = bad == ["grad_norm"] and run.scaler.is_enabled()
    if bad and not (skipped and run.scaler.get_scale() >= LEAST_SCALE):
        how = f" though fp16's loss scale fell below {LEAST_SCALE:g}" if skipped else ""
        raise TrainingError(
            f"step {taken.step:,}: {bad[0]} is {values[bad[0]]}{how}; {_save_bad(run, taken)}, "
            f"{run.out / 'last.pt'} is as it was before: lower train.lr, "
            f"{'set train.precision=fp32, ' if skipped else ''}or look at the batch"
        )
    for name, value in values.items():
        run.progress.sums[name] += value
    run.progress.n_summed += 1


def n_speakers(batch: Batch) -> int:
    """Different classes of a batch."""
    return len(set(batch.speaker_index.tolist()) - {-1})


def _frames(run: Run, batch: Batch) -> Tensor:
    """Frames on the device: made of the waveform, or stored ones; then masked."""
    with torch.no_grad():
        if batch.frames is not None:
            frames = batch.frames
        else:
            frames = run.student.encoder.front_end(batch.waveform)
        mask = run.config.mask
        if not mask.probability:
            return frames
        generator = torch.Generator(frames.device)
        place = (run.config.train.seed * 1_000_003 + run.progress.step) * 4096 + run.place.rank
        generator.manual_seed(place % 2**63)
        return spec_augment(
            frames,
            generator,
            probability=mask.probability,
            n_freq_masks=mask.n_freq_masks,
            most_bins=mask.most_bins,
            n_time_masks=mask.n_time_masks,
            most_frames=mask.most_frames,
        )


def _target(run: Run, batch: Batch) -> Tensor | None:
    if run.targets is not None:
        speeds = [draw.speed for draw in batch.draws]
        return run.targets[speeds, [draw.utterance for draw in batch.draws]].to(run.place.device)
    if run.listener is None:
        return None
    heard = batch.clean if run.config.distill.sees == "clean" else batch.waveform
    assert heard is not None  # the loader was asked for it
    return run.listener(heard)


def _n_unheard(run: Run, target: Tensor | None) -> Tensor:
    """How many crops have no finite target; utterances without one are known and told of before."""
    if target is None or run.targets is not None:
        return torch.zeros((), device=run.place.device)
    return (~target.isfinite().all(dim=1)).sum().float()


def _save_bad(run: Run, taken: Taken) -> str:
    """Save the batch of each process whose numbers are not finite, or of all; where, in words."""
    place, said = run.place, ""
    made_it = bool(taken.n_unheard) or not bool(taken.parts.isfinite().all())
    anyone = any(ddp.gathered(made_it, place))
    if made_it or not anyone:
        path = run.out / BAD_BATCH
        if not place.is_first:
            path = path.with_stem(f"{path.stem}.rank{place.rank}")
        try:
            _save_batch(run, taken, path)
            said = f"the batch is saved in {path}"
        except OSError as error:
            said = f"the batch cannot be saved in {path} ({error.strerror or error})"
    return ", ".join(filter(None, ddp.gathered(said, place)))


def _save_batch(run: Run, taken: Taken, path: Path) -> None:
    batch = taken.batch
    values = {
        "step": taken.step,
        "parts": dict(zip(PARTS, taken.parts.tolist(), strict=True)),
        "waveform": batch.waveform,
        "clean": batch.clean,
        "frames": batch.frames,
        "speaker_index": batch.speaker_index,
        "draws": [[draw.utterance, draw.speed, draw.seed] for draw in batch.draws],
        "utterance_ids": [run.material.utterances[d.utterance].utterance_id for d in batch.draws],
    }
    buffer = io.BytesIO()
    torch.save(values, buffer)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(buffer.getbuffer())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)

"""What a run is made of, put together in order; and its whole state, written to a checkpoint."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from groove.encoder import Encoder
from groove.errors import SettingsError, TrainingError
from groove.leftovers import remove_leftovers
from groove.manifest import write_lines
from groove.training import ddp, precision
from groove.training.alone import alone_in
from groove.training.checkpoint import Checkpoint, load, rng_states, save, set_rng_states
from groove.training.config import TrainConfig
from groove.training.device import refuse_small_parts, set_up
from groove.training.distill import Teacher
from groove.training.loader import close
from groove.training.material import Material, open_material, open_validator, same_lists
from groove.training.meter import Meter, training_flops
from groove.training.objective import PARTS, Objective, Weights
from groove.training.older import as_of_now
from groove.training.optimizers import make_optimizer
from groove.training.rates import n_steps_of, schedule_jump
from groove.training.runlog import RunLog, sound_after, writing
from groove.training.student import (
    Student,
    effective,
    lost_centres,
    make_head,
    n_weights,
    open_student,
    resume_point,
)
from groove.training.targets import target_key, unheard, utterance_targets
from groove.training.typed import from_mapping, plain
from groove.training.validation import Validator

SHOWN = (*PARTS[:-1], "accuracy", "grad_norm")


@dataclass
class Progress:
    """Where a run stands: the next batch, and the sums of the log line in the making."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_eer: float = math.inf
    n_summed: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SHOWN, 0.0))
    lists: dict[str, str] = field(default_factory=dict)  # setting -> digest of its utterances

    def __post_init__(self) -> None:
        """Sums that a checkpoint of an older version does not have begin at 0."""
        self.sums = dict.fromkeys(SHOWN, 0.0) | self.sums

    @property
    def n_begun(self) -> int:
        """Epochs that were begun: one that train.max_steps ended in the middle counts."""
        return self.epoch + (self.batch > 0)


@dataclass
class Run:
    """The parts of a run."""

    config: TrainConfig
    place: ddp.Place
    log: RunLog
    progress: Progress
    student: Student
    material: Material
    validator: Validator | None
    listener: Teacher | None  # hears crops
    targets: Tensor | None  # [speeds, utterances, D] of whole utterances, on the CPU
    objective: Objective
    model: nn.Module  # the objective, as forward must be called
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    precision: str
    meter: Meter
    n_steps: int

    @property
    def out(self) -> Path:
        """The run's folder."""
        return Path(self.config.train.out_dir)

    @property
    def n_rows(self) -> int:
        """Rows of a batch in this process."""
        return self.config.batch_size // self.place.world_size

    def keep(self, path: Path) -> None:
        """Write the whole state; the first process alone does.

        Raises:
            TrainingError: it cannot be written; what was there stays.
        """
        if not self.place.is_first:
            return
        objective, student = self.objective, self.student
        state = Checkpoint(
            card=student.card,
            network=student.network,
            model=objective.backbone.state_dict(),
            head={} if objective.head is None else objective.head.state_dict(),
            projection={} if objective.projection is None else objective.projection.state_dict(),
            speakers=self.material.speakers,
            config=plain(self.config),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            progress=asdict(self.progress),
            rng=rng_states(),
        )
        save(state, path)


def open_run(config: TrainConfig, teacher: Encoder | None, stack: ExitStack) -> Run:
    """Put a run together: new, or where its last checkpoint stopped.

    Args:
        config: the settings.
        teacher: an open encoder, or None.
        stack: takes what must be closed at the end.

    Raises:
        GrooveError: settings, lists or files that cannot be used.
    """
    if bool(config.distill.teacher) != (teacher is not None):
        raise SettingsError("distill.teacher and the teacher that is handed over go together")
    run, out = config.train, Path(config.train.out_dir)
    place = stack.enter_context(ddp.joined(run.device))
    set_up(place, config.train)
    refuse_small_parts(config, place)
    if place.is_first and (out.is_dir() or not config.resume):  # before last.pt is read
        stack.enter_context(alone_in(out))
        remove_leftovers(out)
    saved = resume_point(config, out / "last.pt")
    progress = Progress(**saved.progress) if saved else Progress()
    torch.manual_seed(run.seed)
    student = open_student(config, saved)
    config = effective(config, student)
    from_utterances = teacher is not None and config.distill.target == "utterance"
    log = RunLog(out, is_first=place.is_first, tensorboard=run.tensorboard, from_step=progress.step)
    stack.callback(log.close)
    material = open_material(
        config,
        student.fbank,
        place,
        keep_clean=teacher is not None and not from_utterances and config.distill.sees == "clean",
        say=lambda text: log.event(progress.step, text),
        progress=log.counting("packed"),
    )
    stack.callback(close, material.dataset)
    if saved and saved.speakers != material.speakers:
        raise TrainingError(
            f"{config.data.train}: {len(material.speakers)} speakers are not the "
            f"{len(saved.speakers)} that the run began with; train on the same list, or start anew"
        )
    validator = None
    if config.validate.every:
        validator = open_validator(config, student.fbank, material.speakers)
    progress.lists = same_lists(config, progress.lists, material, validator)
    targets = None
    if teacher is not None and from_utterances:
        targets = _targets(config, teacher, material, place, log, progress.step)
    objective = _objective(config, student, material, teacher, targets, place).to(place.device)
    if objective.head is not None and (lost := lost_centres(config, student, material.speakers)):
        log.event(progress.step, lost)
    student.encoder.train()  # an imported network comes in evaluation mode
    objective.train()
    scaler_name = precision.choose(run.precision, place.device)
    opened = Run(
        config=config,
        place=place,
        log=log,
        progress=progress,
        student=student,
        material=material,
        validator=validator,
        listener=Teacher(teacher, place.device) if teacher and not from_utterances else None,
        targets=targets,
        objective=objective,
        model=objective,
        optimizer=make_optimizer(
            objective,
            config.optimizer.name,
            lr=run.lr,
            weight_decay=config.optimizer.weight_decay,
            momentum=config.optimizer.momentum,
            block=config.optimizer.block,
            fused=place.device.type == "cuda",
        ),
        scaler=precision.grad_scaler(scaler_name, place.device),
        precision=scaler_name,
        meter=Meter(
            place.device, _flops(config, student, objective, place), n_devices=place.world_size
        ),
        n_steps=n_steps_of(config, material.sampler.n_batches),
    )
    log.n_steps = opened.n_steps
    if saved:
        _restore(opened, saved)
        before = from_mapping(TrainConfig, as_of_now(saved.config))
        if jump := schedule_jump(before, config, material.sampler.n_batches, progress.step):
            log.event(progress.step, jump)
    if run.compile:
        objective.backbone.compile()
    opened.model = ddp.wrapped(objective, place, sync_bn=run.sync_bn)
    _announce(opened)
    return opened


def _objective(
    config: TrainConfig,
    student: Student,
    material: Material,
    teacher: Encoder | None,
    targets: Tensor | None,
    place: ddp.Place,
) -> Objective:
    distill = config.distill
    weights = Weights(aam=distill.aam_weight)
    if teacher is not None:
        weights = Weights(
            distill.aam, distill.cosine, distill.mse, distill.similarity, distill.neighbours
        )
    head = make_head(config, student, material.speakers) if weights.aam else None
    size = teacher.card.embedding_size if teacher is not None else 0
    bank = None
    if targets is not None and weights.neighbours:
        every = targets.flatten(0, 1)
        bank = every[every.isfinite().all(dim=1)].to(place.device)
    return Objective(
        student.encoder,
        head,
        weights=weights,
        target_size=size,
        bank=bank,
        temperature=distill.temperature,
    )


def _targets(
    config: TrainConfig,
    teacher: Encoder,
    material: Material,
    place: ddp.Place,
    log: RunLog,
    step: int,
) -> Tensor:
    """The teacher's embeddings of whole utterances; the first process computes what is missing."""
    heard = [(u, material.source.version(i)) for i, u in enumerate(material.utterances)]
    keys = [
        [target_key(u.utterance_id, u.seconds, speed, version) for u, version in heard]
        for speed in material.speeds
    ]
    folder = config.distill.cache or str(Path(config.train.out_dir) / "teacher")
    counting = log.counting("heard by the teacher")
    if place.is_first:
        found = utterance_targets(teacher, keys, material.whole, folder, progress=counting)
    ddp.wait(place)
    if not place.is_first:
        found = utterance_targets(teacher, keys, material.whole, folder)
    if deaf := unheard(found):
        log.event(
            step,
            f"{len(deaf):,} of {len(material.utterances):,} utterances cannot be heard by the "
            "teacher (unreadable, or its embedding is not finite) and learn nothing from it; "
            f"{material.utterances[deaf[0]].utterance_id} is the first",
        )
    return torch.from_numpy(found)


def _flops(config: TrainConfig, student: Student, objective: Objective, place: ddp.Place) -> float:
    run = config.train
    mean_frames = (run.crop_frames + (run.crop_frames_min or run.crop_frames)) // 2
    shape = (1, mean_frames, student.fbank.n_mels)
    return training_flops(objective.backbone, torch.zeros(shape, device=place.device))


def _restore(run: Run, saved: Checkpoint) -> None:
    """Everything but the backbone, which `open_student` has loaded."""
    try:
        if run.objective.head is not None:
            run.objective.head.load_state_dict(saved.head)
        if run.objective.projection is not None:
            run.objective.projection.load_state_dict(saved.projection)
        run.optimizer.load_state_dict(saved.optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise TrainingError(f"{run.out / 'last.pt'}: does not fit this run ({said})") from None
    # The average may have become the best after last.pt was written.
    best = run.out / "best.pt"
    if best.is_file():
        run.progress.best_eer = min(
            run.progress.best_eer, load(best).progress.get("best_eer", math.inf)
        )
    if saved.scaler:  # empty where the run had none, on a CPU or in bf16
        run.scaler.load_state_dict(saved.scaler)
    set_rng_states(saved.rng)


def _announce(run: Run) -> None:
    """The first line of the log, and the settings beside it."""
    values: dict[str, Any] = {
        "n_steps": run.n_steps,
        "network": run.student.network.architecture,
        "weights": n_weights(run.objective.backbone),
        "classes": run.material.n_classes if run.objective.head is not None else 0,
        "device": str(run.place.device),
        "precision": run.precision,
        "processes": run.place.world_size,
        **run.material.summary(),
    }
    run.log.write("run", run.progress.step, **values)
    run.log.say("  ".join(f"{name} {value}" for name, value in values.items()))
    if run.place.is_first:
        import json

        text, path = json.dumps(plain(run.config), indent=1), run.out / "config.json"
        with writing(path, "the settings", sound_after(run.progress.step)):
            write_lines(path, text.split("\n"))

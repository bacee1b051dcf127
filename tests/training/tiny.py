"""Settings of a run that takes a second: sixteen channels, sixteen bands, half-second crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groove.training.config import TrainConfig
from groove.training.runlog import LOG, read_log
from groove.training.typed import from_mapping
from tests.training.voices import write_voices

EXACT = ("loss", "accuracy", "grad_norm", "lr", "margin_rad")  # what two runs must share


def write_corpus(folder: Path) -> Path:
    write_voices(folder, "train", range(8), 4)
    write_voices(folder, "val", range(100, 106), 4)
    return folder


def tiny(corpus: Path, out: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings; ``changes`` are sections."""
    values: dict[str, dict[str, Any]] = {
        "train": {
            "epochs": 2,
            "lr": 2e-3,
            "emb_dim": 16,
            "channels": 16,
            "crop_frames": 50,
            "crop_frames_val": 60,
            "num_crops": 2,
            "p": 4,
            "k": 2,
            "device": "cpu",
            "log_every": 1,
            "save_every": 3,
            "tensorboard": False,
            "curves": False,
            "out_dir": str(out),
        },
        "data": {
            "train": str(corpus / "train.jsonl"),
            "val": str(corpus / "val.jsonl"),
            "speeds": [1.0],
            "workers": 0,
        },
        "augment": {"reverb_probability": 0.3, "n_rooms": 2},
        "mask": {"probability": 0.5, "most_bins": 3},
        "model": {"n_mels": 16},
    }
    merged = {name: values.get(name, {}) | changes.pop(name, {}) for name in {*values, *changes}}
    return merged | {k: v for k, v in changes.items() if not isinstance(v, dict)}


def config(corpus: Path, out: Path, *, resume: bool = False, **changes: Any) -> TrainConfig:
    return from_mapping(TrainConfig, tiny(corpus, out, **changes) | {"resume": resume})


def curve(out: Path) -> list[dict[str, Any]]:
    """What two runs that are the same run must share, bit for bit."""
    lines = [line for line in read_log(out / LOG) if line["kind"] in ("step", "epoch", "average")]
    speed = ("crops_per_s", "speakers_per_s", "loader_wait", "memory_gb", "tflops", "mfu")
    return [{k: v for k, v in line.items() if k not in speed} for line in lines]

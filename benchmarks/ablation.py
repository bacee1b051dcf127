"""The rows of the ablation table: a training each and a seed, all with the same number of crops.

python benchmarks/ablation.py --speech SPEECH --out FOLDER --seeds 1 2 --jobs 2
groove evaluate --manifest outputs/pools/val.jsonl --out FOLDER/report \
    --model FOLDER/none-1/last.pt --model FOLDER/none-2/last.pt ...

Every row is `python train.py` on outputs/pools (benchmarks/pool_manifests.py) with the settings of
BASE and its own: ECAPA-TDNN C 128 from nothing, 560 steps of 64 crops of 1.2 s, by Muon, since a
network that learned little tells little; and the EER of one crop of 3 s after each epoch. A row
that is done is not trained again, one that was stopped goes on. Each job has one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = (
    "data.train=outputs/pools/train.jsonl",
    "data.val=outputs/pools/val.jsonl",
    "data.source=packed",
    "data.workers=0",
    "data.speeds=[1.0]",
    "data.sampler=shuffled",
    "data.batch_size=64",
    "train.channels=128",
    "train.emb_dim=192",
    "train.crop_frames=120",
    "train.p=16",
    "train.k=4",
    "train.epochs=8",
    "train.max_steps=560",
    "train.lr=2e-3",
    "train.save_every=100",
    "train.tensorboard=false",
    "optimizer.name=muon",
    "optimizer.block=256",
    "schedule.lr_shape=cosine",
    "schedule.margin_start=0.3",
    "schedule.margin_full=0.8",
    "validate.every=1",
    "validate.per_speaker=0",
    "train.num_crops=1",
    "train.crop_frames_val=300",
)
CLEAN = ("augment.reverb_probability=0",)
NOISY = ("augment.noise_probability=0.4", "augment.reverb_probability=0.3")
SPEEDS = ("data.speeds=[1.0,0.9,1.1]",)
PK = ("data.sampler=pk", "data.batch_size=0")
ROWS = {
    "none": CLEAN,
    "noise": NOISY,
    "speed": NOISY + SPEEDS,
    "codec": (*NOISY, *SPEEDS, "augment.codec_probability=0.2"),
    "subcenter": (*NOISY, "head.sub_centers=3"),
    "pk": NOISY + PK,
    "pk_none": CLEAN + PK,
    "adamw": (*NOISY, "optimizer.name=adamw", "optimizer.block=0"),
}
ENVIRONMENT = {  # one thread a row; glibc keeps its memory, which doubles the speed
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "536870912",
}
SOUNDS = ("blanket", "speech-commands-bg", "speechbrain-samples")


def command(speech: Path, out: Path, row: str, seed: int, packed: Path) -> list[str]:
    """What trains a row with a seed; `out` is that run's folder."""
    sounds = ",".join(str(speech / "noise" / name) for name in SOUNDS)
    folders = (
        f"augment.noise_folders=[{sounds}]",
        f"augment.rir_folders=[{speech / 'noise' / 'rir'}]",
    )
    heard = () if set(CLEAN) <= set(ROWS[row]) else folders
    settings = dict(setting.split("=", 1) for setting in (*BASE, *heard, *ROWS[row]))
    settings |= {"data.packed": str(packed), "train.out_dir": str(out), "train.seed": str(seed)}
    if (out / "last.pt").is_file():
        settings["resume"] = "true"
    return [sys.executable, "train.py", *(f"{key}={value}" for key, value in settings.items())]


def train(speech: Path, out: Path, row: str, seed: int, packed: Path) -> None:
    """Train a row with a seed, unless it was; its output goes into a file."""
    folder = out / f"{row}-{seed}"
    done = folder / "done"
    if done.is_file():
        return
    print(f"{folder.name}: {' '.join(ROWS[row])}", flush=True)
    with (out / f"{folder.name}.log").open("ab") as log:
        subprocess.run(
            command(speech, folder, row, seed, packed),
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
            stdout=log,
            stderr=log,
            check=True,
        )
    done.touch()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--jobs", type=int, default=1, help="runs that are trained side by side")
    given = parser.parse_args()
    speech, out = given.speech.resolve(), given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    packed = out / "train.i16"
    if not packed.is_file():  # by one process, before several read it
        from groove.manifest import read_manifest
        from groove.training.packing import pack

        print("packing", flush=True)
        pack(read_manifest(ROOT / "outputs/pools/train.jsonl"), packed, workers=given.jobs)
    runs = [(row, seed) for seed in given.seeds for row in given.rows]
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda run: train(speech, out, *run, packed), runs))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()

"""How many crops a second the training loader gives: files, packed, and each augmentation.

python benchmarks/loader.py --speech SPEECH [--workers 0 2 16] [--crops 512] [--frames 200]

SPEECH holds train/ and noise/, each with a manifest.tsv. The first table is one process: crops a
second of CPU time, so that another load on the machine does not count. The second is the whole
loader with so many workers, by the clock: batches of 128 with speed, noise, reverberation and
G.711, read from a pack. Noise is packed as well. Everything is run once before it is measured.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.fbank import FbankConfig
from groove.manifest import Utterance
from groove.training.augment import AugmentConfig, Augmenter, open_augmenter
from groove.training.dataset import CropDataset, loader
from groove.training.loader import close
from groove.training.noises import noise_utterances
from groove.training.packing import PackedSource, pack
from groove.training.sampler import PKSampler, ShuffledSampler
from groove.training.waveforms import FileSource, WaveformSource

SPEEDS = (1.0, 0.9, 1.1)
RECIPE = {"noise_probability": 0.4, "reverb_probability": 0.3, "codec_probability": 0.2}


def read_pool(root: Path, most: int) -> tuple[list[Utterance], list[int]]:
    with (root / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))[:most]
    utterances = [
        Utterance(row["path"], row["speaker"], root / row["path"], float(row["seconds"]))
        for row in rows
    ]
    index = {name: i for i, name in enumerate(dict.fromkeys(u.speaker_id for u in utterances))}
    return utterances, [index[u.speaker_id] for u in utterances]


def augmenters(speech: Path, noise_pack: Path) -> dict[str, Augmenter | None]:
    """Each step alone, always on, and the recipe."""
    noise = str(speech / "noise")
    packed = {"noise_folders": (noise,), "noise_pack": str(noise_pack)}
    made = {
        "clean": {},
        "noise, packed": {"noise_probability": 1.0, **packed},
        "noise, kept in memory": {"noise_probability": 1.0, "noise_folders": (noise,)},
        "measured rooms": {"reverb_probability": 1.0, "rir_folders": (f"{noise}/rir",)},
        "simulated rooms": {"reverb_probability": 1.0},
        "G.711": {"codec_probability": 1.0},
        "Opus": {"codec_probability": 1.0, "codecs": ("opus",)},
        "recipe (noise 0.4, rooms 0.3, G.711 0.2)": {**RECIPE, **packed},
    }
    return {name: open_augmenter(AugmentConfig(**values)) for name, values in made.items()}


def crops_per_cpu_s(dataset: CropDataset, n_crops: int, n_speeds: int) -> float:
    sampler = ShuffledSampler([-1] * len(dataset), batch_size=n_crops, n_speeds=n_speeds)
    draws = sampler.epoch(0)[0]
    for draw in draws:
        dataset[draw]
    start = time.process_time()
    for draw in draws:
        dataset[draw]
    return n_crops / (time.process_time() - start)


def crops_per_s(dataset: CropDataset, labels: list[int], workers: int) -> float:
    """Of whole epochs by the clock, the first one left out."""
    sampler = PKSampler(labels, p=32, k=4, n_speeds=len(SPEEDS))
    for _ in loader(dataset, sampler, epoch=0, workers=workers):
        pass
    start, n_seen = time.perf_counter(), 0
    for epoch in (1, 2):
        for batch in loader(dataset, sampler, epoch=epoch, workers=workers):
            n_seen += len(batch.draws)
    seconds = time.perf_counter() - start
    close(dataset)
    return n_seen / seconds


def bench_loader(
    speech: Path, *, workers: list[int], n_crops: int, n_frames: int, n_utterances: int
) -> list[tuple[str, float]]:
    """Rows of (what, crops a second)."""
    config = FbankConfig()
    crop_samples = config.frame_length + (n_frames - 1) * config.frame_shift
    utterances, labels = read_pool(speech / "train", n_utterances)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        noise_pack = Path(folder) / "noise.i16"
        pack(noise_utterances((str(speech / "noise"),)), noise_pack, workers=2)
        start = time.perf_counter()
        pack(utterances, Path(folder) / "train.i16", workers=2)
        hours = sum(u.seconds for u in utterances) / 3600
        minutes = (time.perf_counter() - start) / 60
        rows.append(("packing, 2 processes: hours of audio a minute", hours / minutes))
        packed = PackedSource(Path(folder) / "train.i16", utterances)
        made = augmenters(speech, noise_pack)

        def dataset(
            source: WaveformSource, name: str, speeds: tuple[float, ...] = (1.0,)
        ) -> CropDataset:
            return CropDataset(
                utterances, source, crop_samples=crop_samples, speeds=speeds,
                augmenter=made[name], labels=labels,
            )  # fmt: skip

        cases = [("files (lossy), clean", dataset(FileSource(utterances), "clean"), 1)]
        cases += [(f"packed, {name}", dataset(packed, name), 1) for name in made]
        cases += [("packed, speed 0.9 and 1.1 of 3", dataset(packed, "clean", SPEEDS), 3)]
        recipe = list(made)[-1]
        cases += [("packed, recipe and speed", dataset(packed, recipe, SPEEDS), 3)]
        for name, data, n_speeds in cases:
            number = crops_per_cpu_s(data, n_crops, n_speeds)
            rows.append((f"{name}: crops per CPU second", number))
        for n in workers:
            number = crops_per_s(dataset(packed, recipe, SPEEDS), labels, n)
            rows.append((f"recipe and speed, {n} workers: crops a second", number))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--crops", type=int, default=512)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--utterances", type=int, default=1000)
    given = parser.parse_args()
    rows = bench_loader(
        given.speech, workers=given.workers, n_crops=given.crops, n_frames=given.frames,
        n_utterances=given.utterances,
    )  # fmt: skip
    for name, number in rows:
        print(f"{name:60} {number:10.1f}")


if __name__ == "__main__":
    main()

"""How fast a training step is here, and how much memory its activations take.

    python -m benchmarks.train_speed speed --crops 32 --steps 5
    python -m benchmarks.train_speed speed --channels 256 --precision fp32 --optimizer muon
    python -m benchmarks.train_speed memory --crops 128
    python -m benchmarks.train_speed profile --channels 512
    python -m benchmarks.train_speed layout

`speed` times whole steps (front end, forward, backward, optimizer) on random sound, without a
loader, for C 128 and C 512 in fp32 and bf16 (and fp16 on a GPU). `memory` runs one forward pass of
the recommended configuration and adds up what autograd keeps for backward, each storage once;
weights, gradients and AdamW's two moments are counted beside it. On a GPU it also runs whole steps
under a ceiling of 5.5 GB and reports the allocator's peak. `profile` says which operations a step's
time goes to. `layout` times forward and backward of the network's two commonest convolutions as
they are ([B, C, T]) and with channels last ([B, C, 1, T] in that memory format), in turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from typing import Any

import torch
from torch import Tensor

from groove.fbank import FbankConfig
from groove.training import ddp, precision
from groove.training.heads import AamSoftmax
from groove.training.material import samples_of
from groove.training.meter import peak_flops, peak_memory_bytes, training_flops
from groove.training.networks import Network, build_encoder
from groove.training.objective import Objective, Weights
from groove.training.optimizers import make_optimizer

CLASSES = 3 * 2_793  # CN-Celeb's speakers at three speeds
RECOMMENDED = (512, 256)  # channels, emb_dim


class Setting:
    """A network with everything that a step needs."""

    def __init__(
        self,
        channels: int,
        size: int,
        crops: int,
        frames: int,
        numbers: str,
        *,
        compiled: bool = False,
        optimizer: str = "adamw",
        block: int = 0,
    ) -> None:
        self.device = ddp.choose_device("auto")
        self.encoder = build_encoder(Network("ecapa", size, channels), FbankConfig())
        head = AamSoftmax(size, CLASSES)
        self.model = Objective(self.encoder, head, weights=Weights()).to(self.device)
        self.encoder.to(self.device)
        self.numbers = numbers
        self.scaler = precision.grad_scaler(numbers, self.device)
        fused = self.device.type == "cuda"
        self.optimizer = make_optimizer(
            self.model,
            optimizer,
            lr=1e-3,
            weight_decay=1e-4,
            momentum=0.9,
            block=block,
            fused=fused,
        )
        n_samples = samples_of(FbankConfig(), frames)
        self.waveform = 0.1 * torch.randn(crops, n_samples, device=self.device)
        self.label = torch.randint(CLASSES, (crops,), device=self.device)
        if compiled:
            self.model.backbone.compile()

    def forward(self) -> Tensor:
        """Waveforms to the loss."""
        with torch.no_grad():
            frames = self.encoder.front_end(self.waveform)
        n = float(len(self.label))
        with precision.autocast(self.numbers, self.device):
            loss: Tensor = self.model(frames, self.label, None, 0.2, n, n)[0]
        return loss

    def step(self) -> None:
        """Forward, backward, update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(self.forward()).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


def speed(given: argparse.Namespace) -> None:
    """Crops a second of each network in each precision."""
    crops, frames, steps = given.crops, given.frames, given.steps
    device = ddp.choose_device("auto")
    default = ("fp32", "bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16")
    for channels in given.channels or (128, 512):
        for numbers in given.precision or default:
            setting = Setting(
                channels,
                192,
                crops,
                frames,
                numbers,
                compiled=given.compile,
                optimizer=given.optimizer,
                block=given.block,
            )
            for _ in range(2):
                setting.step()
            _wait(setting.device)
            started = time.perf_counter()
            for _ in range(steps):
                setting.step()
            _wait(setting.device)
            rate = steps * crops / (time.perf_counter() - started)
            one = torch.zeros(1, frames, 80, device=device)
            flops = rate * training_flops(setting.model.backbone, one)
            row: dict[str, Any] = {"channels": channels, "precision": numbers}
            row |= {
                "crops_per_s": round(rate, 1),
                "optimizer": given.optimizer,
                "block": given.block,
            }
            row |= {"compiled": given.compile, "tflops": round(flops / 1e12, 3)}
            peak = peak_flops(device)
            print(json.dumps(row | ({"mfu": round(flops / peak, 3)} if peak else {})), flush=True)


def memory(crops: int, frames: int) -> None:
    for numbers in ("fp32", "bf16", "fp16"):
        setting = Setting(*RECOMMENDED, crops, frames, numbers)
        own = {weight.untyped_storage().data_ptr() for weight in setting.model.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, own: set[int] = own, kept: dict[int, int] = kept) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = setting.forward()
        n_weights = sum(weight.numel() for weight in setting.model.parameters())
        row = {"precision": numbers, "crops": crops, "frames": frames}
        row["activations_gb"] = round(sum(kept.values()) / 1e9, 3)
        row["weights_gradients_moments_gb"] = round(16 * n_weights / 1e9, 3)
        del loss
        if setting.device.type == "cuda":
            row["peak_of_steps_gb"] = _peak_of_steps(setting)
        print(json.dumps(row), flush=True)


def _peak_of_steps(setting: Setting) -> float:
    """Five whole steps with the allocator capped at 5.5 GB, as on a 6 GB card."""
    total = torch.cuda.get_device_properties(setting.device).total_memory
    torch.cuda.set_per_process_memory_fraction(5.5e9 / total, setting.device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(5):
        setting.step()
    _wait(setting.device)
    return round(peak_memory_bytes(setting.device) / 1e9, 3)


def profile(given: argparse.Namespace) -> None:
    """The operations that a step's own time goes to, largest first."""
    for channels in given.channels or (512,):
        setting = Setting(channels, 192, given.crops, given.frames, "fp32", compiled=given.compile)
        for _ in range(2):
            setting.step()
        with torch.profiler.profile() as profiled:
            for _ in range(given.steps):
                setting.step()
            _wait(setting.device)
        averages = profiled.key_averages()
        on_gpu = setting.device.type == "cuda"
        key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        total = sum(getattr(row, key) for row in averages)
        rows = sorted(averages, key=lambda row: -getattr(row, key))[:12]
        for row in rows:
            share = getattr(row, key) / total
            line = {"channels": channels, "operation": row.key, "share": round(share, 3)}
            print(json.dumps(line | {"calls_a_step": row.count // given.steps}), flush=True)


def layout(given: argparse.Namespace) -> None:
    """Channels last against the usual layout, A B A B; the fastest of each."""
    device = ddp.choose_device("auto")
    for inputs, outputs, width in ((768, 1536, 1), (256, 256, 1), (32, 32, 3)):
        layers = {
            "as it is": torch.nn.Conv1d(inputs, outputs, width, padding=width // 2),
            "channels last": torch.nn.Conv2d(
                inputs, outputs, (1, width), padding=(0, width // 2)
            ).to(memory_format=torch.channels_last),
        }
        frames = torch.randn(given.crops, inputs, given.frames, device=device)
        seconds: dict[str, list[float]] = {name: [] for name in layers}
        for _ in range(2 + given.steps):
            for name, layer in layers.items():
                layer.to(device)
                given_frames = frames
                if name == "channels last":
                    given_frames = frames.unsqueeze(2).contiguous(memory_format=torch.channels_last)
                given_frames = given_frames.detach().requires_grad_()
                _wait(device)
                started = time.perf_counter()
                layer(given_frames).sum().backward()
                _wait(device)
                seconds[name].append(time.perf_counter() - started)
        best = {name: round(1e3 * min(found[2:]), 2) for name, found in seconds.items()}
        print(json.dumps({"convolution": f"{inputs} -> {outputs}, {width}", "ms": best}))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "memory", "profile", "layout"))
    parser.add_argument("--crops", type=int, default=32)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--channels", type=int, nargs="*", help="of speed and profile")
    parser.add_argument("--precision", nargs="*", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "sgd", "muon"))
    parser.add_argument("--block", type=int, default=0, help="of muon")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    device = ddp.choose_device("auto")
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    print(json.dumps({"device": name, "threads": torch.get_num_threads()}), flush=True)
    if given.what == "memory":
        memory(given.crops, given.frames)
    else:
        {"speed": speed, "profile": profile, "layout": layout}[given.what](given)


if __name__ == "__main__":
    main()

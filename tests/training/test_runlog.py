"""The log, the progress line, the curves and the meter."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from groove.errors import TrainingError  # noqa: E402
from groove.training import meter, runlog  # noqa: E402
from groove.training.curves import draw_curves  # noqa: E402
from groove.training.meter import Meter, peak_flops_of, training_flops  # noqa: E402
from groove.training.runlog import LOG, RunLog, read_log  # noqa: E402

pytestmark = pytest.mark.torch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_run_that_goes_on_cuts_off_what_it_will_write_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path, stream=io.StringIO())
    for step in range(1, 6):
        log.write("step", step, loss=1 / step)
    with (tmp_path / LOG).open("a", encoding="utf-8") as file:
        file.write('{"kind": "st')  # a kill cut this one short
    RunLog(tmp_path, from_step=3, stream=io.StringIO())
    assert [line["step"] for line in read_log(tmp_path / LOG)] == [1, 2, 3]
    RunLog(tmp_path, stream=io.StringIO())
    assert read_log(tmp_path / LOG) == []


def test_a_number_in_the_log_is_the_number_itself(tmp_path: Path) -> None:
    log, value = RunLog(tmp_path, stream=io.StringIO()), 0.1 + 0.2
    log.write("step", 1, loss=value)
    assert read_log(tmp_path / LOG)[0]["loss"] == value


def test_a_number_that_is_not_finite_is_null_in_the_log(tmp_path: Path) -> None:
    """Python would write Infinity and NaN, which are no JSON."""
    log = RunLog(tmp_path, stream=io.StringIO())
    log.write("step", 1, loss=1.5, grad_norm=float("inf"), aam=float("nan"))
    line = (tmp_path / LOG).read_text("utf-8")
    assert line == '{"kind": "step", "step": 1, "loss": 1.5, "grad_norm": null, "aam": null}\n'


def test_the_progress_line_overwrites_itself_on_a_terminal_only(tmp_path: Path) -> None:
    for stream, start in ((Terminal(), "\r\033[K"), (io.StringIO(), "")):
        log = RunLog(tmp_path, stream=stream)
        log.n_steps = 10
        log.show(5, loss=1.23456, lr=1e-3, margin_rad=0.2, crops_per_s=40.0)
        line = stream.getvalue()
        assert line.startswith(start) and line.endswith("\n") == (start == "")
        for word in ("5/10", "loss 1.235", "lr 0.001", "margin 0.2", "crops/s 40", "ETA 0:00:0"):
            assert word in line


def test_the_time_that_is_left_is_told_from_the_first_step_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of packing, then steps of 2 s; by hand: 6 steps are left, 12 s."""
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr(runlog, "time", SimpleNamespace(monotonic=lambda: now[0]))
    log = RunLog(tmp_path, from_step=100, stream=stream)
    log.n_steps = 110
    now[0] = 3600.0
    log.begin()
    now[0] += 8.0
    log.show(104)
    assert stream.getvalue().endswith("ETA 0:00:12\n")


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = RunLog(tmp_path / "none", is_first=False, stream=stream)
    log.write("step", 1, loss=1.0)
    log.say("x")
    log.show(1)
    log.close()
    assert stream.getvalue() == "" and not (tmp_path / "none").exists()


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = RunLog(tmp_path, tensorboard=True, stream=io.StringIO())
    log.write("step", 1, loss=1.0, note="text is for the log alone")
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"step/loss" in events.read_bytes()


def test_a_log_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    log = RunLog(tmp_path, stream=io.StringIO())
    (tmp_path / LOG).unlink()
    (tmp_path / LOG).mkdir()
    with pytest.raises(TrainingError, match="the log cannot be written .*resume=true"):
        log.write("step", 1)
    for step, how in ((0, "start again"), (3, "as it was before: go on with resume=true")):
        with pytest.raises(TrainingError, match=f"{LOG}: the log cannot be written .*{how}"):
            RunLog(tmp_path, from_step=step, stream=io.StringIO())


class FullDisk:
    """TensorBoard's writer once its thread has met a full disk: each call raises that again."""

    def add_scalar(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = close = add_scalar


def test_tensorboards_file_that_cannot_be_written_is_one_clear_line_and_closing_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlog, "_summary_writer", lambda *_: FullDisk())
    log = RunLog(tmp_path, tensorboard=True, stream=(stream := io.StringIO()))
    said = (
        r"tensorboard: .* \(No space .*\); log.jsonl has them; .*resume=true, .*tensorboard=false"
    )
    with pytest.raises(TrainingError, match=said):
        log.write("step", 1, loss=1.5)
    assert [line["loss"] for line in read_log(tmp_path / LOG)] == [1.5]
    log.close()
    assert stream.getvalue().endswith("numbers end early (No space left on device)\n")


def test_curves_are_drawn_and_an_empty_log_is_no_error(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [{"kind": "step", "step": i, "loss": 1 / i, "lr": 0.1} for i in (1, 2)]
    lines += [{"kind": "epoch", "step": 2, "eer": 0.1}]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for log, name in ((tmp_path / LOG, "a.png"), (tmp_path / "none", "b.png")):
        draw_curves(log, tmp_path / name)
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.glob("*.part"))


def test_the_meter_counts_between_two_readings() -> None:
    counting = Meter(torch.device("cpu"), flops_per_crop=1e9)
    assert list(counting.waiting([1, 2, 3])) == [1, 2, 3]
    counting.count(8, 4)
    first, second = counting.read(), counting.read()
    assert first["crops_per_s"] == pytest.approx(2 * first["speakers_per_s"])
    assert 0 <= first["loader_wait"] <= 1 and first["memory_gb"] > 0
    assert first["tflops"] == pytest.approx(first["crops_per_s"] / 1000)
    assert second["crops_per_s"] == 0


def test_utilisation_is_of_all_the_devices_that_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that do half of what they can; by hand: crops/s x FLOPs / (2 x peak)."""
    monkeypatch.setattr(meter, "peak_flops", lambda device: 2e9)
    both = Meter(torch.device("cpu"), flops_per_crop=1e9, n_devices=2)
    both.count(8, 4)
    found = both.read()
    assert found["mfu"] == pytest.approx(found["crops_per_s"] / 4)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA A10", 125),
        ("Tesla T4", 65),
        ("NVIDIA RTX A1000", 0),
        ("NVIDIA A1000 Laptop GPU", 0),
        ("NVIDIA A10G", 0),
        ("NVIDIA T400 4GB", 0),
        ("NVIDIA GH200 480GB", 0),
    ],
)
def test_a_device_is_known_by_its_whole_name(name: str, tflops: float) -> None:
    assert peak_flops_of(name) == tflops * 1e12


def test_flops_are_those_of_the_products() -> None:
    layers = torch.nn.Sequential(torch.nn.BatchNorm1d(7), torch.nn.Linear(5, 3, bias=False))
    before = layers[0].running_mean.clone()
    assert training_flops(layers, torch.randn(1, 7, 5)) == 3 * 2 * 7 * 5 * 3
    assert torch.equal(layers[0].running_mean, before) and layers.training

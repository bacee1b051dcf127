"""train.py, groove train, and checkpoints opened by the rest of Groove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

import groove  # noqa: E402
from groove.cli import app  # noqa: E402
from groove.errors import GrooveError, ModelError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.loading import open_encoder  # noqa: E402
from groove.training.alone import alone_in  # noqa: E402
from groove.training.checkpoint import Checkpoint, load, save  # noqa: E402
from groove.training.composing import compose  # noqa: E402
from groove.training.importers import import_checkpoint  # noqa: E402
from groove.training.networks import Network, build_encoder, new_card  # noqa: E402
from groove.training.runlog import LOG, read_log  # noqa: E402
from tests.conftest import ROOT, VOICE_A, VOICE_A2  # noqa: E402
from tests.training.test_ddp import free_port  # noqa: E402
from tests.training.tiny import tiny, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def overrides(corpus: Path, out: Path) -> list[str]:
    """The tiny run's settings as one types them."""
    found = []
    for section, values in tiny(corpus, out, train={"epochs": 1}).items():
        for key, value in values.items():
            text = str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
            found.append(f"{section}.{key}={text}")
    return found


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    done = CliRunner().invoke(app, ["train", *overrides(corpus, out)])
    assert done.exit_code == 0 and done.stdout.strip() == str(out / "best.pt"), done.output
    return out


def test_the_command_trains_and_its_checkpoint_compares(trained: Path) -> None:
    best = trained / "best.pt"
    answer = groove.compare(VOICE_A, VOICE_A2, model=str(best), threshold=0.0)
    assert answer.score is not None and answer.model.startswith("out ")
    encoder, again = open_encoder(best), open_encoder(best)
    waveform = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 8000)).astype(np.float32)
    assert np.array_equal(encoder(waveform), again(waveform))
    assert encoder.model_hash == again.model_hash


def test_resume_needs_no_setting_to_be_repeated(trained: Path, corpus: Path) -> None:
    config = compose("train", ["resume=true", f"train.out_dir={trained}", "train.epochs=2"])
    assert config.train.channels == 16 and config.train.epochs == 2 and config.resume
    assert config.data.train == str(corpus / "train.jsonl")
    done = CliRunner().invoke(
        app, ["train", "resume=true", f"train.out_dir={trained}", "train.epochs=2"]
    )
    assert done.exit_code == 0, done.output
    assert load(trained / "last.pt").progress["epoch"] == 2
    done = CliRunner().invoke(app, ["train", f"train.out_dir={trained}", "train.epochs=3"])
    assert isinstance(done.exception, TrainingError) and "holds a run already" in str(
        done.exception
    )


def test_a_teacher_is_opened_by_path(trained: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = [f"distill.teacher={trained / 'best.pt'}", "validate.every=0", "train.emb_dim=24"]
    done = CliRunner().invoke(app, ["train", *overrides(corpus, out), *asked])
    assert done.exit_code == 0 and done.stdout.strip() == str(out / "last.pt"), done.output
    assert load(out / "last.pt").projection["weight"].shape == (16, 24)


def test_the_scripts_in_the_root_say_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    for script, argument, wanted in (
        ("train.py", "train.epoch=3", "did you mean train.epochs?"),
        ("finetune.py", "train.init=absent.pt", "train.init=absent.pt: no such checkpoint"),
    ):  # elsewhere: a checkout that is in use has runs in outputs/
        done = subprocess.run(
            [sys.executable, ROOT / script, argument], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert wanted in done.stderr


def test_a_second_run_does_not_begin_in_the_folder_of_a_first(corpus: Path, tmp_path: Path) -> None:
    """Not in a fresh one, where both would think themselves the first, and not by resume=true."""
    pytest.importorskip("fcntl")
    out = tmp_path / "out"
    command = [sys.executable, "train.py", *overrides(corpus, out)]
    with alone_in(out):
        second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert second.returncode == 2 and f"another run (process {os.getpid()})" in second.stderr
        assert [path.name for path in out.iterdir()] == [".run.lock"]
    first = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert first.returncode == 0, first.stderr
    assert not (out / ".run.lock").exists()
    last = (out / "last.pt").read_bytes()
    with alone_in(out):
        third = [sys.executable, "train.py", "resume=true", f"train.out_dir={out}"]
        refused = subprocess.run(third, capture_output=True, text=True, cwd=ROOT)
    assert refused.returncode == 2 and "trains in this folder; wait for it" in refused.stderr
    assert (out / "last.pt").read_bytes() == last


def test_workers_that_outlive_a_killed_run_do_not_keep_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    killed = f"""
import os, signal, time
from pathlib import Path
from groove.training.alone import alone_in
with alone_in(Path({str(tmp_path)!r})):
    if (child := os.fork()) == 0:
        time.sleep(60)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.Popen([sys.executable, "-c", killed], stdout=subprocess.PIPE, cwd=ROOT)
    assert done.stdout is not None
    with done.stdout as said:
        child = int(said.readline())
    try:
        assert done.wait(timeout=60) == -signal.SIGKILL
        assert (tmp_path / ".run.lock").exists()
        with alone_in(tmp_path):
            os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)
    assert not (tmp_path / ".run.lock").exists()


@pytest.mark.slow
@pytest.mark.timeout(120)  # alone it takes less than 40 s
def test_torchrun_trains_on_two_processes(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    start += ["--master-port", str(free_port()), "train.py"]
    settings = [*overrides(corpus, out), "train.max_steps=2", "validate.every=0"]
    done = subprocess.run(
        [sys.executable, *start, *settings], capture_output=True, text=True, cwd=ROOT, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(out / "last.pt")]  # said once, not by both
    assert load(out / "last.pt").progress["step"] == 2
    first, *steps = read_log(out / LOG)
    assert first["processes"] == 2 and [line["kind"] for line in steps] == ["step", "step"]


def test_a_foreign_checkpoint_keeps_its_message(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pt"
    torch.save({"model": {"w": torch.zeros(2)}}, foreign)
    with pytest.raises(ModelError, match="turn it into one first: .*groove import"):
        open_encoder(foreign)
    foreign.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="groove import"):
        open_encoder(foreign)


def test_an_init_of_a_public_kind_is_imported(corpus: Path, tmp_path: Path) -> None:
    from tests.training.published import published_state

    public, out = tmp_path / "public.pt", tmp_path / "out"
    torch.save(published_state("wespeaker-ecapa", channels=16, embedding_size=24), public)
    settings = [*overrides(corpus, out), f"train.init={public}", "train.max_steps=1"]
    done = CliRunner().invoke(app, ["train", *settings])
    assert isinstance(done.exception, GrooveError) and "train.init_kind" in str(done.exception)
    done = CliRunner().invoke(app, ["train", *settings, "train.init_kind=wespeaker-ecapa"])
    assert done.exit_code == 0, done.output
    saved = load(out / "last.pt")
    assert saved.network == Network("ecapa", 24, 16) and saved.card.fbank.window == "hamming"
    assert saved.config["train"]["emb_dim"] == 24 and saved.head["weight"].shape == (8, 24)
    # Running statistics move only in a network that is in training mode.
    given = import_checkpoint(public, "wespeaker-ecapa").module.backbone.state_dict()
    moved = [n for n in given if n.endswith("running_mean")]
    assert moved and all(not torch.equal(saved.model[n], given[n]) for n in moved)
    # After a validation, too, by which the network goes through evaluation mode.
    out = tmp_path / "two"
    settings = [*overrides(corpus, out), f"train.init={public}", "train.init_kind=wespeaker-ecapa"]
    done = CliRunner().invoke(app, ["train", *settings, "train.epochs=2", "train.average=2"])
    assert done.exit_code == 0, done.output
    first, second = (load(path).model for path in sorted(out.glob("epoch*.pt")))
    assert all(not torch.equal(first[n], second[n]) for n in moved)


def test_a_checkpoint_opens_without_a_training_run(tmp_path: Path) -> None:
    network, fbank = Network("campplus", 16), FbankConfig()
    module = build_encoder(network, fbank)
    card = new_card(network, fbank, name="given")
    save(Checkpoint(card, network, module.backbone.state_dict(), {}), tmp_path / "m.pt")
    assert open_encoder(tmp_path / "m.pt").card.name == "given"

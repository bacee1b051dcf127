"""Two gloo processes against one: the same batches in total, the same gradients."""

from __future__ import annotations

import faulthandler
import io
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from groove.errors import SettingsError, TrainingError  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.manifest import Utterance  # noqa: E402
from groove.training import ddp, precision  # noqa: E402
from groove.training.batch import Batch  # noqa: E402
from groove.training.checkpoint import load  # noqa: E402
from groove.training.device import refuse_small_parts  # noqa: E402
from groove.training.heads import AamSoftmax  # noqa: E402
from groove.training.loop import tell_corrupt, train  # noqa: E402
from groove.training.networks import Network, build_encoder  # noqa: E402
from groove.training.objective import PARTS, Objective, Weights  # noqa: E402
from groove.training.run import Progress, Run  # noqa: E402
from groove.training.runlog import LOG, RunLog, read_log  # noqa: E402
from groove.training.sampler import Draw  # noqa: E402
from groove.training.step import Taken, settle  # noqa: E402
from tests.training.tiny import config, curve, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch


def gradients(place: ddp.Place, live: bool, parts: int) -> dict[str, Any]:
    """Of a small objective on eight rows, each process with its share, in so many parts."""
    torch.manual_seed(0)
    encoder = build_encoder(Network("ecapa", 16, 8), FbankConfig(n_mels=16))
    head, weights = AamSoftmax(16, 5), Weights(1, 1, 0, 0)
    model = Objective(encoder, head, weights=weights, target_size=24).train(live)
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(8, 30, 16, generator=generator)
    target = torch.nn.functional.normalize(torch.randn(8, 24, generator=generator))
    label = torch.tensor([0, 1, 2, -1, 4, 0, -1, -1])
    wrapped, own = ddp.wrapped(model, place), slice(place.rank, None, place.world_size)
    n_labelled = ddp.total(float((label[own] >= 0).sum()), place) / place.world_size
    for part in range(parts):
        rows = slice(part, None, parts)
        with ddp.without_sync(wrapped, part < parts - 1):
            mine = frames[own][rows], label[own][rows], target[own][rows]
            wrapped(*mine, 0.2, 8 / place.world_size, n_labelled)[0].backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def write_gradients(folder: Path) -> None:
    with ddp.joined("cpu") as place:
        for live in (False, True):
            found = gradients(place, live, 1)
            if place.is_first:
                torch.save(found, folder / f"{live}.pt")


def spawn(work: Callable[..., object], *arguments: object, world_size: int = 2) -> None:
    """What torchrun does, without its rendezvous: processes that know who they are.

    They are new processes and no forks: a fork of a process that has computed with many threads
    may wait for ever for a lock that one of them held.
    """
    port, context = free_port(), multiprocessing.get_context("spawn")
    running = [
        context.Process(target=_be, args=(work, arguments, rank, world_size, port))
        for rank in range(world_size)
    ]
    try:
        for process in running:
            process.start()
        for process in running:
            process.join(timeout=200)
        assert [process.exitcode for process in running] == [0] * world_size
    finally:
        for process in running:  # pytest could not end while one still runs
            process.kill()
            process.join()


def _be(work: Callable[..., object], arguments: Any, rank: int, world_size: int, port: int) -> None:
    faulthandler.dump_traceback_later(150, exit=True)  # says where it hangs, if it does
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"LOCAL_WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    work(*arguments)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_gradients_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    # With live batch norm each process normalises its own half: so does one that takes the batch
    # in two parts. With frozen batch norm the whole batch at once is the reference.
    spawn(write_gradients, tmp_path)
    alone = ddp.Place(0, 1, torch.device("cpu"))
    for live in (False, True):
        two = torch.load(tmp_path / f"{live}.pt", weights_only=True)
        one = gradients(alone, live, 2 if live else 1)
        largest = max(float(gradient.abs().max()) for gradient in one.values())
        assert set(one) == set(two) and largest > 0.01
        for name, gradient in one.items():
            assert torch.allclose(two[name], gradient, rtol=1e-4, atol=1e-6 * largest), name


def test_a_run_on_two_processes_is_that_of_one_in_two_parts(corpus: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"mask": {"probability": 0.0}, "validate": {"every": 2}}
    train(config(corpus, tmp_path / "one", train={"accumulate": 2, "curves": False}, **common))
    spawn(train, config(corpus, tmp_path / "two", train={"curves": False}, **common))
    ours, theirs = (
        [line for line in curve(tmp_path / n) if line["kind"] == "step"] for n in ("two", "one")
    )
    assert len(ours) == len(theirs) == 8
    for a, b in zip(ours, theirs, strict=True):
        assert a["lr"] == b["lr"]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=2e-3)
        np.testing.assert_allclose(a["accuracy"], b["accuracy"], atol=1e-6)
    np.testing.assert_allclose(ours[0]["grad_norm"], theirs[0]["grad_norm"], rtol=1e-4)
    assert load(tmp_path / "two" / "last.pt").progress["step"] == 8


def log_corrupt(folder: Path) -> None:
    """Both processes met one utterance, the second another; then what is known is told again."""
    with ddp.joined("cpu") as place:
        log = RunLog(folder, is_first=place.is_first, stream=io.StringIO())
        known: dict[str, str] = {}
        material = SimpleNamespace(dataset=SimpleNamespace(corrupt=known))
        run = SimpleNamespace(log=log, material=material, progress=Progress(step=7), place=place)
        met = [("a", "cut"), ("b", "empty")][: place.rank + 1]
        tell_corrupt(cast(Run, run), met)
        assert known == {"a": "cut", "b": "empty"} and met == []


def test_a_corrupt_utterance_that_any_process_met_is_in_the_log_once(tmp_path: Path) -> None:
    spawn(log_corrupt, tmp_path)
    texts = [(x["kind"], x["step"], x["text"]) for x in read_log(tmp_path / LOG)]
    assert texts == [("event", 7, "a: left out: cut"), ("event", 7, "b: left out: empty")]


def save_bad_batch(folder: Path) -> None:
    """The second process has a loss that is not finite."""
    with ddp.joined("cpu") as place:
        draws = (Draw(place.rank, 0, 5),)
        batch = Batch(torch.zeros(1, 9), None, None, torch.tensor([place.rank]), draws)
        parts = torch.full((len(PARTS),), torch.nan if place.rank else 1.0)
        names = [Utterance(name, name, Path(name), 1.0) for name in ("healthy", "poisoned")]
        run = SimpleNamespace(
            place=place,
            out=folder,
            scaler=precision.grad_scaler("fp32", place.device),
            progress=Progress(),
            material=SimpleNamespace(utterances=names),
        )
        with pytest.raises(TrainingError, match=r"saved in [^ ]*bad_batch\.rank1\.pt, .*last.pt"):
            settle(
                cast(Run, run), Taken(3, parts, torch.tensor(torch.nan), torch.tensor(0.0), batch)
            )


def test_the_batch_of_the_process_whose_loss_is_not_finite_is_saved(tmp_path: Path) -> None:
    spawn(save_bad_batch, tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == "bad_batch.rank1.pt"
    assert torch.load(path, weights_only=True)["utterance_ids"] == ["poisoned"]


def test_parts_of_one_crop_are_refused(corpus: Path, tmp_path: Path) -> None:
    settings, here = config(corpus, tmp_path, train={"accumulate": 3}), torch.device("cpu")
    refuse_small_parts(settings, ddp.Place(0, 1, here))  # of eight
    said = "got 3, but a batch has 4 crops in each of 2 processes.* wanted 1 to 2 parts"
    with pytest.raises(SettingsError, match=said):
        refuse_small_parts(settings, ddp.Place(0, 2, here))


def test_sync_bn_is_for_gpus() -> None:
    place = ddp.Place(0, 2, torch.device("cpu"))
    with pytest.raises(SettingsError, match="GPUs only"):
        ddp.wrapped(torch.nn.BatchNorm1d(3), place, sync_bn=True)


def test_a_process_that_waits_in_vain_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out() -> None:
        raise RuntimeError("[enforce fail] Timed out waiting 7200000ms for recv\nat gloo/x.cc:84")

    monkeypatch.setattr(ddp.dist, "barrier", time_out)
    said = r"process 1 of 2 .* \(\[enforce fail\] Timed out .* recv\); .* 2 hours.* resume=true"
    with pytest.raises(TrainingError, match=said):
        ddp.wait(ddp.Place(1, 2, torch.device("cpu")))
    ddp.wait(ddp.Place(0, 1, torch.device("cpu")))


def test_alone_everything_is_its_own_answer() -> None:
    with ddp.joined("cpu") as place:
        assert place == ddp.Place(0, 1, torch.device("cpu"))
        assert ddp.total(3.0, place) == 3.0 and ddp.gathered("a", place) == ["a"]
        assert ddp.first_word("", place) == "" and ddp.first_word("x", place) == "x"


@pytest.mark.parametrize(("has_gpu", "wanted"), [(True, "cuda:1"), (False, "cpu")])
def test_auto_is_the_card_of_this_process_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, wanted: str
) -> None:
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)  # the card need not be there
    assert str(ddp.choose_device("auto", local_rank=1)) == wanted
    assert [str(device) for device in chosen] == [wanted] * has_gpu

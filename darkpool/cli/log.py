"""The audit log from the command line: show it, hand it over, check what was handed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption, shown_progress

if TYPE_CHECKING:
    from compliance.audit_log import Logged
    from compliance.audit_verify import Consistency, Verified
    from compliance.signed_note import NoteSigner
    from darkpool.store.audit_store import AuditStore

log = typer.Typer(help="The audit log: what was decided, granted, asked and shown.", no_args_is_help=True)

_SHORT = 10
_MAX_DIGITS = 13
_YEAR_9999 = 253_402_300_799


@log.command(epilog="Example: darkpool log show --kind decision --since 2030-01-31 --data ./data")
def show(
    kind: Annotated[str | None, typer.Option(help="Only this kind, for example decision.")] = None,
    account: Annotated[str | None, typer.Option(help="Only what is about this account.")] = None,
    since: Annotated[str | None, typer.Option(help="UTC, as 2030-01-31 or 2030-01-31T12:00.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=1000)] = 50,
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """List entries, oldest first. Times are UTC."""
    from rich.console import Console
    from rich.table import Table

    from compliance.audit_log import read_latest
    from compliance.audit_record import Kind
    from darkpool.errors import ConfigError
    from darkpool.store.audit_store import AuditFilter
    from darkpool.types import parse_address

    if kind is not None and kind not in set(Kind):
        raise ConfigError(f"--kind: {kind[:40]!r} is none", f"give one of {', '.join(Kind)}")
    asked = AuditFilter(
        kind=kind,
        account=None if account is None else parse_address(account),
        since=None if since is None else _seconds(since),
    )
    with _opened(data) as (store, _):
        found = read_latest(store, asked, limit)[::-1]
    if as_json:
        typer.echo(json.dumps([_entry(each) for each in found]))
        return
    table = Table()
    for name in ("#", "time", "kind", "actor", "account", "subject"):
        table.add_column(name, justify="right" if name == "#" else "left", overflow="fold")
    for each in found:
        record = _entry(each)
        who = str(record["account"] or "")
        about = f"{who[:_SHORT]}…" if who else ""
        texts = (str(record["time"]), record["kind"], record["actor"], about, record["subject"])
        table.add_row(str(each.sequence), *texts)
    Console(markup=False, emoji=False).print(table)  # texts of others stay as they are


@log.command(epilog="Example: darkpool log export audit.jsonl --data ./data")
def export(
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    data: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Write all entries and checkpoints into one file for an auditor. The venue may run meanwhile."""
    from compliance.audit_export import write_export
    from darkpool.errors import ConfigError

    if file.exists():
        raise ConfigError(f"{file}: exists already", "choose another file")
    with _opened(data) as (store, signer), _written(file) as out, shown_progress() as progress:
        end = write_export(store, signer.verifier.vkey, out, progress)
    document = {"entries": end.entries, "checkpoints": end.checkpoints, "root": "0x" + end.root.hex()}
    text = f"{file}: {end.entries} entries, {end.checkpoints} checkpoints\nkey: {signer.verifier.vkey}"
    typer.echo(json.dumps({**document, "key": signer.verifier.vkey}) if as_json else text)


@log.command(epilog="Example: darkpool log key --data ./data")
def key(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Print the public key that signs checkpoints. Publish it where auditors find it."""
    with _opened(data) as (_, signer):
        found = signer.verifier.vkey
    typer.echo(json.dumps({"key": found}) if as_json else found)


@log.command(epilog="Example: darkpool log verify audit.jsonl --key darkpool/audit/…+0a1b2c3d+AX… --entry 17")
def verify(
    file: Annotated[Path, typer.Argument(help="An exported log.", show_default=False)],
    vkey: Annotated[
        str | None, typer.Option("--key", help="The log's public key, from elsewhere than the file.")
    ] = None,
    old: Annotated[int | None, typer.Option(help="Prove that this many entries …", min=1)] = None,
    new: Annotated[int | None, typer.Option(help="… are the first of so many.", min=1)] = None,
    entry: Annotated[int | None, typer.Option(help="Prove that this entry is signed.", min=0)] = None,
    published: Annotated[
        str | None, typer.Option(help="SIZE:ROOT from a round's seal: the log must have had that root.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every statement of an exported log, and print what was checked."""
    from rich.console import Console
    from rich.table import Column, Table

    from compliance.audit_verify import Asked, verify_export

    asked = Asked(old, new, entry, None if published is None else _claim(published))
    with shown_progress() as progress:
        found = verify_export(file, vkey, asked, progress)
    if as_json:
        typer.echo(json.dumps(_document(found)))
        return
    table = Table("", Column(overflow="fold"), title="every statement holds", show_header=False)
    for name, text in _checks(found):
        table.add_row(name, text)
    Console(markup=False, emoji=False).print(table)
    if found.inclusion is not None:
        typer.echo(found.inclusion.record.encode().decode())


@contextmanager
def _opened(data: Path) -> Iterator[tuple[AuditStore, NoteSigner]]:
    """The store of the venue in the folder, to be read, and the key of its audit log."""
    from compliance.audit_key import present_signer
    from darkpool.config import Settings
    from darkpool.deployment import Deployment
    from darkpool.errors import ConfigError
    from darkpool.store.audit_store import AuditStore
    from darkpool.store.database import Database

    deployment = Deployment.load(data)
    if deployment is None:
        raise ConfigError(f"{data}: no venue lives here", "give its folder with --data")
    signer = present_signer(data, deployment.venue)
    database = Database.as_it_is(Settings.load(data).database_url(data))
    try:
        yield AuditStore(database), signer
    finally:
        database.close()


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file to write, of its owner only, that has its name once it is whole and on disk."""
    import os
    import secrets

    from darkpool.errors import ConfigError

    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}", "make room, or fix it") from None


def _seconds(text: str) -> int:
    from datetime import UTC, datetime

    from darkpool.errors import ConfigError

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--since: {text[:40]!r} is no time", "write 2030-01-31 or 2030-01-31T12:00"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _claim(text: str) -> tuple[int, bytes]:
    from commitments.errors import DecodeError
    from darkpool.errors import ConfigError
    from darkpool.jsonfields import read_hex

    hint = "write SIZE:0x… as audit_size and audit_root of a seal say"
    size, _, root = text.partition(":")
    if not (size.isascii() and size.isdigit() and len(size) <= _MAX_DIGITS):
        raise ConfigError("--published: no size before a colon", hint)
    try:
        return int(size), read_hex(root, "root", 32)
    except DecodeError as error:
        raise ConfigError(f"--published: {error}", hint) from None


def _entry(logged: Logged) -> dict[str, Any]:
    from datetime import UTC, datetime

    document = json.loads(logged.record.encode())
    time = datetime.fromtimestamp(min(document["at"], _YEAR_9999), UTC)
    return {
        "sequence": logged.sequence,
        "time": f"{time:%Y-%m-%d %H:%M:%S}",
        "leaf": "0x" + logged.leaf.hex(),
        **document,
    }


def _checks(found: Verified) -> Iterator[tuple[str, str]]:
    """The checklist."""
    last = found.checkpoints[-1]
    yield "key", f"{found.key}\n{'as given' if found.pinned else 'as the file says: compare it'}"
    yield "entries", f"{found.entries}, each with its own leaf hash, none missing in between"
    yield "checkpoints", f"{len(found.checkpoints)}, each signed, each with the root of its entries"
    yield "consistency", f"{len(found.consistency)} proofs, each checkpoint to the next"
    yield "newest checkpoint", f"{last.size} entries\nroot 0x{last.root.hex()}"
    yield "not signed yet", f"{found.unsigned} entries"
    if found.published is not None:
        yield "published", f"the first {found.published[0]} entries have that root"
    if found.asked is not None:
        proof = found.asked
        yield (
            "consistency asked for",
            (
                f"the first {proof.new} begin with the first {proof.old}: {len(proof.path)} hashes\n"
                f"0x{proof.old_root.hex()}\n0x{proof.new_root.hex()}"
            ),
        )
    if found.inclusion is not None:
        member = found.inclusion
        yield f"entry {member.sequence}", f"in the first {member.size}: {len(member.path)} hashes"


def _document(found: Verified) -> dict[str, Any]:
    member = found.inclusion
    return {
        "key": found.key,
        "key_given": found.pinned,
        "entries": found.entries,
        "root": "0x" + found.root.hex(),
        "checkpoints": [{"size": c.size, "root": "0x" + c.root.hex()} for c in found.checkpoints],
        "unsigned": found.unsigned,
        "consistency_proofs": len(found.consistency),
        "published": None if found.published is None else found.published[0],
        "consistency": None if found.asked is None else _proof(found.asked),
        "inclusion": None
        if member is None
        else {
            "sequence": member.sequence,
            "size": member.size,
            "leaf": "0x" + member.leaf.hex(),
            "path": ["0x" + each.hex() for each in member.path],
            "record": json.loads(member.record.encode()),
        },
    }


def _proof(proof: Consistency) -> dict[str, Any]:
    return {
        "old": proof.old,
        "new": proof.new,
        "old_root": "0x" + proof.old_root.hex(),
        "new_root": "0x" + proof.new_root.hex(),
        "path": ["0x" + each.hex() for each in proof.path],
    }

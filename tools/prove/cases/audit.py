"""The audit log holds every change, whatever happens to the service, and shows whatever happens to the log."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from tools.processes import Service
from tools.prove.showing import ensure
from usageflow.domain.audit import AuditEntry, ChainedEntry, chained
from usageflow.runtime.embedded import DATABASE_NAME
from usageflow.v1 import keys_pb2
from usageflow.v1.admin_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    from usageflow.v1.admin_pb2_grpc import AdminServiceAsyncStub

_OWN = "demo"
_TRIGGERS = ("audit_log_no_update", "audit_log_no_delete")
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Size:
    """How many writers make how many changes in all, between how many kills; what is done to the log afterwards."""

    writers: int = 16
    changes: int = 4_000
    kills: int = 4
    tampered: tuple[str, ...] = ("changed", "removed", "inserted", "truncated")


@dataclass(slots=True)
class Done:
    """What writers were told: names of keys that were made and revoked; of what was under way at a kill nobody knows."""

    made: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.made) + len(self.revoked)


def audit(folder: Path) -> str:
    """Thousands of changes by concurrent writers, with the service killed -9 in between: each change has its entry, the chain is whole,
    and whatever is done to the log by hand is found by `usageflow audit verify`.
    """
    return show_audit(folder, Size())


def show_audit(folder: Path, size: Size) -> str:
    """Returns the figure. Raises NotShown."""
    data, done = folder / "data", Done()
    for number in range(size.kills + 1):
        with Service(data) as service:
            address = service.wait_ready()
            token = service.credentials["admin_token"]
            asyncio.run(_write(service, address, token, size, number, done))
            if number == size.kills:
                service.stop()
    head = _verified(data)
    entries = _told_of(data, done)
    found = [_found(folder, data, name, _TAMPERED[name], head) for name in size.tampered]
    return (
        f"{len(done):,} changes by {size.writers} writers, {size.kills} kills: {entries:,} entries, chain whole; "
        f"found: {', '.join(found)}"
    )


async def _write(
    service: Service, address: str, token: str, size: Size, round_number: int, done: Done
) -> None:
    """Lets the writers work; all but the last round end with a kill while they do."""
    metadata = (("authorization", f"Bearer {token}"),)
    killed = round_number < size.kills
    due = (round_number + 1) * size.changes // (size.kills + 1)
    enough = asyncio.Event()
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = cast("AdminServiceAsyncStub", AdminServiceStub(channel))

        async def write(writer: int) -> None:
            number = 0
            while killed or len(done) < due:
                name, number = f"w{round_number}-{writer}-{number}", number + 1
                key = keys_pb2.ApiKey(name=name, scopes=[keys_pb2.KEY_SCOPE_REPORT])
                created = keys_pb2.CreateApiKeyRequest(application=_OWN, api_key=key)
                await stub.CreateApiKey(created, metadata=metadata, timeout=_PATIENCE_S)
                done.made.add(name)
                if number % 2:
                    revoked = keys_pb2.RevokeApiKeyRequest(application=_OWN, name=name)
                    await stub.RevokeApiKey(revoked, metadata=metadata, timeout=_PATIENCE_S)
                    done.revoked.add(name)
                if len(done) >= due:
                    enough.set()

        work = [asyncio.create_task(write(writer)) for writer in range(size.writers)]
        if killed:
            await asyncio.wait_for(enough.wait(), _PATIENCE_S * 15)
            service.stop(signal.SIGKILL)
        for task in work:
            # A writer whose call was under way at the kill learns nothing about it.
            with suppress(*((grpc.aio.AioRpcError,) if killed else ())):
                await task


def _verified(data: Path) -> str:
    """Returns the head of a log that is whole. Raises NotShown."""
    code, told, said = _verify(data)
    ensure(code == 0 and told.get("whole") is True, f"the chain is not whole: {said}")
    return str(told["head"])


def _verify(data: Path, *options: str) -> tuple[int, Mapping[str, object], str]:
    with Service(data) as service:
        service.wait_ready()
        result = service.command("audit", "verify", "--output", "json", *options)
        service.stop()
    return result.returncode, json.loads(result.stdout or "{}"), result.stderr.strip()


def _told_of(data: Path, done: Done) -> int:
    """Ensures that the log has one entry for each change that is there, and that every change that was told is there; returns how
    many entries there are. Raises NotShown.
    """
    with closing(sqlite3.connect(data / DATABASE_NAME)) as connection:
        keys = connection.execute(
            "SELECT name, credential_id, revoked_us FROM credentials WHERE kind = 'API_KEY'"
        ).fetchall()
        logged = connection.execute(
            "SELECT action, resource_id FROM audit_log WHERE kind = 'api_key'"
        ).fetchall()
        (entries,) = connection.execute("SELECT count(*) FROM audit_log").fetchone()
    ensure(len(set(logged)) == len(logged), "a change has two entries")
    present = {name: credential_id for name, credential_id, _ in keys if name.startswith("w")}
    ended = {name for name, _, revoked_us in keys if revoked_us is not None}
    ensure(done.made <= set(present), f"{len(done.made - set(present))} keys were told and are not there")
    ensure(done.revoked <= ended, f"{len(done.revoked - ended)} keys were told to be revoked and are not")
    wanted = {("CREATED", key) for key in present.values()} | {("DELETED", present[name]) for name in ended}
    ensure(set(logged) == wanted, f"changes and entries differ in {len(set(logged) ^ wanted)}")
    return int(entries)


def _found(
    folder: Path, data: Path, name: str, tamper: Callable[[sqlite3.Connection], int], head: str
) -> str:
    """Tampers with a copy of the log; returns what was found there. Raises NotShown."""
    copy = folder / name
    shutil.copytree(data, copy)
    with closing(sqlite3.connect(copy / DATABASE_NAME)) as connection, connection:
        for trigger in _TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        at = tamper(connection)
    code, told, said = _verify(copy, "--expect", head)
    ensure(code == 1, f"an entry was {name}, and nobody noticed: {said}")
    ensure(
        told["broken_at"] == at,
        f"an entry was {name} at {at}, and it was found at {told['broken_at']}: {said}",
    )
    return name


def _change(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE audit_log SET actor_id = 'nobody' WHERE sequence = 7")
    return 7


def _remove(connection: sqlite3.Connection) -> int:
    connection.execute("DELETE FROM audit_log WHERE sequence = 7")
    return 7


def _insert(connection: sqlite3.Connection) -> int:
    """Puts an entry in between, with a good hash of its own: the one after it gives it away."""
    connection.execute("UPDATE audit_log SET sequence = -sequence - 1 WHERE sequence >= 7")
    connection.execute("UPDATE audit_log SET sequence = -sequence WHERE sequence < 0")
    *values, digest = connection.execute("SELECT * FROM audit_log WHERE sequence = 6").fetchone()
    names = [each[0] for each in connection.execute("SELECT * FROM audit_log LIMIT 0").description]
    before = dict(zip(names, values, strict=False))
    forged = _rehashed(digest, AuditEntry(**{**before, "sequence": 7}))
    row = [getattr(forged.entry, name) for name in names[:-1]] + [forged.digest]
    connection.execute("INSERT INTO audit_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return 8


def _truncate(connection: sqlite3.Connection) -> int:
    """Cuts the end off and makes the log's own head fit: only who kept a head can tell."""
    (last,) = connection.execute("SELECT max(sequence) FROM audit_log").fetchone()
    connection.execute("DELETE FROM audit_log WHERE sequence > ?", (last - 5,))
    connection.execute(
        "UPDATE audit_head SET (sequence, digest) = "
        "(SELECT sequence, digest FROM audit_log ORDER BY sequence DESC LIMIT 1)"
    )
    return int(last) - 4


def _rehashed(previous: bytes, entry: AuditEntry) -> ChainedEntry:
    return next(iter(chained(previous, [entry])))


_TAMPERED: Mapping[str, Callable[[sqlite3.Connection], int]] = {
    "changed": _change,
    "removed": _remove,
    "inserted": _insert,
    "truncated": _truncate,
}

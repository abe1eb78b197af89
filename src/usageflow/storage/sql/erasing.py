"""Erasure in SQL: first the long work, in small transactions, then everything that leads to a person, in one.

Identities are found by their keyed hash whatever they are stored as; plain values are hashed row by row, O(identities of the application).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, update

from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.clock import Clock
from usageflow.domain.hashing import display, keyed_hash
from usageflow.domain.identity import identity_hash
from usageflow.storage.erasing import Erased, Erasure
from usageflow.storage.sql import erasing_rows as rows
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.control_read import unknown_application
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.directory_write import advance
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import APPLICATIONS, DECISION_LOG, EVENTS, IDENTITIES

_PAGE = 2_000
_SPAN = 20_000
"""Rows of events that one transaction looks at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is looked for, by hash, and the application's key."""

    application_id: str
    hash_key: bytes
    hashes: frozenset[bytes]

    def is_key(self, key: str) -> bool:
        """Tells whether an identity's key is one of theirs."""
        kind, _, rest = key.partition(":")
        if kind not in ("v", "h", "a") or not rest:
            return False
        try:
            return identity_hash(key, self.hash_key) in self.hashes
        except ValueError:
            return False

    def is_text(self, text: str) -> bool:
        """Tells whether a text of a logged decision names one of them: the raw value, its hash, or what people see."""
        plain = text.removeprefix("anonymous:")
        shown = (each for each in self.hashes if text in (each.hex(), display(each)))
        return any(shown) or keyed_hash(self.hash_key, plain) in self.hashes


class SqlErasureStore:
    """The ErasureStore over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def erase(self, application_id: str, hash_key: bytes, erasure: Erasure, *, cause: Cause) -> Erased:
        """See ErasureStore."""
        read, write = self._database.read, self._database.write
        hashes = await read(lambda connection: rows.hashes(connection, application_id, hash_key, erasure))
        wanted = Wanted(application_id, hash_key, hashes)
        known = await self._known(wanted)
        await read(lambda connection: rows.ensure_payable(connection, wanted, known, erasure))
        events, upto = await self._scrub_events(application_id, list(known))
        decisions = await self._delete_decisions(wanted)
        done = Erased(events=events, decisions=decisions)
        now_us = self._clock.now_us()
        return await write(
            lambda connection: _finish(connection, wanted, erasure, known, upto, done, cause, now_us)
        )

    async def _known(self, wanted: Wanted) -> dict[int, str]:
        """Returns the identities that are theirs, by pseudonym."""
        found: dict[int, str] = {}
        after = -1
        table = IDENTITIES.c
        while True:
            statement = (
                select(table.pseudonym, table.value)
                .where(table.application_id == wanted.application_id, table.pseudonym > after)
                .order_by(table.pseudonym)
                .limit(_PAGE)
            )
            page = await self._database.read(lambda connection, s=statement: connection.execute(s).all())  # type: ignore[misc]
            if not page:
                return found
            found.update((number, value) for number, value in page if wanted.is_key(value))
            after = page[-1][0]

    async def _scrub_events(self, application_id: str, pseudonyms: Sequence[int]) -> tuple[int, int]:
        """Empties the personal detail of their events; returns how many they were, and the last row that was looked at."""
        bounds = select(func.min(EVENTS.c.row_id), func.max(EVENTS.c.row_id))
        first, last = await self._database.read(lambda connection: connection.execute(bounds).one())
        if first is None or not pseudonyms:
            return 0, (last or 0)
        gone = 0
        for start in range(first, last + 1, _SPAN):
            end = min(start + _SPAN - 1, last)
            gone += await self._database.write(
                lambda connection, span=(start, end): _scrub(connection, application_id, pseudonyms, span)  # type: ignore[misc]
            )
        return gone, last

    async def _delete_decisions(self, wanted: Wanted) -> int:
        table, after, gone = DECISION_LOG.c, -1, 0
        while True:
            statement = (
                select(table.row_id, table.document)
                .where(table.application_id == wanted.application_id, table.row_id > after)
                .order_by(table.row_id)
                .limit(_PAGE)
            )
            page = await self._database.read(lambda connection, s=statement: connection.execute(s).all())  # type: ignore[misc]
            if not page:
                return gone
            after = page[-1][0]
            theirs = [
                row_id for row_id, document in page if any(map(wanted.is_text, _texts(json.loads(document))))
            ]
            if theirs:
                gone += await self._database.write(lambda connection, ids=theirs: _delete(connection, ids))  # type: ignore[misc]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _delete(connection: Connection, row_ids: Sequence[int]) -> int:
    table: Table = DECISION_LOG
    return sum(
        connection.execute(delete(table).where(table.c.row_id.in_(chunk))).rowcount
        for chunk in chunked(row_ids)
    )


def _scrub(
    connection: Connection, application_id: str, pseudonyms: Sequence[int], span: tuple[int, int]
) -> int:
    table, gone = EVENTS.c, 0
    for chunk in chunked(pseudonyms):
        statement = update(EVENTS).where(
            table.row_id.between(*span),
            table.application_id == application_id,
            table.pseudonym.in_(chunk),
            (table.detail_json != "") | (table.path != ""),
        )
        gone += connection.execute(statement.values(detail_json="", path="")).rowcount
    return gone


def _finish(
    connection: Connection,
    wanted: Wanted,
    erasure: Erasure,
    known: dict[int, str],
    upto: int,
    done: Erased,
    cause: Cause,
    now_us: int,
) -> Erased:
    """Everything that leads to them, in one transaction; locks in the order of all writers: application, directory, rows, audit."""
    application = update(APPLICATIONS).where(APPLICATIONS.c.application_id == wanted.application_id)
    blocks = rows.blocks_of(connection, wanted)
    moved = application.values(plan_version=APPLICATIONS.c.plan_version + (1 if blocks else 0))
    if not connection.execute(moved).rowcount:
        raise unknown_application(wanted.application_id)
    version = advance(connection, wanted.application_id, by=1)
    rows.delete_blocks(connection, wanted.application_id, blocks)
    bound, discarded = rows.settle_units(connection, wanted, known, erasure)
    identities = rows.forget_mapping(connection, wanted.application_id, list(known))
    rows.forget_in_directory(connection, wanted, erasure, version, now_us)
    windows = rows.forget_windows(connection, wanted)
    late = _scrub(connection, wanted.application_id, list(known), (upto + 1, 2**62))
    kind, name = ("customer", erasure.customer) if erasure.customer else ("identity", _number(known))
    told = replace(cause, changes=(Change(Action.DELETED, kind, name),))
    append_entries(connection, told, wanted.application_id, revision=0, now_us=now_us)
    return replace(
        done,
        identities=identities,
        events=done.events + late,
        blocks=len(blocks),
        windows=windows,
        bound=bound,
        discarded=discarded,
    )


def _number(known: dict[int, str]) -> str:
    """Returns what the audit log calls an identity: its pseudonym, from which nothing leads back any more."""
    return str(min(known)) if known else "unknown"

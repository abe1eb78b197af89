"""Parts on their way; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Update, case, delete, exists, or_, select, update
from sqlalchemy.orm import aliased

from usageflow.domain.billing import UNSETTLED, Part, PartState
from usageflow.storage.billing import PartResult
from usageflow.storage.sql.billing_freezing import read_parts
from usageflow.storage.sql.billing_rows import PARTS
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import BILLING_PARTS, METERING_DELTAS

_FROZEN, _SENDING, _SENT = PartState.FROZEN.value, PartState.SENDING.value, PartState.SENT.value
_ENDED = (_SENT, PartState.CANCELLED.value)


def claim_parts(
    connection: Connection, worker: str, now_us: int, until_us: int, limit: int, without: Collection[str]
) -> list[Part]:
    """Returns parts that are due, now the worker's; rows that another process is claiming are passed over."""
    earlier = aliased(BILLING_PARTS)
    waits = exists().where(
        earlier.c.ledger_id == PARTS.ledger_id,
        earlier.c.payee == PARTS.payee,
        earlier.c.span_start == PARTS.span_start,
        earlier.c.part_id < PARTS.part_id,
        earlier.c.state.in_(sorted(UNSETTLED)),
    )
    due = (
        select(PARTS.part_id)
        .where(
            PARTS.state.in_([_FROZEN, _SENDING]),
            PARTS.next_us <= now_us,
            PARTS.destination.not_in(sorted(without)),
            # NULL is no span: such a part waits for none.
            or_(PARTS.span_start.is_(None), ~waits),
        )
        .order_by(PARTS.window_start, PARTS.part_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    part_ids = list(connection.scalars(due))
    if not part_ids:
        return []
    mine = update(BILLING_PARTS).where(PARTS.part_id.in_(part_ids))
    first = case((PARTS.first_attempt_us == 0, now_us), else_=PARTS.first_attempt_us)
    connection.execute(
        mine.values(
            state=_SENDING,
            attempts=PARTS.attempts + 1,
            first_attempt_us=first,
            next_us=until_us,
            worker=worker,
            updated_us=now_us,
        )
    )
    return sorted(read_parts(connection, part_ids), key=lambda part: (part.window, part.part_id))


def settle(connection: Connection, results: Sequence[PartResult], now_us: int) -> int:
    """Records results, in order of their parts; one that another attempt has overtaken changes nothing."""
    counted = 0
    for result in sorted(results, key=lambda each: each.part_id):
        counted += connection.execute(_settled(result, now_us)).rowcount
    return counted


def _settled(result: PartResult, now_us: int) -> Update:
    known: dict[str, Any] = {"note": result.note[:500], "next_us": result.next_us, "worker": ""}
    # What an earlier attempt was told is kept where this one was told nothing.
    known |= {"stripe_id": result.stripe_id} if result.stripe_id else {}
    known |= {"stripe_request": result.stripe_request} if result.stripe_request else {}
    mine = (PARTS.part_id == result.part_id, PARTS.state == _SENDING, PARTS.attempts == result.attempt)
    return update(BILLING_PARTS).where(*mine).values(state=result.state.value, updated_us=now_us, **known)


def refuse_sent(connection: Connection, refusals: Mapping[str, str], now_us: int) -> int:
    """Makes parts that were taken at first REJECTED."""
    refused = 0
    for identifier, note in sorted(refusals.items()):
        statement = update(BILLING_PARTS).where(PARTS.identifier == identifier, PARTS.state == _SENT)
        values = {"state": PartState.REJECTED.value, "note": note[:500], "next_us": 0, "updated_us": now_us}
        refused += connection.execute(statement.values(**values)).rowcount
    return refused


def forget(connection: Connection, before_s: int) -> int:
    """Deletes old parts that arrived, and their deltas, some thousands at most."""
    old = (
        select(PARTS.part_id)
        .where(PARTS.state.in_(_ENDED), PARTS.window_end < before_s)
        .order_by(PARTS.part_id)
        .limit(_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    part_ids = list(connection.scalars(old))
    for chunk in chunked(part_ids):
        connection.execute(delete(METERING_DELTAS).where(METERING_DELTAS.c.part.in_(chunk)))
        connection.execute(delete(BILLING_PARTS).where(PARTS.part_id.in_(chunk)))
    return len(part_ids)


_FORGOTTEN_AT_ONCE = 50
"""Parts of one transaction: each may hold thousands of deltas."""

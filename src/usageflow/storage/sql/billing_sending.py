"""Parts on their way; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    case,
    delete,
    exists,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased

from usageflow.domain.billing import OPEN, UNSETTLED, Part, PartState
from usageflow.storage.billing import PartResult
from usageflow.storage.sql.billing_freezing import read_parts
from usageflow.storage.sql.billing_ledgers import SPANS
from usageflow.storage.sql.billing_rows import PARTS, storable
from usageflow.storage.sql.tables import BILLING_PARTS, BILLING_SPANS, METERING_DELTAS
from usageflow.storage.sql.tables.billing import PARTS_THAT_GO_ON

_SENDING, _SENT = PartState.SENDING.value, PartState.SENT.value
_ENDED = (_SENT, PartState.CANCELLED.value)
_OVERTAKEN = "a later total holds its units"


def claim_parts(
    connection: Connection, worker: str, now_us: int, until_us: int, limit: int, without: Collection[str]
) -> list[Part]:
    """Returns parts that are due, now the worker's; rows that another process is claiming are passed over."""
    due = (
        select(PARTS.part_id, and_(PARTS.span_id.is_not(None), _other(_LATER, state=[_SENT])))
        .where(
            text(PARTS_THAT_GO_ON),
            PARTS.next_us <= now_us,
            PARTS.destination.not_in(sorted(without)),
            or_(PARTS.span_id.is_(None), not_(_waits(now_us))),
        )
        .order_by(PARTS.window_start, PARTS.part_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    overtaken: dict[bool, list[int]] = {True: [], False: []}
    for part_id, is_overtaken in connection.execute(due):
        overtaken[bool(is_overtaken)].append(part_id)
    _settle_overtaken(connection, overtaken[True], now_us)
    return _claimed(connection, worker, overtaken[False], now_us, until_us)


_EARLIER, _LATER = aliased(BILLING_PARTS), aliased(BILLING_PARTS)


def _waits(now_us: int) -> ColumnElement[bool]:
    """Tells whether a part of a total has to wait: for an earlier one, or for a later one that is being sent or may count, which it must
    not overwrite.
    """
    in_hand = and_(_LATER.c.state == _SENDING, _LATER.c.worker != "", _LATER.c.next_us > now_us)
    return or_(
        _other(_EARLIER, state=sorted(UNSETTLED)),
        exists().where(
            _LATER.c.span_id == PARTS.span_id,
            _LATER.c.part_id > PARTS.part_id,
            or_(in_hand, _LATER.c.state == PartState.AMBIGUOUS.value),
        ),
    )


def _other(others: Any, *, state: list[str]) -> ColumnElement[bool]:
    """Tells whether there is an earlier or later part of the same total in some state."""
    apart = others.c.part_id < PARTS.part_id if others is _EARLIER else others.c.part_id > PARTS.part_id
    return exists().where(others.c.span_id == PARTS.span_id, apart, others.c.state.in_(state))


def _settle_overtaken(connection: Connection, part_ids: Sequence[int], now_us: int) -> None:
    """Ends parts whose units a later total has brought: sent now, they would take its place."""
    if part_ids:
        values = {"state": _SENT, "note": _OVERTAKEN, "next_us": 0, "worker": "", "updated_us": now_us}
        connection.execute(update(BILLING_PARTS).where(PARTS.part_id.in_(part_ids)).values(**values))


def _claimed(
    connection: Connection, worker: str, part_ids: Sequence[int], now_us: int, until_us: int
) -> list[Part]:
    if not part_ids:
        return []
    first = case((PARTS.first_attempt_us == 0, now_us), else_=PARTS.first_attempt_us)
    connection.execute(
        update(BILLING_PARTS)
        .where(PARTS.part_id.in_(part_ids))
        .values(
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
    due_us = result.next_us if result.state in OPEN else 0
    known: dict[str, Any] = {"note": storable(result.note), "next_us": due_us, "worker": ""}
    # What an earlier attempt was told is kept where this one was told nothing.
    known |= {"stripe_id": storable(result.stripe_id)} if result.stripe_id else {}
    known |= {"stripe_request": storable(result.stripe_request)} if result.stripe_request else {}
    if result.state is PartState.FROZEN:
        known["first_attempt_us"] = 0  # no attempt can have counted: the next one is the first
    held = (PARTS.state == _SENDING, PARTS.worker != "", PARTS.attempts == result.attempt)
    mine = (PARTS.part_id == result.part_id, *held)
    return update(BILLING_PARTS).where(*mine).values(state=result.state.value, updated_us=now_us, **known)


def refuse_sent(connection: Connection, refusals: Mapping[str, str], now_us: int) -> int:
    """Makes parts that were taken at first REJECTED."""
    refused = 0
    for identifier, note in sorted(refusals.items()):
        statement = update(BILLING_PARTS).where(PARTS.identifier == identifier, PARTS.state == _SENT)
        values = {
            "state": PartState.REJECTED.value,
            "note": storable(note),
            "next_us": 0,
            "updated_us": now_us,
        }
        refused += connection.execute(statement.values(**values)).rowcount
    return refused


def forget(connection: Connection, before_s: int) -> int:
    """Deletes old parts that arrived, the deltas that they claimed, and the totals that nothing is left of."""
    old = (
        select(PARTS.part_id, PARTS.span_id)
        .where(PARTS.state.in_(_ENDED), PARTS.window_end < before_s)
        .order_by(PARTS.part_id)
        .limit(_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    found = connection.execute(old).all()
    part_ids = [part_id for part_id, _ in found]
    connection.execute(delete(METERING_DELTAS).where(METERING_DELTAS.c.part.in_(part_ids)))
    connection.execute(delete(BILLING_PARTS).where(PARTS.part_id.in_(part_ids)))
    left = exists().where(PARTS.span_id == SPANS.span_id)
    ended = and_(SPANS.span_id.in_({span_id for _, span_id in found}), SPANS.span_end < before_s)
    connection.execute(delete(BILLING_SPANS).where(ended, ~left))
    return len(part_ids)


_FORGOTTEN_AT_ONCE = 50
"""Parts of one transaction: each may hold thousands of deltas."""

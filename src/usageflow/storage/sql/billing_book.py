"""What people see of parts and do about them; each function runs inside the caller's transaction."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from usageflow.domain.billing import HOUR_S, Part, PartState, Target, Window, identifier_of
from usageflow.domain.changes import Cause
from usageflow.domain.policies import Trigger
from usageflow.storage.billing import Move, PartFilter, PartSum, SentSum
from usageflow.storage.sql import receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.billing_ledgers import SPANS
from usageflow.storage.sql.billing_rows import (
    LEDGERS,
    PARTS,
    installation_id,
    part_of,
    select_parts,
    storable,
)
from usageflow.storage.sql.queries import unit_sums, units_of_sums
from usageflow.storage.sql.tables import BILLING_LEDGERS, BILLING_PARTS, BILLING_SPANS

_S = PartState
_IN_NOBODYS_HANDS = or_(
    PARTS.state == _S.FROZEN.value, and_(PARTS.state == _S.SENDING.value, PARTS.worker == "")
)


def _applies(move: Move, now_us: int) -> ColumnElement[bool]:
    """Returns the condition that finds the parts which a move applies to."""
    match move:
        case Move.RETRY:
            waits = and_(_IN_NOBODYS_HANDS, PARTS.next_us > now_us)
            return or_(PARTS.state.in_([_S.REJECTED.value, _S.AMBIGUOUS.value]), waits)
        case Move.RETRY_ANEW:
            return PARTS.state.in_([_S.REJECTED.value, _S.AMBIGUOUS.value, _S.EXPIRED.value])
        case Move.HOLD:
            return PARTS.state == _S.FROZEN.value
        case Move.RELEASE:
            return PARTS.state == _S.HELD.value
        case Move.MARK_SENT:
            return PARTS.state == _S.AMBIGUOUS.value


_UNSURE = frozenset({_S.SENDING, _S.AMBIGUOUS})
_EXACT = Context(prec=60)


def parts(
    connection: Connection, application_id: str, wanted: PartFilter, after: int, limit: int
) -> list[Part]:
    """Returns parts, newest first."""
    statement = select_parts().where(*_conditions(application_id, wanted))
    if after:
        statement = statement.where(PARTS.part_id < after)
    rows = connection.execute(statement.order_by(PARTS.part_id.desc()).limit(limit))
    return [part_of(row) for row in rows]


def _conditions(application_id: str, wanted: PartFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [PARTS.application_id == application_id]
    if wanted.states:
        found.append(PARTS.state.in_(sorted(wanted.states)))
    if wanted.customer:
        found.append(LEDGERS.customer == wanted.customer)
    if wanted.price:
        found.append(LEDGERS.price == wanted.price)
    if wanted.since_s is not None:
        found.append(PARTS.window_start >= wanted.since_s)
    if wanted.until_s is not None:
        found.append(PARTS.window_start < wanted.until_s)
    if wanted.within is not None:
        found += [PARTS.timestamp_s >= wanted.within.start_s, PARTS.timestamp_s < wanted.within.end_s]
    if wanted.part_ids:
        found.append(PARTS.part_id.in_(wanted.part_ids))
    return found


def part_sums(connection: Connection, application_id: str, wanted: PartFilter) -> list[PartSum]:
    """Returns sums by target and state."""
    key = (LEDGERS.trigger, LEDGERS.price, LEDGERS.event_name, PARTS.state)
    sums = (func.count(), func.sum(PARTS.requests), func.min(PARTS.window_start))
    statement: Select[Any] = (
        select(*key, *sums, *unit_sums(BILLING_PARTS.c.whole, BILLING_PARTS.c.pico))
        .join_from(BILLING_PARTS, BILLING_LEDGERS, LEDGERS.ledger_id == PARTS.ledger_id)
        .where(*_conditions(application_id, wanted))
        .group_by(*key)
        .order_by(*key)
    )
    return [
        PartSum(
            Target(Trigger(trigger), price, name),
            PartState(state),
            number,
            int(requests),
            units_of_sums(*units),
            oldest,
        )
        for trigger, price, name, state, number, requests, oldest, *units in connection.execute(statement)
    ]


def move_parts(
    connection: Connection, application_id: str, wanted: PartFilter, move: Move, cause: Cause, now_us: int
) -> int:
    """Does it to the parts that it applies to; returns how many."""
    chosen = (
        select_parts()
        .where(*_conditions(application_id, wanted), _applies(move, now_us))
        .order_by(PARTS.part_id)
        .with_for_update(of=BILLING_PARTS)
    )
    found = [part_of(row) for row in connection.execute(chosen)]
    # How many there were is the receipt's number: the same request again is told it.
    earlier = receipts.claim(connection, cause, application_id, "", now_us, revision=len(found))
    if earlier is not None:
        return earlier.revision
    installed = installation_id(connection)
    for part in found:
        values = _moved(part, move, installed, now_us)
        connection.execute(
            update(BILLING_PARTS)
            .where(PARTS.part_id == part.part_id)
            .values(**values, worker="", updated_us=now_us)
        )
    if found:
        append_entries(connection, cause, application_id, revision=0, now_us=now_us)
    return len(found)


def _moved(part: Part, move: Move, installed: str, now_us: int) -> dict[str, Any]:
    """Returns what changes of a part."""
    match move:
        case Move.HOLD:
            return {"state": _S.HELD.value, "next_us": 0}
        case Move.RELEASE:
            return {"state": _S.FROZEN.value, "next_us": now_us}
        case Move.MARK_SENT:
            return {"state": _S.SENT.value, "next_us": 0}
        case Move.RETRY if part.state in {_S.FROZEN, _S.SENDING}:
            return {"next_us": now_us}
        case Move.RETRY:
            # The person who asks knows that it is not there: its time begins anew.
            return {"state": _S.FROZEN.value, "next_us": now_us, "first_attempt_us": 0}
        case Move.RETRY_ANEW:
            return _anew(part, installed, now_us)


def _anew(part: Part, installed: str, now_us: int) -> dict[str, Any]:
    issue = part.issue + 1
    key = (installed, part.application_id, part.customer, part.target, part.window, part.number)
    identifier = identifier_of(*key, terms=part.terms, issue=issue)
    # Attempts go on counting: they tell a worker that comes late from the one that has the part now.
    fresh = {"issue": issue, "identifier": identifier, "first_attempt_us": 0}
    return {"state": _S.FROZEN.value, "next_us": now_us, **fresh}


def cancelled(connection: Connection, part_id: int, note: str, cause: Cause, now_us: int) -> bool:
    """Makes a part that was taken one that was taken back."""
    row = connection.execute(
        update(BILLING_PARTS)
        .where(PARTS.part_id == part_id, PARTS.state == _S.SENT.value)
        .values(state=_S.CANCELLED.value, note=storable(note), updated_us=now_us)
        .returning(PARTS.application_id)
    ).one_or_none()
    if row is None:
        return False
    append_entries(connection, cause, row.application_id, revision=0, now_us=now_us)
    return True


def sent_sums(connection: Connection, application_id: str, window: Window) -> list[SentSum]:
    """Returns what counts at destinations by payee, target and hour."""
    counting = [_S.SENT.value, *sorted(_UNSURE)]
    at = func.coalesce(SPANS.span_start, PARTS.timestamp_s)
    rows = connection.execute(
        select_parts()
        .outerjoin(BILLING_SPANS, SPANS.span_id == PARTS.span_id)
        .add_columns(at.label("at_s"))
        .where(PARTS.application_id == application_id, PARTS.state.in_(counting))
        .where(at >= window.start_s, at < window.end_s)
        .order_by(PARTS.part_id)
    )
    # By payee alone: customers who share one share what the destination counts, and the newest part of a total stands for all of them.
    sums: dict[tuple[str, Target, int], _Counted] = {}
    for row in rows:
        part, hour_s = part_of(row), row.at_s // HOUR_S * HOUR_S
        key = (part.terms.payee, part.target, hour_s)
        sums.setdefault(key, _Counted()).add(part, row.span_id)
    return [
        SentSum(payee, each.customer, target, hour_s, each.value, each.parts, each.unsettled)
        for (payee, target, hour_s), each in sorted(sums.items())
    ]


@dataclass
class _Counted:
    """What is being added up; ``totals`` by span, and their own units under None."""

    totals: dict[int | None, Decimal] = field(default_factory=dict)
    parts: int = 0
    unsettled: int = 0
    customer: str = ""

    def add(self, part: Part, span_id: int | None) -> None:
        """Adds a part; parts come in the order that they were made in."""
        self.customer = part.customer
        if part.state in _UNSURE:
            self.unsettled += 1
            return
        self.parts += 1
        # Of a total the latest part stands for all before it.
        before = self.totals.get(None, Decimal(0)) if span_id is None else Decimal(0)
        self.totals[span_id] = _EXACT.add(before, part.value)

    @property
    def value(self) -> Decimal:
        """What counts."""
        return functools.reduce(_EXACT.add, self.totals.values(), Decimal(0))

"""Deltas that no part has claimed yet; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    and_,
    any_,
    func,
    literal,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from usageflow.domain.billing import Window, hour_of
from usageflow.domain.units import join
from usageflow.storage.billing import BacklogRow, Claim
from usageflow.storage.sql.driver import is_postgres
from usageflow.storage.sql.queries import unit_sums, units_of_sums
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import APPLICATIONS, METERING_DELTAS

_DELTAS = METERING_DELTAS.c


def backlog(connection: Connection, before_s: int, limit: int, after: BacklogRow | None) -> list[BacklogRow]:
    """Returns what no part has, hour by hour: each statement reads one, however much there is."""
    rows: list[BacklogRow] = []
    from_s = 0 if after is None else after.hour_s
    while len(rows) < limit:
        oldest = select(func.min(_DELTAS.second)).where(
            _DELTAS.part.is_(None), _DELTAS.second >= from_s, _DELTAS.second < before_s
        )
        second = connection.scalar(oldest)
        if second is None:
            break
        hour = hour_of(second)
        within = Window(hour.start_s, min(hour.end_s, before_s))
        behind = after if after is not None and after.hour_s == hour.start_s else None
        rows += _of_hour(connection, within, limit - len(rows), behind)
        from_s = hour.end_s
    return rows


def _of_hour(
    connection: Connection, within: Window, limit: int, after: BacklogRow | None
) -> list[BacklogRow]:
    key = (
        _DELTAS.application_id,
        APPLICATIONS.c.name,
        _DELTAS.pseudonym,
        func.coalesce(_DELTAS.customer, ""),
        _DELTAS.policy,
        _DELTAS.price,
        _DELTAS.revision,
    )
    sums = (func.sum(_DELTAS.requests), func.min(_DELTAS.second))
    statement = (
        select(*key, *sums, *unit_sums(_DELTAS.whole, _DELTAS.pico))
        .join_from(METERING_DELTAS, APPLICATIONS, APPLICATIONS.c.application_id == _DELTAS.application_id)
        .where(_DELTAS.part.is_(None), _DELTAS.second >= within.start_s, _DELTAS.second < within.end_s)
        .group_by(*key)
        .order_by(*key)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*after[1 : len(key) + 1]))
    return [_backlog_row(within.start_s, *row) for row in connection.execute(statement)]


def _backlog_row(hour_s: int, *row: Any) -> BacklogRow:
    requests, oldest_s, *units = row[7:]
    return BacklogRow._make([hour_s, *row[:7], int(requests), units_of_sums(*units), oldest_s])


def claim_deltas(connection: Connection, claim: Claim, part_id: int) -> tuple[int, Decimal] | None:
    """Gives a claim's deltas to a part; returns their requests and units, None where there are none."""
    rows = requests = whole = pico = 0
    for condition in _conditions(connection, claim):
        claimed = (
            update(METERING_DELTAS)
            .where(condition)
            .values(part=part_id)
            .returning(_DELTAS.requests, _DELTAS.whole, _DELTAS.pico)
        )
        for row in connection.execute(claimed):
            rows, requests, whole, pico = rows + 1, requests + row[0], whole + row[1], pico + row[2]
    return (requests, join(whole, pico)) if rows else None


def _conditions(connection: Connection, claim: Claim) -> Iterator[ColumnElement[bool]]:
    """Yields what finds a claim's deltas: whose they are, and to whom they are bound."""
    if is_postgres(connection):
        yield _of_pseudonyms(claim)
    else:
        within = and_(_within(METERING_DELTAS, claim), _DELTAS.customer.is_(None))
        for chunk in chunked(claim.pseudonyms):
            yield and_(within, _DELTAS.pseudonym.in_(chunk))
    for customer in claim.bound:
        yield and_(_within(METERING_DELTAS, claim), _DELTAS.customer == customer)


def _of_pseudonyms(claim: Claim) -> ColumnElement[bool]:
    """Returns PostgreSQL's condition. It looks each pseudonym up by itself: of a list it believes, as long as statistics know of no backlog,
    that reading all open deltas of the application costs less.
    """
    who = (
        func.unnest(literal(list(claim.pseudonyms), ARRAY(BigInteger)))
        .table_valued("pseudonym")
        .render_derived()
    )
    deltas = METERING_DELTAS.alias("found")
    theirs = and_(deltas.c.customer.is_(None), deltas.c.pseudonym == who.c.pseudonym)
    # An OFFSET keeps the planner from turning the look-ups into a join of its own.
    one = select(deltas.c.row_id).where(_within(deltas, claim), theirs).offset(0).lateral()
    row_ids = select(one.c.row_id).select_from(who.join(one, true()))
    # Of what another claim took meanwhile, ``part`` is looked at once more.
    return and_(_DELTAS.part.is_(None), _DELTAS.row_id == any_(func.array(row_ids.scalar_subquery())))


def _within(deltas: FromClause, claim: Claim) -> ColumnElement[bool]:
    columns = deltas.c
    return and_(
        columns.application_id == claim.application_id,
        columns.part.is_(None),
        columns.price == claim.target.price,
        columns.second >= claim.window.start_s,
        columns.second < claim.window.end_s,
        tuple_(columns.policy, columns.revision).in_(list(claim.policies)),
    )

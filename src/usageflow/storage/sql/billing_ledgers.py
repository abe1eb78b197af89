"""What parts of the same money share: ledgers, which carry what could not be sent yet, and spans, which totals add up.

Rows are locked in order of their ids, ledgers before spans, and stay locked until the transaction ends: so two that make parts of the
same never do so at the same time, and never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Table, select, tuple_, update

from usageflow.domain.billing import Amount, Mode, Target, Terms, Window, amount_of, destination_of
from usageflow.domain.units import join, split
from usageflow.storage.sql.billing_rows import LEDGERS
from usageflow.storage.sql.statements import chunked, upsert
from usageflow.storage.sql.tables import BILLING_LEDGERS, BILLING_SPANS

SPANS = BILLING_SPANS.c
_AT_ONCE = 100
"""Keys of one statement: each has several values."""


class LedgerKey(NamedTuple):
    """What tells ledgers apart."""

    application_id: str
    customer: str
    target: Target


class SpanKey(NamedTuple):
    """What tells spans apart: whatever has the same one overwrites the same number at the destination."""

    destination: str
    environment: str
    payee: str
    target: Target
    span: Window


def span_key(target: Target, window: Window, terms: Terms) -> SpanKey | None:
    """Returns the span of a part, None where it sends its own units; a total that names no span is its window's."""
    if terms.mode is not Mode.TOTAL:
        return None
    return SpanKey(destination_of(terms), terms.environment, terms.payee, target, terms.span or window)


def lock_ledgers(connection: Connection, keys: Iterable[LedgerKey]) -> dict[LedgerKey, int]:
    """Returns the ids of the ledgers, made where they are missing."""
    named = {(key.application_id, key.customer, *_spelled(key.target)): key for key in keys}
    columns = (
        LEDGERS.application_id,
        LEDGERS.customer,
        LEDGERS.trigger,
        LEDGERS.price,
        LEDGERS.event_name,
    )
    ids = _lock(connection, BILLING_LEDGERS, columns, {name: {} for name in named})
    return {key: ids[name] for name, key in named.items()}


def lock_spans(connection: Connection, keys: Iterable[SpanKey]) -> dict[SpanKey, int]:
    """Returns the ids of the spans, made where they are missing."""
    named = {(*key[:3], *_spelled(key.target), key.span.start_s): key for key in keys}
    columns = (
        SPANS.destination,
        SPANS.environment,
        SPANS.payee,
        SPANS.trigger,
        SPANS.price,
        SPANS.event_name,
        SPANS.span_start,
    )
    ends = {name: {"span_end": key.span.end_s} for name, key in named.items()}
    ids = _lock(connection, BILLING_SPANS, columns, ends)
    return {key: ids[name] for name, key in named.items()}


def carried(connection: Connection, ledger_id: int, terms: Terms, units: Decimal) -> Amount:
    """Returns what a part of its own units sends; the ledger keeps what is left."""
    mine = LEDGERS.ledger_id == ledger_id
    carry = connection.execute(select(LEDGERS.carry_whole, LEDGERS.carry_pico).where(mine)).one()
    amount = amount_of(terms, units, carry=join(*carry), before=Decimal(0))
    left = split(amount.carry)
    if left != tuple(carry):
        values = {"carry_whole": left[0], "carry_pico": left[1]}
        connection.execute(update(BILLING_LEDGERS).where(mine).values(**values))
    return amount


def totalled(connection: Connection, span_id: int, terms: Terms, units: Decimal) -> Decimal:
    """Adds units to a span; returns what it sends then."""
    mine = SPANS.span_id == span_id
    before = join(*connection.execute(select(SPANS.whole, SPANS.pico).where(mine)).one())
    value = amount_of(terms, units, carry=Decimal(0), before=before).value
    whole, pico = split(before + units)
    connection.execute(update(BILLING_SPANS).where(mine).values(whole=whole, pico=pico))
    return value


def _spelled(target: Target) -> tuple[str, str, str]:
    return (target.trigger.value, target.price, target.event_name)


_Name = tuple[Any, ...]


def _lock(
    connection: Connection,
    table: Table,
    columns: Sequence[Column[Any]],
    wanted: Mapping[_Name, Mapping[str, Any]],
) -> dict[_Name, int]:
    """Returns the ids of rows by the values of ``columns``; missing ones are made, in one order, with the other values."""
    names = sorted(wanted)
    if not names:
        return {}
    keys = [column.name for column in columns]
    rows = [{**dict(zip(keys, name, strict=True)), **wanted[name]} for name in names]
    connection.execute(upsert(connection, table).on_conflict_do_nothing(), rows)
    (number,) = table.primary_key
    ids = {
        tuple(name): row_id
        for chunk in chunked(names, _AT_ONCE)
        for row_id, *name in connection.execute(
            select(number, *columns).where(tuple_(*columns).in_(list(chunk)))
        )
    }
    for some in chunked(sorted(ids.values())):
        lock = select(number).where(number.in_(some)).order_by(number).with_for_update()
        connection.execute(lock).all()
    return ids

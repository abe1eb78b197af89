"""What waits to be billed: sums that are exact at any size.

The database sums integers per group; order and decimals are made here, so that they are the same on every dialect.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, select

from usageflow.domain.units import join
from usageflow.domain.usage import EndpointName, ListedFailure, MeteringFailure, PendingRow
from usageflow.storage.sql.statements import join_sum, wide_sum
from usageflow.storage.sql.tables import ENDPOINT_NAMES, METERING_DELTAS, METERING_FAILURES

_WHOLE_BASE = 10**9
_PICO_BASE = 10**6
"""With these, a thousand million rows of the largest values still sum in 64 bits."""

_METERING = METERING_DELTAS.c
_ENDPOINT_COLUMNS = (ENDPOINT_NAMES.c.method, ENDPOINT_NAMES.c.template)


def pending_rows(
    connection: Connection, application_id: str, pseudonyms: Collection[int] | None = None
) -> list[PendingRow]:
    """Returns the sums of unclaimed metering deltas, in the order that UsageStore.pending promises."""
    key = (*_ENDPOINT_COLUMNS, _METERING.policy, _METERING.price)
    counts = (func.sum(_METERING.requests), func.min(_METERING.second))
    statement = (
        select(*key, *counts, *unit_sums(_METERING.whole, _METERING.pico))
        .select_from(
            METERING_DELTAS.join(ENDPOINT_NAMES, ENDPOINT_NAMES.c.endpoint_id == _METERING.endpoint_id)
        )
        .where(_METERING.application_id == application_id, _METERING.part.is_(None))
        .group_by(*key)
    )
    if pseudonyms is not None:
        statement = statement.where(_METERING.pseudonym.in_(sorted(pseudonyms)))
    rows = [_pending_row(*row) for row in connection.execute(statement)]
    # Two stable sorts, because a negated Decimal would be rounded to the context's precision.
    rows.sort(key=lambda row: (row.endpoint.method, row.endpoint.template, row.policy, row.price))
    rows.sort(key=lambda row: row.units, reverse=True)
    return rows


def metering_failures(
    connection: Connection, application_id: str, before: int, limit: int
) -> list[ListedFailure]:
    """Returns failures of metering expressions, newest first."""
    table = METERING_FAILURES.c
    columns = (table.policy, table.price, table.revision, table.message, table.time_us)
    statement = select(table.row_id, table.event_id, *columns).where(table.application_id == application_id)
    if before:
        statement = statement.where(table.row_id < before)
    rows = connection.execute(statement.order_by(table.row_id.desc()).limit(limit))
    return [ListedFailure(row[0], row[1], MeteringFailure(*row[2:])) for row in rows]


def _pending_row(
    method: str, template: str, policy: str, price: str, requests: int, oldest: int, *sums: int
) -> PendingRow:
    return PendingRow(
        EndpointName(method, template), policy, price, int(requests), units_of_sums(*sums), oldest
    )


def unit_sums(whole: Column[int], pico: Column[int]) -> list[ColumnElement[Any]]:
    """Returns the four sums that _units joins."""
    return [*wide_sum(whole, _WHOLE_BASE), *wide_sum(pico, _PICO_BASE)]


def units_of_sums(whole_high: int, whole_low: int, pico_high: int, pico_low: int) -> Decimal:
    return join(join_sum(whole_high, whole_low, _WHOLE_BASE), join_sum(pico_high, pico_low, _PICO_BASE))

"""What people ask of usage: sums that are exact at any size.

The database sums integers per group; order and decimals are made here, so that they are the same on every dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    case,
    false,
    func,
    literal_column,
    select,
)

from usageflow.domain.units import join
from usageflow.domain.usage import EndpointName, PendingRow, UsageGroup, UsageQuery, UsageRow
from usageflow.storage.sql.statements import join_sum, wide_sum
from usageflow.storage.sql.tables import ENDPOINT_NAMES, METERING_DELTAS, USAGE_DELTAS, USAGE_SERIES

_WHOLE_BASE = 10**9
_PICO_BASE = 10**6
"""With these, a thousand million rows of the largest values still sum in 64 bits."""

_USAGE = USAGE_DELTAS.c
_SERIES = USAGE_SERIES.c
_METERING = METERING_DELTAS.c
_ENDPOINT_COLUMNS = (ENDPOINT_NAMES.c.method, ENDPOINT_NAMES.c.template)


@dataclass(frozen=True, slots=True)
class _Grouping:
    """How one UsageGroup reads: its columns, the tables it needs, the field it sets and the order of its rows."""

    columns: tuple[ColumnElement[Any], ...]
    source: FromClause
    field: str
    value: Callable[[tuple[Any, ...]], Any]
    by_time: bool = False


_WITH_SERIES = USAGE_DELTAS.join(USAGE_SERIES, _SERIES.series_id == _USAGE.series_id)
_WITH_ENDPOINT = _WITH_SERIES.join(ENDPOINT_NAMES, ENDPOINT_NAMES.c.endpoint_id == _SERIES.endpoint_id)
# The 60 stands in the text: as a parameter it would differ between SELECT and GROUP BY for stricter dialects.
_MINUTE = _USAGE.second // literal_column("60", Integer)
_GROUPINGS = {
    UsageGroup.ENDPOINT: _Grouping(
        _ENDPOINT_COLUMNS, _WITH_ENDPOINT, "endpoint", lambda key: EndpointName(*key)
    ),
    UsageGroup.STATUS: _Grouping((_SERIES.status,), _WITH_SERIES, "status", lambda key: key[0]),
    UsageGroup.MINUTE: _Grouping((_MINUTE,), _WITH_SERIES, "minute", lambda key: key[0] * 60, by_time=True),
}


def usage_rows(connection: Connection, application_id: str, query: UsageQuery) -> list[UsageRow]:
    """Returns the sums of a query, in the order that UsageStore.query promises."""
    grouping = _GROUPINGS[query.group]
    errors = case((_SERIES.status.between(500, 599), _USAGE.requests), else_=0)
    denied = case((_SERIES.denied, _USAGE.requests), else_=0)
    counts = [func.sum(column) for column in (_USAGE.requests, errors, denied)]
    statement = (
        select(*grouping.columns, *counts, *_unit_sums(_USAGE.whole, _USAGE.pico, _SERIES.denied == false()))
        .select_from(grouping.source)
        .where(_USAGE.application_id == application_id, _USAGE.second >= query.since)
        .group_by(*grouping.columns)
    )
    if query.until is not None:
        statement = statement.where(_USAGE.second < query.until)
    keyed = [_keyed(row, len(grouping.columns)) for row in connection.execute(statement)]
    keyed.sort(key=lambda item: item[0] if grouping.by_time else (-item[1][0], *item[0]))
    return [_usage_row(grouping, key, sums) for key, sums in keyed]


def pending_rows(
    connection: Connection, application_id: str, pseudonyms: Collection[int] | None = None
) -> list[PendingRow]:
    """Returns the sums of unclaimed metering deltas, in the order that UsageStore.pending promises."""
    key = (*_ENDPOINT_COLUMNS, _METERING.policy, _METERING.price)
    counts = (func.sum(_METERING.requests), func.min(_METERING.second))
    statement = (
        select(*key, *counts, *_unit_sums(_METERING.whole, _METERING.pico))
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


def _pending_row(
    method: str, template: str, policy: str, price: str, requests: int, oldest: int, *sums: int
) -> PendingRow:
    return PendingRow(EndpointName(method, template), policy, price, int(requests), _units(*sums), oldest)


def _unit_sums(
    whole: Column[int], pico: Column[int], condition: ColumnElement[bool] | None = None
) -> list[ColumnElement[Any]]:
    """Returns the four sums that _units joins, over the rows for which the condition holds."""
    sums: list[ColumnElement[Any]] = []
    for column, base in ((whole, _WHOLE_BASE), (pico, _PICO_BASE)):
        counted = column if condition is None else case((condition, column), else_=0)
        sums.extend(wide_sum(counted, base))
    return sums


def _units(whole_high: int, whole_low: int, pico_high: int, pico_low: int) -> Decimal:
    return join(join_sum(whole_high, whole_low, _WHOLE_BASE), join_sum(pico_high, pico_low, _PICO_BASE))


def _keyed(row: Sequence[Any], width: int) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    values = tuple(row)
    return values[:width], values[width:]


def _usage_row(grouping: _Grouping, key: tuple[Any, ...], sums: tuple[int, ...]) -> UsageRow:
    requests, errors, denied, *units = sums  # PostgreSQL's sums are decimals without places
    return UsageRow(
        requests=int(requests),
        errors=int(errors),
        denied=int(denied),
        units=_units(*units),
        **{grouping.field: grouping.value(key)},
    )

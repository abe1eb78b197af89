"""The inventory of endpoints in SQL: registrations, and sums of rollups and of deltas that are in none yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Table, and_, case, func, select

from usageflow.domain.usage import EndpointName
from usageflow.storage.inventory import Calls, HadBy, InventoryRows, Registration, SeenRelease
from usageflow.storage.ports import NumberKind
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.tables import (
    ENDPOINT_NAMES,
    ENDPOINT_SERVICES,
    ENDPOINTS,
    NUMBERS,
    RELEASES,
    USAGE_DAYS,
    USAGE_DELTAS,
    USAGE_HOURS,
    USAGE_SERIES,
)

_S = USAGE_SERIES.c


class SqlInventoryStore:
    """The InventoryStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def inventory(self, application_id: str, *, since: int, daily: bool) -> InventoryRows:
        """See InventoryStore."""
        folded = USAGE_DAYS if daily else USAGE_HOURS
        return await self._database.read(
            lambda connection: InventoryRows(
                _registered(connection, application_id),
                _calls(connection, application_id, folded, since),
                _newest(connection, application_id),
            )
        )


def _registered(connection: Connection, application_id: str) -> dict[EndpointName, Registration]:
    had_by = _had_by(connection, application_id)
    table = ENDPOINTS.c
    numbered = and_(
        NUMBERS.c.application_id == table.application_id,
        NUMBERS.c.kind == NumberKind.ENDPOINT.value,
        NUMBERS.c.name == table.method + " " + table.template,
    )
    rows = connection.execute(
        select(
            table.method,
            table.template,
            NUMBERS.c.number,
            table.sighted,
            table.first_seen_us,
            table.last_seen_us,
        )
        .select_from(ENDPOINTS.outerjoin(NUMBERS, numbered))
        .where(table.application_id == application_id, table.deleted_us.is_(None))
    )
    found = {}
    for method, template, number, sighted, first_us, last_us in rows:
        services = tuple(had_by.get((method, template), ()))
        found[EndpointName(method, template)] = Registration(
            number or 0, sighted, first_us, last_us, services
        )
    return found


def _had_by(connection: Connection, application_id: str) -> dict[tuple[str, str], list[HadBy]]:
    """Returns the services of each endpoint, by name."""
    table = ENDPOINT_SERVICES.c
    rows = connection.execute(
        select(table.method, table.template, table.service, table.release, table.number)
        .where(table.application_id == application_id)
        .order_by(table.service)
    )
    found: dict[tuple[str, str], list[HadBy]] = defaultdict(list)
    for method, template, service, release, number in rows:
        found[method, template].append(HadBy(service, release, number))
    return found


def _newest(connection: Connection, application_id: str) -> list[SeenRelease]:
    table = RELEASES.c
    of_application = table.application_id == application_id
    numbers = select(func.max(table.number)).where(of_application).group_by(table.service)
    rows = connection.execute(
        select(table.service, table.release, table.number, table.first_seen_us, table.last_seen_us)
        .where(of_application, table.number.in_(numbers))
        .order_by(table.service)
    )
    return [SeenRelease(*row) for row in rows]


def _calls(
    connection: Connection, application_id: str, folded: Table, since: int
) -> dict[EndpointName, Calls]:
    """Returns what was reported of each endpoint. A delta leaves its table in the transaction that folds it, so nothing counts twice."""
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    spans: dict[int, tuple[int, int]] = {}
    for endpoint_id, *counts in _folded_sums(connection, application_id, folded, since):
        _add(sums[endpoint_id], counts)
    for endpoint_id, first, last, *counts in _open_sums(connection, application_id, since):
        _add(sums[endpoint_id], counts)
        spans[endpoint_id] = (int(first), int(last))
    names = ENDPOINT_NAMES.c
    rows = connection.execute(
        select(names.endpoint_id, names.method, names.template, names.first_used, names.last_used).where(
            names.application_id == application_id
        )
    )
    found = {}
    for endpoint_id, method, template, first, last in rows:
        seconds = [*filter(lambda second: second is not None, (first, last)), *spans.get(endpoint_id, ())]
        if seconds:
            found[EndpointName(method, template)] = Calls(min(seconds), max(seconds), *sums[endpoint_id])
    return found


def _add(sums: list[int], counts: Iterable[Any]) -> None:
    for place, count in enumerate(counts):
        sums[place] += int(count or 0)  # PostgreSQL's sums are decimals without places


def _counts(table: Table, *, counted: Any) -> list[Any]:
    """Returns the sums of requests, errors and denials of the rows that count."""
    requests = case((counted, table.c.requests), else_=0)
    errors = case((and_(counted, _S.status.between(500, 599)), table.c.requests), else_=0)
    denied = case((and_(counted, _S.denied), table.c.requests), else_=0)
    return [func.sum(column) for column in (requests, errors, denied)]


def _folded_sums(connection: Connection, application_id: str, table: Table, since: int) -> Iterable[Any]:
    inside = table.c.start >= since
    return connection.execute(
        select(_S.endpoint_id, *_counts(table, counted=inside))
        .select_from(table.join(USAGE_SERIES, _S.series_id == table.c.series_id))
        .where(_S.application_id == application_id, inside)
        .group_by(_S.endpoint_id)
    )


def _open_sums(connection: Connection, application_id: str, since: int) -> Iterable[Any]:
    table = USAGE_DELTAS
    second = table.c.second
    return connection.execute(
        select(
            _S.endpoint_id,
            func.min(second),
            func.max(second),
            *_counts(table, counted=second >= since),
        )
        .select_from(table.join(USAGE_SERIES, _S.series_id == table.c.series_id))
        .where(table.c.application_id == application_id)
        .group_by(_S.endpoint_id)
    )

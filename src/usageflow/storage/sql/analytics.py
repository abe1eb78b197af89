"""Analytics in SQL: what the ports offer, over folding and reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from usageflow.domain.analytics import (
    UsageFilter,
    UsageGroup,
    UsageKey,
    UsageQuery,
    UsageSum,
    UsageSums,
    keys_of,
)
from usageflow.domain.usage import EndpointName, Series
from usageflow.storage.analytics import Backlog, HashOf
from usageflow.storage.sql import rollups
from usageflow.storage.sql.callers import Callers
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.driver import among, array_of, fetch
from usageflow.storage.sql.sum_rows import OF_IDENTITIES, OF_SERIES, Where, distinct, sum_rows

_SERIES = (
    "SELECT series_id, method, template, status, denied, reason, degraded, policy, shadow FROM usage_series s"
    " JOIN endpoint_names e ON e.endpoint_id = s.endpoint_id WHERE s.application_id = ?"
)
_ENDPOINTS = "SELECT endpoint_id, method, template FROM endpoint_names WHERE application_id = ?"


class SqlAnalytics:
    """UsageAnalytics and RollupStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fold(self, most: int) -> int:
        """See RollupStore."""
        return await self._database.write(lambda connection: rollups.fold_some(connection, most))

    async def backlog(self) -> Backlog:
        """See RollupStore."""
        return await self._database.read(rollups.backlog)

    async def sums(self, application_id: str, query: UsageQuery, hash_of: HashOf) -> UsageSums:
        """See UsageAnalytics."""

        def read(connection: Connection) -> UsageSums:
            if query.by_caller:
                return _of_callers(
                    connection, application_id, query, Callers(connection, application_id, hash_of)
                )
            return _of_series(connection, application_id, query)

        return await self._database.read(read)


def _of_series(connection: Connection, application_id: str, query: UsageQuery) -> UsageSums:
    """Returns sums that tell no callers apart."""
    sums = UsageSums()
    series = _counted(connection, application_id, query.filter)
    if not series:
        return sums
    keys = {number: keys_of(each, query.groups) for number, each in series.items()}
    where = Where([among(connection, "{series_id}")], [array_of(connection, sorted(series))])
    for number, step, *numbers, latency in sum_rows(connection, query, ("series_id",), where, OF_SERIES):
        sums.add(keys[number], step, _labelled(series[number], numbers, latency))
    return sums


def _counted(connection: Connection, application_id: str, wanted: UsageFilter) -> dict[int, Series]:
    """Returns the series of an application that count, by their ids."""
    found = {
        number: Series(EndpointName(method, template), status, bool(denied), reason, degraded, policy, shadow)
        for number, method, template, status, denied, reason, degraded, policy, shadow in fetch(
            connection, _SERIES, (application_id,)
        )
    }
    return {number: series for number, series in found.items() if wanted.counts(series)}


def _labelled(series: Series, numbers: list[int], latency: bytes) -> UsageSum:
    """Returns the sums of a series with what its labels say of each request. A denial uses no units."""
    requests, whole, pico, request_bytes, response_bytes = numbers
    denied, status = series.denied, series.status
    return UsageSum(
        requests=requests,
        errors=requests if 500 <= status <= 599 else 0,
        client_errors=requests if 400 <= status <= 499 and not denied else 0,
        denied=requests if denied else 0,
        degraded=requests if series.degraded else 0,
        shadow_denied=requests if series.shadow else 0,
        whole=0 if denied else whole,
        pico=0 if denied else pico,
        request_bytes=request_bytes,
        response_bytes=response_bytes,
        latency=[latency],
    )


def _of_callers(
    connection: Connection, application_id: str, query: UsageQuery, callers: Callers
) -> UsageSums:
    """Returns sums that tell callers apart."""
    sums = UsageSums()
    endpoints = _endpoints(connection, application_id, query.filter)
    where = _where(connection, application_id, query, endpoints, callers)
    columns = ("pseudonym", "endpoint_id") if UsageGroup.ENDPOINT in query.groups else ("pseudonym",)
    rows = list(sum_rows(connection, query, columns, where, OF_IDENTITIES))
    named = _names(query, callers, {row[0] for row in rows})
    for row in rows:
        key = named[row[0]]
        if len(columns) == 2:
            key = key._replace(endpoint=endpoints[row[1]])
        step, *numbers, latency = row[len(columns) :]
        sums.add([key], step, _tallied(numbers, latency))
    return sums


def _endpoints(connection: Connection, application_id: str, wanted: UsageFilter) -> dict[int, EndpointName]:
    """Returns the endpoints that count, by their ids."""
    rows = fetch(connection, _ENDPOINTS, (application_id,))
    found = {number: EndpointName(method, template) for number, method, template in rows}
    return {number: endpoint for number, endpoint in found.items() if wanted.names(endpoint)}


def _where(
    connection: Connection,
    application_id: str,
    query: UsageQuery,
    endpoints: Mapping[int, EndpointName],
    callers: Callers,
) -> Where:
    conditions: list[str] = ["{application_id} = ?"]
    parameters: list[Any] = [application_id]
    wanted = query.filter
    if wanted.endpoints:
        conditions.append(among(connection, "{endpoint_id}"))
        parameters.append(array_of(connection, sorted(endpoints)))
    if wanted.denied is not None:
        conditions.append("{refused}" if wanted.denied else "NOT {refused}")
    if wanted.identities:
        conditions.append(among(connection, "{pseudonym}"))
        parameters.append(array_of(connection, sorted(callers.named(wanted.identities))))
    if wanted.customers:
        seen = distinct(connection, query, "pseudonym", Where(conditions, parameters))
        conditions = [*conditions, among(connection, "{pseudonym}")]
        parameters = [*parameters, array_of(connection, sorted(callers.of_customers(wanted.customers, seen)))]
    return Where(conditions, parameters)


def _names(query: UsageQuery, callers: Callers, pseudonyms: set[int]) -> dict[int, UsageKey]:
    """Returns the group of each pseudonym, without its endpoint."""
    keys = dict.fromkeys(pseudonyms, UsageKey())
    if UsageGroup.CUSTOMER in query.groups:
        names = callers.customers(pseudonyms)
        keys = {each: key._replace(customer=names[each]) for each, key in keys.items()}
    if UsageGroup.IDENTITY in query.groups:
        titles = callers.titles(pseudonyms)
        keys = {each: key._replace(identity=titles[each]) for each, key in keys.items()}
    return keys


def _tallied(numbers: list[int], latency: bytes) -> UsageSum:
    errors, client_errors, denied, degraded, requests, whole, pico, request_bytes, response_bytes = numbers
    return UsageSum(
        requests=requests,
        errors=errors,
        client_errors=client_errors,
        denied=denied,
        degraded=degraded,
        whole=whole,
        pico=pico,
        request_bytes=request_bytes,
        response_bytes=response_bytes,
        latency=[latency],
    )

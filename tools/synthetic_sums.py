"""Writes a load straight into the tables of sums: the same rows that folding its deltas makes, in seconds instead of hours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, bindparam, update

from tools.synthetic_usage import (
    HOUR_S,
    LABELS,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    Load,
    Minute,
    identity_of,
    minutes_of,
    series_at,
)
from usageflow.domain.ids import DAY_S
from usageflow.storage.sql import Database
from usageflow.storage.sql.driver import is_postgres
from usageflow.storage.sql.interning import endpoint_ids, pseudonyms, series_ids
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import (
    ENDPOINT_NAMES,
    IDENTITY_DAYS,
    IDENTITY_HOURS,
    USAGE_DAYS,
    USAGE_HOURS,
    USAGE_MINUTES,
)

Counts = NDArray[np.int64]
Rows = list[tuple[Any, ...]]

_ENTRY = np.dtype([("bucket", "<u2"), ("requests", "<u4")])
"""As usageflow.domain.latency packs them."""

_DENIED = np.array([denied for _, _, denied, _ in LABELS])
_STATUS = np.array([status for _, status, _, _ in LABELS])


class Ids(NamedTuple):
    """What stands in rows: the application's id, series by place, endpoints and pseudonyms by number."""

    application_id: str
    series: Sequence[int]
    endpoints: Sequence[int]
    pseudonyms: Sequence[int]


async def write(database: Database, application_id: str, load: Load) -> int:
    """Writes the sums of a load where nothing was summed yet; returns its events."""
    ids = await database.write(partial(_ids, application_id=application_id, load=load))
    used = np.zeros((2, load.endpoints), np.int64)
    by_day = itertools.groupby(minutes_of(load), lambda minute: minute.start // DAY_S * DAY_S)
    events = 0
    for day, of_day in by_day:
        counts = _nothing(load)
        for hour, of_hour in itertools.groupby(of_day, lambda minute: minute.start // HOUR_S * HOUR_S):
            minutes = list(of_hour)
            summed = _summed(load, minutes)
            counts += summed
            events += int(summed.sum())
            _use(used, minutes)
            rows = [row for minute in minutes for row in _of_series(ids, minute.start, minute.requests)]
            await _append(database, USAGE_MINUTES, rows)
            await _append(database, USAGE_HOURS, _of_series(ids, hour, summed.sum(axis=0)))
            await _append(database, IDENTITY_HOURS, _of_identities(ids, hour, summed))
        await _append(database, USAGE_DAYS, _of_series(ids, day, counts.sum(axis=0)))
        await _append(database, IDENTITY_DAYS, _of_identities(ids, day, counts))
    await database.write(partial(_note_use, endpoints=ids.endpoints, used=used.tolist()))
    await database.write(_analyze)
    return events


def _ids(connection: Connection, application_id: str, load: Load) -> Ids:
    series = [series_at(place) for place in range(load.series)]
    identities = [identity_of(caller) for caller in range(load.identities)]
    endpoints = endpoint_ids(connection, application_id, {each.endpoint for each in series})
    numbers = series_ids(connection, application_id, set(series), endpoints)
    people = pseudonyms(connection, application_id, set(identities))
    return Ids(
        application_id,
        [numbers[each] for each in series],
        [endpoints[each.endpoint] for each in series[:: len(LABELS)]],
        [people[each] for each in identities],
    )


def _nothing(load: Load) -> Counts:
    """Returns requests by caller, place of a series and latency bucket: none."""
    buckets = next(minutes_of(load)).requests.shape[1]
    return np.zeros((load.identities, load.series, buckets), np.int64)


def _summed(load: Load, minutes: Iterable[Minute]) -> Counts:
    counts = _nothing(load)
    places = np.arange(load.series)
    for minute in minutes:
        counts[minute.callers, places] += minute.requests  # a place has one caller a minute
    return counts


def _use(used: Counts, minutes: Iterable[Minute]) -> None:
    """Notes the first and the last second in which each endpoint had requests; 0 for none."""
    first, last = used
    for minute in minutes:
        met = minute.requests.reshape(len(first), -1).any(axis=1)
        first[met & (first == 0)] = minute.start
        last[met] = minute.start


def _of_series(ids: Ids, start: int, counts: Counts) -> Rows:
    """Returns the rows of a step, from requests by place and bucket."""
    return [
        (series_id, start, *_numbers(requests, requests), latency)
        for series_id, requests, latency in zip(
            ids.series, counts.sum(axis=1).tolist(), packed(counts), strict=True
        )
        if requests
    ]


def _numbers(requests: int, units: int) -> tuple[int, ...]:
    return requests, units, 0, REQUEST_BYTES * requests, RESPONSE_BYTES * requests


def _of_identities(ids: Ids, start: int, counts: Counts) -> Rows:
    """Returns the rows of a step, from requests by caller, place and bucket."""
    by_label = counts.reshape(len(ids.pseudonyms), len(ids.endpoints), len(LABELS), -1)
    return [row for refused in (False, True) for row in _of_refused(ids, start, by_label, refused=refused)]


def _of_refused(ids: Ids, start: int, counts: Counts, *, refused: bool) -> Rows:
    """Returns the rows of what was denied, or of what was not: a denial uses no units and is no error of the client."""
    chosen = refused == _DENIED
    requests = counts.sum(axis=3)
    numbers = zip(
        itertools.product(ids.pseudonyms, ids.endpoints),
        _flat(requests[:, :, chosen]),
        _flat(requests[:, :, chosen & (_STATUS // 100 == 5)]),
        _flat(requests[:, :, chosen & (_STATUS // 100 == 4)]),
        packed(counts[:, :, chosen].sum(axis=2).reshape(-1, counts.shape[3])),
        strict=True,
    )
    return [
        (
            *(ids.application_id, start, pseudonym, endpoint_id, refused),
            *(errors, 0 if refused else client_errors, number if refused else 0, 0),
            *_numbers(number, 0 if refused else number),
            latency,
        )
        for (pseudonym, endpoint_id), number, errors, client_errors, latency in numbers
        if number
    ]


def _flat(requests: Counts) -> list[int]:
    """Returns the requests by caller and endpoint of these labels."""
    return list(requests.sum(axis=2).ravel().tolist())


def packed(counts: Counts) -> list[bytes]:
    """Returns the packed histogram of each row of requests by bucket."""
    rows, buckets = np.nonzero(counts)
    entries = np.empty(len(rows), _ENTRY)
    entries["bucket"], entries["requests"] = buckets, counts[rows, buckets]
    ends = np.searchsorted(rows, np.arange(len(counts) + 1)) * _ENTRY.itemsize
    data = entries.tobytes()
    return [data[start:end] for start, end in pairwise(ends.tolist())]


async def _append(database: Database, table: Table, rows: Rows) -> None:
    await database.write(lambda connection: append_rows(connection, table, rows))


def _note_use(connection: Connection, endpoints: Sequence[int], used: Sequence[Sequence[int]]) -> None:
    table = ENDPOINT_NAMES
    statement = update(table).where(table.c.endpoint_id == bindparam("id"))
    statement = statement.values(first_used=bindparam("first"), last_used=bindparam("last"))
    rows = [
        {"id": endpoint_id, "first": first, "last": last}
        for endpoint_id, first, last in zip(endpoints, *used, strict=True)
        if last
    ]
    connection.execute(statement, rows)


def _analyze(connection: Connection) -> None:
    """Does what PostgreSQL does by itself after a while of such load; SQLite never does."""
    if is_postgres(connection):
        connection.exec_driver_sql("ANALYZE")

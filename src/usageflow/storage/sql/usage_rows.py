"""Rows of events and deltas: appended, never updated, so that writers never meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from usageflow.domain.summing import MeteringSum, UsageSum, sum_metering, sum_usage
from usageflow.domain.usage import StoredEvent, UsageRecord
from usageflow.storage.sql.interning import NOBODY, endpoint_ids, pseudonyms, series_ids
from usageflow.storage.sql.remembered import Names
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import EVENTS, METERING_DELTAS, METERING_FAILURES, USAGE_DELTAS

_Row = tuple[Any, ...]
"""Values in the order of the table's columns, without row_id."""

Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class _Application:
    """An application, and what stands for its endpoints, series and identities in rows."""

    application_id: str
    names: Names


def append_records(
    connection: Connection, application_id: str, records: Sequence[UsageRecord], known: Names
) -> Names:
    """Appends the events of new records of one application, and the sums of their deltas. Returns the names that it met, to be
    remembered once this is committed.
    """
    events = [record.event for record in records if record.event is not None]
    usage = sum_usage(delta for record in records for delta in record.usage)
    metering = sum_metering(delta for record in records for delta in record.metering)
    names = _names(connection, application_id, events, usage, metering, known)
    of = _Application(application_id, names)
    append_rows(connection, EVENTS, [_event_row(event, of) for event in events])
    append_rows(connection, USAGE_DELTAS, [_usage_row(one, of) for one in usage])
    append_rows(connection, METERING_DELTAS, [_metering_row(one, of) for one in metering])
    append_rows(connection, METERING_FAILURES, list(_failure_rows(application_id, records)))
    return names


def _failure_rows(application_id: str, records: Sequence[UsageRecord]) -> Iterator[_Row]:
    for record in records:
        for failure in record.failures:
            yield (application_id, record.record_id, *failure)


def _names(
    connection: Connection,
    application_id: str,
    events: Sequence[StoredEvent],
    usage: Sequence[UsageSum],
    metering: Sequence[MeteringSum],
    known: Names,
) -> Names:
    of_series = {event.series for event in events} | {one.series for one in usage}
    of_endpoints = {each.endpoint for each in of_series} | {one.endpoint for one in metering}
    identities = {event.identity for event in events}
    identities |= {one.identity for one in usage} | {one.identity for one in metering}
    endpoints = _looked_up(
        of_endpoints, known.endpoints, lambda missing: endpoint_ids(connection, application_id, missing)
    )
    series = _looked_up(
        of_series, known.series, lambda missing: series_ids(connection, application_id, missing, endpoints)
    )
    people = _looked_up(
        identities - {""}, known.identities, lambda missing: pseudonyms(connection, application_id, missing)
    )
    return Names(endpoints, series, people | {"": NOBODY})


def _looked_up(
    wanted: set[Name], known: Mapping[Any, int], find: Callable[[set[Name]], Mapping[Any, int]]
) -> dict[Any, int]:
    """Returns the number of every name: what is known, and the rest as it is found."""
    # Asked for once each: another writer may forget a name in between.
    numbers = {name: number for name in wanted if (number := known.get(name)) is not None}
    missing = set(wanted) - numbers.keys()
    return numbers | dict(find(missing)) if missing else numbers


def _event_row(event: StoredEvent, of: _Application) -> _Row:
    event_id, time_us, series, path, identity = event[:5]
    names = of.names
    number, pseudonym = names.series[series], names.identities[identity]
    return (of.application_id, event_id, time_us, number, path, pseudonym, *event[5:])


def _usage_row(one: UsageSum, of: _Application) -> _Row:
    return (of.application_id, of.names.series[one.series], of.names.identities[one.identity], *one[2:])


def _metering_row(one: MeteringSum, of: _Application) -> _Row:
    endpoint, pseudonym = of.names.endpoints[one.endpoint], of.names.identities[one.identity]
    # No part: nothing has claimed it; no customer: the identity tells.
    return (of.application_id, endpoint, pseudonym, *one[2:], None, None)

"""Rows of events and deltas: appended, never updated, so that writers never meet."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from usageflow.domain.latency import pack
from usageflow.domain.units import split
from usageflow.domain.usage import MeteringDelta, Series, StoredEvent, UsageDelta, UsageRecord
from usageflow.storage.sql.interning import endpoint_ids, pseudonyms, series_ids
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import EVENTS, METERING_DELTAS, USAGE_DELTAS

_Row = tuple[Any, ...]
"""Values in the order of the table's columns, without row_id."""


# Most units repeat (1, 2, 0.5), and splitting a Decimal takes longer than finding it.
_split = functools.lru_cache(maxsize=4096)(split)


@dataclass(frozen=True, slots=True)
class _Names:
    """What stands for the application, its endpoints, series and identities in rows."""

    application_id: str
    endpoints: Mapping[tuple[str, str], int]
    series: Mapping[Series, int]
    identities: Mapping[str, int]


def append_records(connection: Connection, application_id: str, records: Sequence[UsageRecord]) -> None:
    """Appends the events and deltas of records of one application."""
    events = [record.event for record in records if record.event is not None]
    usage = [delta for record in records for delta in record.usage]
    metering = [delta for record in records for delta in record.metering]
    names = _names(connection, application_id, events, usage, metering)
    append_rows(connection, EVENTS, [_event_row(event, names) for event in events])
    append_rows(connection, USAGE_DELTAS, [_usage_row(delta, names) for delta in usage])
    append_rows(connection, METERING_DELTAS, [_metering_row(delta, names) for delta in metering])


def _names(
    connection: Connection,
    application_id: str,
    events: Sequence[StoredEvent],
    usage: Sequence[UsageDelta],
    metering: Sequence[MeteringDelta],
) -> _Names:
    series = {item.series for items in (events, usage) for item in items}
    of_endpoints = {each.endpoint for each in series} | {delta.endpoint for delta in metering}
    endpoints = endpoint_ids(connection, application_id, of_endpoints)
    named: list[StoredEvent | UsageDelta | MeteringDelta] = [*events, *usage, *metering]
    return _Names(
        application_id,
        endpoints,
        series_ids(connection, application_id, series, endpoints),
        pseudonyms(connection, application_id, {item.identity for item in named}),
    )


def _event_row(event: StoredEvent, names: _Names) -> _Row:
    return (
        names.application_id,
        event.event_id,
        event.time_us,
        names.series[event.series],
        event.path,
        names.identities[event.identity],
        event.latency_us,
        event.quantity,
        event.request_bytes,
        event.response_bytes,
        event.detail_json,
    )


def _usage_row(delta: UsageDelta, names: _Names) -> _Row:
    return (
        names.application_id,
        names.series[delta.series],
        names.identities[delta.identity],
        delta.second,
        delta.requests,
        *_split(delta.units),
        delta.request_bytes,
        delta.response_bytes,
        pack(delta.latency),
    )


def _metering_row(delta: MeteringDelta, names: _Names) -> _Row:
    return (
        names.application_id,
        names.endpoints[delta.endpoint.method, delta.endpoint.template],
        names.identities[delta.identity],
        delta.policy,
        delta.price,
        delta.revision,
        delta.second,
        delta.requests,
        *_split(delta.units),
        None,  # part: claimed by nobody
        None,  # customer: told by the identity
    )

"""Rows of events and deltas: appended, never updated, so that writers never meet."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from usageflow.domain.units import split
from usageflow.domain.usage import MeteringDelta, StoredEvent, UsageDelta, UsageRecord
from usageflow.storage.sql.interning import endpoint_ids, pseudonyms
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import EVENTS, METERING_DELTAS, USAGE_DELTAS

_Row = tuple[Any, ...]
"""Values in the order of the table's columns, without row_id."""


# Most units repeat (1, 2, 0.5), and splitting a Decimal takes longer than finding it.
_split = functools.lru_cache(maxsize=4096)(split)


@dataclass(frozen=True, slots=True)
class _Names:
    """What stands for the application, its endpoints and its identities in rows."""

    application_id: str
    endpoints: Mapping[tuple[str, str], int]
    identities: Mapping[str, int | None]


def append_records(connection: Connection, application_id: str, records: Sequence[UsageRecord]) -> None:
    """Appends the events and deltas of records of one application."""
    events = [record.event for record in records if record.event is not None]
    usage = [delta for record in records for delta in record.usage]
    metering = [delta for record in records for delta in record.metering]
    named: list[StoredEvent | UsageDelta | MeteringDelta] = [*events, *usage, *metering]
    names = _Names(
        application_id,
        endpoint_ids(
            connection, application_id, {(item.endpoint.method, item.endpoint.template) for item in named}
        ),
        pseudonyms(connection, application_id, {item.identity for item in named}),
    )
    append_rows(connection, EVENTS, [_event_row(event, names) for event in events])
    append_rows(connection, USAGE_DELTAS, [_usage_row(delta, names) for delta in usage])
    append_rows(connection, METERING_DELTAS, [_metering_row(delta, names) for delta in metering])


def _event_row(event: StoredEvent, names: _Names) -> _Row:
    return (
        names.application_id,
        event.event_id,
        event.time_us,
        names.endpoints[event.endpoint.method, event.endpoint.template],
        event.path,
        names.identities[event.identity],
        event.status,
        event.latency_us,
        event.quantity,
        event.denied,
        event.reason,
        event.detail_json,
    )


def _usage_row(delta: UsageDelta, names: _Names) -> _Row:
    return (
        names.application_id,
        names.endpoints[delta.endpoint.method, delta.endpoint.template],
        names.identities[delta.identity],
        delta.status,
        delta.denied,
        delta.reason,
        delta.degraded,
        delta.policy,
        delta.revision,
        delta.second,
        delta.requests,
        *_split(delta.units),
        delta.request_bytes,
        delta.response_bytes,
        _latency_json(delta.latency),
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
    )


def _latency_json(latency: tuple[tuple[int, int], ...]) -> str | None:
    """Returns ``[[bucket,requests],..]``, None for no latency. Integers need no escaping, and json.dumps shows in profiles."""
    if not latency:
        return None
    return "[" + ",".join(f"[{bucket},{requests}]" for bucket, requests in latency) + "]"

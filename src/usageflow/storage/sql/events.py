"""Stored events in SQL, to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, or_, select, tuple_

from usageflow.domain.usage import EndpointName, Series, StoredEvent
from usageflow.domain.usage_events import EVERYTHING, EventFilter
from usageflow.storage.events import EventPage, Position
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.interning import NOBODY, key_of
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import ENDPOINT_NAMES, EVENTS, IDENTITIES, USAGE_SERIES

_E, _S, _N, _I = EVENTS.c, USAGE_SERIES.c, ENDPOINT_NAMES.c, IDENTITIES.c
_WITH_LABELS = (
    EVENTS.join(USAGE_SERIES, _S.series_id == _E.series_id)
    .join(ENDPOINT_NAMES, _N.endpoint_id == _S.endpoint_id)
    .outerjoin(IDENTITIES, _I.pseudonym == _E.pseudonym)
)
SCANNED = 10_000
"""How many events one page looks through at most."""

_POSITION = tuple_(_E.time_us, _E.row_id)
_COLUMNS = (
    _E.row_id,
    _E.event_id,
    _E.time_us,
    _N.method,
    _N.template,
    _S.status,
    _S.denied,
    _S.reason,
    _S.degraded,
    _S.policy,
    _S.shadow,
    _E.path,
    _E.pseudonym,
    _I.value,
    _E.latency_us,
    _E.quantity,
    _E.request_bytes,
    _E.response_bytes,
    _E.detail_json,
)


class SqlEventStore:
    """The EventStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        application_id: str,
        wanted: EventFilter,
        *,
        since_us: int,
        until_us: int,
        after: Position,
        limit: int,
    ) -> EventPage:
        """See EventStore."""
        span = (
            _E.time_us >= max(since_us, after[0]),
            _E.time_us < until_us,
            tuple_(*after) < _POSITION,
        )
        return await self._database.read(
            lambda connection: _page(connection, application_id, wanted, span, limit)
        )

    async def count(
        self, application_id: str, wanted: EventFilter, *, since_us: int, until_us: int, most: int
    ) -> int:
        """See EventStore."""
        span = (_E.time_us >= since_us, _E.time_us < until_us)
        if wanted == EVERYTHING:  # then no labels are looked up
            found = select(_E.row_id).where(_E.application_id == application_id, *span)
        else:
            found = _of(select(_E.row_id), application_id, wanted).where(*span)
        return await self._number(select(func.count()).select_from(found.limit(most).subquery()))

    async def newest(self) -> int:
        """See EventStore."""
        return await self._number(select(func.coalesce(func.max(_E.row_id), 0)))

    async def numbers_after(
        self, application_id: str, wanted: EventFilter, *, after: int, limit: int
    ) -> Sequence[int]:
        """See EventStore."""
        found = _of(select(_E.row_id), application_id, wanted).where(_E.row_id > after)
        rows = await self._rows(found.order_by(_E.row_id.desc()).limit(limit))
        return [row.row_id for row in rows]

    async def count_after(self, application_id: str, wanted: EventFilter, *, after: int) -> int:
        """See EventStore."""
        found = _of(select(func.count()), application_id, wanted).where(_E.row_id > after)
        return await self._number(found)

    async def numbered(
        self, application_id: str, numbers: Sequence[int]
    ) -> Sequence[tuple[int, StoredEvent]]:
        """See EventStore."""
        found: list[tuple[int, StoredEvent]] = []
        for chunk in chunked(sorted(numbers)):
            statement = _of(select(*_COLUMNS), application_id, EventFilter()).where(_E.row_id.in_(chunk))
            rows = await self._rows(statement.order_by(_E.row_id))
            found += [(row.row_id, _event(row)) for row in rows]
        return found

    async def _rows(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        def work(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(statement).all()

        return await self._database.read(work)

    async def _number(self, statement: Select[Any]) -> int:
        (row,) = await self._rows(statement)
        return int(row[0])


def _page(
    connection: Connection,
    application_id: str,
    wanted: EventFilter,
    span: Sequence[ColumnElement[bool]],
    limit: int,
) -> EventPage:
    """Reads up to the last of the next SCANNED events, whatever they are, so that a rare kind is found in short statements."""
    inside = (_E.application_id == application_id, *span)
    bound = select(_E.time_us, _E.row_id).where(*inside).order_by(_E.time_us, _E.row_id)
    last = connection.execute(bound.offset(SCANNED - 1).limit(1)).one_or_none()
    statement = _of(select(*_COLUMNS), application_id, wanted).where(*span)
    if last is not None:
        statement = statement.where(tuple_(*last) >= _POSITION)
    rows = connection.execute(statement.order_by(_E.time_us, _E.row_id).limit(limit)).all()
    after = None if last is None else (last.time_us, last.row_id)
    if len(rows) == limit:
        after = (rows[-1].time_us, rows[-1].row_id)
    return EventPage([_event(row) for row in rows], after)


def _of(statement: Select[Any], application_id: str, wanted: EventFilter) -> Select[Any]:
    """Returns a statement over the events of an application that pass a filter."""
    clauses = [clause for clause in _clauses(wanted) if clause is not None]
    return statement.select_from(_WITH_LABELS).where(_E.application_id == application_id, *clauses)


def _clauses(wanted: EventFilter) -> list[ColumnElement[bool] | None]:
    return [
        _any([_endpoint(each) for each in wanted.endpoints]),
        _any([_identity(each) for each in wanted.identities] + [_hash(each) for each in wanted.hashes]),
        _any([_S.status == each for each in wanted.statuses] + [_class(each) for each in wanted.classes]),
        _S.policy.in_(wanted.policies) if wanted.policies else None,
        _S.reason.in_(wanted.reasons) if wanted.reasons else None,
        None if wanted.denied is None else _S.denied.is_(wanted.denied),
        _present(_S.degraded, wanted.degraded),
        _present(_S.shadow, wanted.shadow_denied),
    ]


def _any(clauses: list[ColumnElement[bool]]) -> ColumnElement[bool] | None:
    return or_(false(), *clauses) if clauses else None


def _endpoint(endpoint: EndpointName) -> ColumnElement[bool]:
    named = ((_N.method, endpoint.method), (_N.template, endpoint.template))
    return and_(_N.endpoint_id.is_not(None), *(column == value for column, value in named if value))


def _identity(key: str) -> ColumnElement[bool]:
    return _I.value == key if key else _E.pseudonym == NOBODY


def _hash(digits: str) -> ColumnElement[bool]:
    return _I.value.startswith(f"h:{digits}", autoescape=True)


def _class(number: int) -> ColumnElement[bool]:
    return _S.status.between(number * 100, number * 100 + 99)


def _present(column: ColumnElement[str], wanted: bool | None) -> ColumnElement[bool] | None:
    if wanted is None:
        return None
    return column != "" if wanted else column == ""


def _event(row: Row[Any]) -> StoredEvent:
    endpoint = EndpointName(row.method, row.template)
    return StoredEvent(
        row.event_id,
        row.time_us,
        Series(endpoint, row.status, row.denied, row.reason, row.degraded, row.policy, row.shadow),
        row.path,
        key_of(row.pseudonym, row.value),
        row.latency_us,
        row.quantity,
        row.request_bytes,
        row.response_bytes,
        row.detail_json,
    )

"""Endpoints that were registered or sighted in reports, and the releases that have them; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, true, update

from usageflow.domain.releases import Release
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import NumberKind
from usageflow.storage.sql.announcing import announce
from usageflow.storage.sql.control_write import lock_application
from usageflow.storage.sql.numbers import assign_numbers
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import APPLICATIONS, ENDPOINT_SERVICES, ENDPOINTS, RELEASES

KEPT_RELEASES = 100
"""Of each service; older ones are forgotten when a new one comes."""

_KEY = (ENDPOINTS.c.application_id, ENDPOINTS.c.method, ENDPOINTS.c.template)


def register_endpoints(
    connection: Connection,
    application_id: str,
    endpoints: Sequence[EndpointName],
    now_us: int,
    release: Release | None = None,
) -> list[int]:
    """Stores endpoints and returns their numbers in order. Raises NotFound."""
    lock_application(connection, application_id)
    if not endpoints:
        return []
    if _store(connection, application_id, endpoints, now_us):
        _move_plan(connection, application_id)
    if release is not None:
        _note_release(connection, application_id, release, endpoints, now_us)
    numbers = assign_numbers(connection, application_id, NumberKind.ENDPOINT, [*map(_title, endpoints)])
    return [numbers[_title(endpoint)] for endpoint in endpoints]


def sight_endpoints(
    connection: Connection, application_id: str, endpoints: Sequence[EndpointName], now_us: int, most: int
) -> list[EndpointName]:
    """Stores endpoints that nobody registered, and returns those that are new. Raises NotFound."""
    lock_application(connection, application_id)
    stored = connection.scalar(
        select(func.count()).where(ENDPOINTS.c.application_id == application_id, ENDPOINTS.c.sighted)
    )
    known = _known(connection, application_id)
    fresh = [each for each in dict.fromkeys(endpoints) if each not in known][: max(0, most - (stored or 0))]
    if fresh:
        rows = _rows(application_id, fresh, now_us)
        connection.execute(insert(ENDPOINTS), [row | {"sighted": True} for row in rows])
        assign_numbers(connection, application_id, NumberKind.ENDPOINT, [*map(_title, fresh)])
        _move_plan(connection, application_id)
    return fresh


def _title(endpoint: EndpointName) -> str:
    return f"{endpoint.method} {endpoint.template}"


def _move_plan(connection: Connection, application_id: str) -> None:
    connection.execute(
        update(APPLICATIONS)
        .where(APPLICATIONS.c.application_id == application_id)
        .values(plan_version=APPLICATIONS.c.plan_version + 1)
    )
    announce(connection)


def _known(connection: Connection, application_id: str) -> set[tuple[str, str]]:
    """Returns all endpoints of an application, deleted ones too."""
    rows = connection.execute(
        select(ENDPOINTS.c.method, ENDPOINTS.c.template).where(ENDPOINTS.c.application_id == application_id)
    )
    return {(method, template) for method, template in rows}


def _rows(application_id: str, endpoints: Sequence[EndpointName], now_us: int) -> list[dict[str, Any]]:
    times = {"first_seen_us": now_us, "last_seen_us": now_us}
    return [
        {"application_id": application_id, "method": endpoint.method, "template": endpoint.template, **times}
        for endpoint in dict.fromkeys(endpoints)
    ]


def _store(
    connection: Connection, application_id: str, endpoints: Sequence[EndpointName], now_us: int
) -> bool:
    """Stores endpoints or marks them as seen; returns whether one of them is new."""
    rows = _rows(application_id, endpoints, now_us)
    revived = _revive(connection, application_id, endpoints)
    _confirm(connection, application_id, endpoints, now_us)
    statement = upsert(connection, ENDPOINTS)
    fresh = connection.execute(
        statement.on_conflict_do_nothing(index_elements=_KEY).returning(ENDPOINTS.c.method), rows
    ).all()
    if len(fresh) < len(rows):
        seen = statement.on_conflict_do_update(
            index_elements=_KEY, set_={"last_seen_us": statement.excluded.last_seen_us}
        )
        connection.execute(seen, rows)
    return bool(fresh) or revived


def _revive(connection: Connection, application_id: str, endpoints: Sequence[EndpointName]) -> bool:
    """Brings deleted endpoints back that are registered again; returns whether there was one."""
    gone = and_(ENDPOINTS.c.application_id == application_id, ENDPOINTS.c.deleted_us.is_not(None))
    wanted = set(endpoints)
    back = [
        (method, template)
        for method, template in connection.execute(
            select(ENDPOINTS.c.method, ENDPOINTS.c.template).where(gone)
        )
        if EndpointName(method, template) in wanted
    ]
    for method, template in back:
        one = and_(gone, ENDPOINTS.c.method == method, ENDPOINTS.c.template == template)
        connection.execute(update(ENDPOINTS).where(one).values(deleted_us=None))
    return bool(back)


def _confirm(
    connection: Connection, application_id: str, endpoints: Sequence[EndpointName], now_us: int
) -> None:
    """Turns endpoints that were only sighted into registered ones, from now on."""
    sighted = and_(ENDPOINTS.c.application_id == application_id, ENDPOINTS.c.sighted == true())
    wanted = set(endpoints)
    found = connection.execute(select(ENDPOINTS.c.method, ENDPOINTS.c.template).where(sighted)).all()
    for method, template in found:
        if EndpointName(method, template) in wanted:
            one = and_(sighted, ENDPOINTS.c.method == method, ENDPOINTS.c.template == template)
            connection.execute(update(ENDPOINTS).where(one).values(sighted=False, first_seen_us=now_us))


def _note_release(
    connection: Connection,
    application_id: str,
    release: Release,
    endpoints: Sequence[EndpointName],
    now_us: int,
) -> None:
    """Notes that a release has these endpoints. One that says the same as before costs one row."""
    one = and_(
        RELEASES.c.application_id == application_id,
        RELEASES.c.service == release.service,
        RELEASES.c.release == release.name,
    )
    known = connection.execute(select(RELEASES.c.number, RELEASES.c.routes).where(one)).one_or_none()
    if known is None:
        number = _add_release(connection, application_id, release, now_us)
    else:
        number = known.number
        connection.execute(update(RELEASES).where(one).values(last_seen_us=now_us, routes=release.routes))
    if known is None or known.routes != release.routes:
        _note_endpoints(connection, application_id, release, number, endpoints)


def _add_release(connection: Connection, application_id: str, release: Release, now_us: int) -> int:
    """Stores a release and returns its number. The caller holds the application's row, so nobody else numbers one meanwhile."""
    last = connection.scalar(
        select(func.max(RELEASES.c.number)).where(RELEASES.c.application_id == application_id)
    )
    number = (last or 0) + 1
    connection.execute(
        insert(RELEASES).values(
            application_id=application_id,
            service=release.service,
            release=release.name,
            number=number,
            routes=release.routes,
            first_seen_us=now_us,
            last_seen_us=now_us,
        )
    )
    of_service = and_(RELEASES.c.application_id == application_id, RELEASES.c.service == release.service)
    numbers = select(RELEASES.c.number).where(of_service).order_by(RELEASES.c.number.desc())
    oldest = connection.scalar(numbers.offset(KEPT_RELEASES - 1).limit(1))
    if oldest is not None:
        connection.execute(delete(RELEASES).where(of_service, RELEASES.c.number < oldest))
    return number


def _note_endpoints(
    connection: Connection,
    application_id: str,
    release: Release,
    number: int,
    endpoints: Sequence[EndpointName],
) -> None:
    """Notes the newest release that has each endpoint: an older one that comes again takes nothing back."""
    statement = upsert(connection, ENDPOINT_SERVICES)
    statement = statement.on_conflict_do_update(
        index_elements=list(ENDPOINT_SERVICES.primary_key),
        set_={"release": statement.excluded.release, "number": statement.excluded.number},
        where=ENDPOINT_SERVICES.c.number < statement.excluded.number,
    )
    rows = [
        {
            "application_id": application_id,
            "service": release.service,
            "method": endpoint.method,
            "template": endpoint.template,
            "release": release.name,
            "number": number,
        }
        for endpoint in dict.fromkeys(endpoints)
    ]
    connection.execute(statement, rows)

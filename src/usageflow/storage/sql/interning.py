"""Small integers for what every usage row repeats: endpoints, series and identities.

Each look-up asks the database once per kind of value, however many records there are, for what is not remembered (remembered.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import Connection, bindparam, select

from usageflow.domain.usage import Series
from usageflow.storage.sql.remembered import Endpoint
from usageflow.storage.sql.statements import append_new_rows, chunked
from usageflow.storage.sql.tables import ENDPOINT_NAMES, IDENTITIES, USAGE_SERIES

_PSEUDONYM_BITS = 62

NOBODY = 0
"""The pseudonym of the empty identity."""

_ERASED_DIGITS = 10**8


def key_of(pseudonym: int, value: str | None) -> str:
    """Returns an identity's key (usageflow.domain.identity) for a pseudonym and what its mapping row says; without a row it was
    erased, and a number tells such identities apart.
    """
    if pseudonym == NOBODY:
        return ""
    return f"e:{pseudonym % _ERASED_DIGITS}" if value is None else value


# Few methods share a template: searching by template alone keeps the statement simple.
_FIND_ENDPOINTS = select(
    ENDPOINT_NAMES.c.method, ENDPOINT_NAMES.c.template, ENDPOINT_NAMES.c.endpoint_id
).where(
    ENDPOINT_NAMES.c.application_id == bindparam("application_id"),
    ENDPOINT_NAMES.c.template.in_(bindparam("templates", expanding=True)),
)
_FIND_SERIES = select(
    USAGE_SERIES.c.series_id,
    USAGE_SERIES.c.endpoint_id,
    USAGE_SERIES.c.status,
    USAGE_SERIES.c.denied,
    USAGE_SERIES.c.reason,
    USAGE_SERIES.c.degraded,
    USAGE_SERIES.c.policy,
    USAGE_SERIES.c.shadow,
).where(
    USAGE_SERIES.c.application_id == bindparam("application_id"),
    USAGE_SERIES.c.endpoint_id.in_(bindparam("endpoints", expanding=True)),
)
_FIND_IDENTITIES = select(IDENTITIES.c.value, IDENTITIES.c.pseudonym).where(
    IDENTITIES.c.application_id == bindparam("application_id"),
    IDENTITIES.c.value.in_(bindparam("identities", expanding=True)),
)


def endpoint_ids(
    connection: Connection, application_id: str, wanted: AbstractSet[Endpoint]
) -> dict[Endpoint, int]:
    """Returns the id of every endpoint; new ones are stored."""
    known = _find_endpoints(connection, application_id, wanted)
    missing = wanted - known.keys()
    if missing:
        # Another writer may have stored one since: nothing happens then, and its id is read below.
        rows = [(application_id, method, template, None, None) for method, template in sorted(missing)]
        append_new_rows(connection, ENDPOINT_NAMES, rows)
        known |= _find_endpoints(connection, application_id, missing)
    return known


def series_ids(
    connection: Connection,
    application_id: str,
    wanted: AbstractSet[Series],
    endpoints: Mapping[Endpoint, int],
) -> dict[Series, int]:
    """Returns the id of every series; new ones are stored. ``endpoints`` holds the ids of their endpoints."""
    rows = {series: (endpoints[series.endpoint], *series[1:]) for series in wanted}
    known = _find_series(connection, application_id, {row[0] for row in rows.values()})
    missing = sorted(row for row in rows.values() if row not in known)
    if missing:
        append_new_rows(connection, USAGE_SERIES, [(application_id, *row) for row in missing])
        known |= _find_series(connection, application_id, {row[0] for row in missing})
    return {series: known[row] for series, row in rows.items()}


def pseudonyms(connection: Connection, application_id: str, identities: AbstractSet[str]) -> dict[str, int]:
    """Returns the pseudonym of every identity, 0 for nobody (the empty identity); new ones are made up at random."""
    wanted = identities - {""}
    known = _find_identities(connection, application_id, wanted)
    missing = wanted - known.keys()
    if missing:
        rows = [(1 + secrets.randbits(_PSEUDONYM_BITS), application_id, value) for value in sorted(missing)]
        append_new_rows(connection, IDENTITIES, rows)
        known |= _find_identities(connection, application_id, missing)
    return {**known, "": NOBODY}


def _find_endpoints(
    connection: Connection, application_id: str, endpoints: AbstractSet[Endpoint]
) -> dict[Endpoint, int]:
    known: dict[Endpoint, int] = {}
    for chunk in chunked(sorted({template for _, template in endpoints})):
        values = {"application_id": application_id, "templates": chunk}
        rows = connection.execute(_FIND_ENDPOINTS, values)
        known.update(((method, template), number) for method, template, number in rows)
    return known


def _find_series(
    connection: Connection, application_id: str, endpoints: AbstractSet[int]
) -> dict[tuple[Any, ...], int]:
    """Returns the series of endpoints, by endpoint id and labels."""
    known: dict[tuple[Any, ...], int] = {}
    for chunk in chunked(sorted(endpoints)):
        rows = connection.execute(_FIND_SERIES, {"application_id": application_id, "endpoints": chunk})
        known.update((tuple(row[1:]), row[0]) for row in rows)
    return known


def _find_identities(
    connection: Connection, application_id: str, identities: AbstractSet[str]
) -> dict[str, int]:
    known: dict[str, int] = {}
    for chunk in chunked(sorted(identities)):
        values = {"application_id": application_id, "identities": chunk}
        known.update(connection.execute(_FIND_IDENTITIES, values).all())
    return known

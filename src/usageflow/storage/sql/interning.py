"""Small integers for what every usage row repeats: endpoints and identities.

Each look-up serves one transaction and asks the database once per kind of value, however many records there are.
"""

from __future__ import annotations

import secrets
from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, bindparam, select

from usageflow.storage.sql.statements import append_new_rows, chunked
from usageflow.storage.sql.tables import ENDPOINT_NAMES, IDENTITIES

Endpoint = tuple[str, str]
"""Method and template: a plain pair, because its hash is taken several times per record."""

_PSEUDONYM_BITS = 62

# Few methods share a template: searching by template alone keeps the statement simple.
_FIND_ENDPOINTS = select(
    ENDPOINT_NAMES.c.method, ENDPOINT_NAMES.c.template, ENDPOINT_NAMES.c.endpoint_id
).where(
    ENDPOINT_NAMES.c.application_id == bindparam("application_id"),
    ENDPOINT_NAMES.c.template.in_(bindparam("templates", expanding=True)),
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
        rows = [(application_id, method, template) for method, template in sorted(missing)]
        append_new_rows(connection, ENDPOINT_NAMES, rows)
        known |= _find_endpoints(connection, application_id, missing)
    return known


def pseudonyms(
    connection: Connection, application_id: str, identities: AbstractSet[str]
) -> dict[str, int | None]:
    """Returns the pseudonym of every identity, None for nobody (the empty identity); new ones are made up at random."""
    wanted = identities - {""}
    known = _find_identities(connection, application_id, wanted)
    missing = wanted - known.keys()
    if missing:
        rows = [(secrets.randbits(_PSEUDONYM_BITS), application_id, value) for value in sorted(missing)]
        append_new_rows(connection, IDENTITIES, rows)
        known |= _find_identities(connection, application_id, missing)
    return {**known, "": None}


def _find_endpoints(
    connection: Connection, application_id: str, endpoints: AbstractSet[Endpoint]
) -> dict[Endpoint, int]:
    known: dict[Endpoint, int] = {}
    for chunk in chunked(sorted({template for _, template in endpoints})):
        values = {"application_id": application_id, "templates": chunk}
        rows = connection.execute(_FIND_ENDPOINTS, values)
        known.update(((method, template), number) for method, template, number in rows)
    return known


def _find_identities(
    connection: Connection, application_id: str, identities: AbstractSet[str]
) -> dict[str, int]:
    known: dict[str, int] = {}
    for chunk in chunked(sorted(identities)):
        values = {"application_id": application_id, "identities": chunk}
        known.update(connection.execute(_FIND_IDENTITIES, values).all())
    return known

"""Customers as people look at them, in SQL; each function runs inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from usageflow.domain.customers import Customer
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import Comparison, Operator, Query
from usageflow.storage.resources import CustomerRow, Stamp
from usageflow.storage.sql.directory_read import identities_of, overrides_of
from usageflow.storage.sql.listing import paged
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import CUSTOMER_IDENTITIES, CUSTOMERS

_T = CUSTOMERS.c
_FIELDS: dict[str, ColumnElement[Any]] = {
    "name": _T.name,
    "plan": _T.plan,
    "stripe_customer": _T.stripe_customer,
    "create_time": _T.created_us,
    "update_time": _T.updated_us,
    "delete_time": _T.deleted_us,
}
_COLUMNS = (
    _T.name,
    _T.stripe_customer,
    _T.plan,
    _T.overrides,
    _T.identities,
    _T.created_us,
    _T.updated_us,
    _T.version,
    _T.deleted_us,
)


def listed(connection: Connection, application_id: str, query: Query) -> list[CustomerRow]:
    """Returns a page of customers. Raises InvalidArgument."""
    statement = select(*_COLUMNS).where(_T.application_id == application_id)
    if not query.show_deleted:
        statement = statement.where(_T.deleted.is_(False))
    statement = paged(statement, query, _FIELDS, lambda comparison: _owning(comparison, application_id))
    return _customers(connection, application_id, connection.execute(statement).all())


def named(connection: Connection, application_id: str, names: Sequence[str]) -> dict[str, CustomerRow]:
    """Returns customers by name, deleted ones too."""
    found: dict[str, CustomerRow] = {}
    for chunk in chunked(sorted(set(names))):
        statement = select(*_COLUMNS).where(_T.application_id == application_id, _T.name.in_(chunk))
        rows = _customers(connection, application_id, connection.execute(statement).all())
        found |= {row.customer.name: row for row in rows}
    return found


def _owning(comparison: Comparison, application_id: str) -> ColumnElement[bool] | None:
    """Returns the clause of an identity: who owns it."""
    if comparison.field != "identity":
        return None
    if comparison.operator not in (Operator.EQUAL, Operator.HAS) or comparison.wild:
        fix = 'write `identity = "..."` with the whole raw value'
        raise InvalidArgument.of("filter", "identities are stored as hashes", fix, "FILTER")
    owned = CUSTOMER_IDENTITIES.c
    owner = select(owned.customer).where(
        owned.application_id == application_id,
        owned.identity_hash == bytes.fromhex(str(comparison.value)),
    )
    # The coalesce makes the owner one value that is looked up once.
    return _T.name == func.coalesce(owner.scalar_subquery(), "")


def _customers(connection: Connection, application_id: str, rows: Sequence[Any]) -> list[CustomerRow]:
    identities: dict[str, list[str]] = {}
    for chunk in chunked([row.name for row in rows if row.deleted_us is None]):
        identities |= identities_of(connection, application_id, chunk)
    return [
        CustomerRow(
            Customer(
                name=row.name,
                identities=tuple(
                    identities.get(row.name, ()) if row.deleted_us is None else json.loads(row.identities)
                ),
                stripe_customer=row.stripe_customer,
                plan=row.plan,
                overrides=overrides_of(row.overrides),
            ),
            Stamp(row.created_us, row.updated_us, row.version, row.deleted_us),
        )
        for row in rows
    ]

"""The reading half of the directory in SQL; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter
from sqlalchemy import Connection, and_, select

from usageflow.domain.customers import Customer, CustomerOverride
from usageflow.domain.directory import Entry, rules_of
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import CUSTOMER_IDENTITIES, CUSTOMERS, DIRECTORIES

NO_OVERRIDES = "[]"
_OVERRIDES = TypeAdapter(tuple[CustomerOverride, ...])


def overrides_of(document: str) -> tuple[CustomerOverride, ...]:
    """Returns the overrides that a row holds."""
    return () if document == NO_OVERRIDES else _OVERRIDES.validate_json(document)


def document_of(customer: Customer) -> str:
    """Returns a customer's overrides as a row holds them."""
    return _OVERRIDES.dump_json(customer.overrides, by_alias=True, exclude_defaults=True).decode()


def changes(connection: Connection, known: Mapping[str, int]) -> dict[str, DirectoryChanges]:
    """Returns what changed in every directory that is not as known."""
    versions = connection.execute(select(DIRECTORIES.c.application_id, DIRECTORIES.c.version)).all()
    return {
        application_id: _changes_since(connection, application_id, known.get(application_id, 0), version)
        for application_id, version in versions
        if version != known.get(application_id, 0)
    }


def _changes_since(connection: Connection, application_id: str, since: int, version: int) -> DirectoryChanges:
    since = since if since <= version else 0  # ahead of the database: it was put back
    identities = _identities_since(connection, application_id, since)
    table = CUSTOMERS
    rows = connection.execute(
        select(table.c.name, table.c.deleted, table.c.plan, table.c.overrides).where(
            table.c.application_id == application_id, table.c.version > since
        )
    )
    entries, deleted = [], []
    for name, gone, plan, overrides in rows:
        if gone:
            deleted.append(name)
        else:
            hashes = tuple(identities.get(name, ()))
            entries.append(Entry(name, plan, hashes, rules_of(overrides_of(overrides))))
    return DirectoryChanges(version, entries, deleted, whole=not since)


def _identities_since(connection: Connection, application_id: str, since: int) -> dict[str, list[bytes]]:
    owned, table = CUSTOMER_IDENTITIES, CUSTOMERS
    same = and_(owned.c.application_id == table.c.application_id, owned.c.customer == table.c.name)
    rows = connection.execute(
        select(owned.c.customer, owned.c.identity_hash)
        .select_from(table.join(owned, same))
        .where(table.c.application_id == application_id, table.c.version > since)
    )
    found: dict[str, list[bytes]] = {}
    for customer, identity in rows:
        found.setdefault(customer, []).append(identity)
    return found


def customers(connection: Connection, application_id: str, names: Sequence[str]) -> list[Customer]:
    """Returns customers by name, with their identities in order."""
    table, found = CUSTOMERS, []
    for chunk in chunked(sorted(set(names))):
        identities = identities_of(connection, application_id, chunk)
        rows = connection.execute(
            select(table.c.name, table.c.stripe_customer, table.c.plan, table.c.overrides)
            .where(
                table.c.application_id == application_id, table.c.name.in_(chunk), table.c.deleted.is_(False)
            )
            .order_by(table.c.name)
        )
        for name, stripe_customer, plan, overrides in rows:
            found.append(
                Customer(
                    name=name,
                    identities=tuple(identities.get(name, ())),
                    stripe_customer=stripe_customer,
                    plan=plan,
                    overrides=overrides_of(overrides),
                )
            )
    return found


def identities_of(connection: Connection, application_id: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Returns the identities of customers, in order, by name."""
    owned = CUSTOMER_IDENTITIES
    rows = connection.execute(
        select(owned.c.customer, owned.c.identity_hash)
        .where(owned.c.application_id == application_id, owned.c.customer.in_(names))
        .order_by(owned.c.identity_hash)
    )
    found: dict[str, list[str]] = {}
    for customer, identity in rows:
        found.setdefault(customer, []).append(identity.hex())
    return found


def customer_plans(
    connection: Connection, application_id: str, plans: Sequence[str] | None
) -> dict[str, str]:
    """Returns the plan of all customers, or of those on some plans."""
    table = CUSTOMERS
    present = select(table.c.name, table.c.plan).where(
        table.c.application_id == application_id, table.c.deleted.is_(False)
    )
    if plans is None:
        return dict(connection.execute(present).all())
    found: dict[str, str] = {}
    for chunk in chunked(plans):
        found.update(
            (name, plan) for name, plan in connection.execute(present.where(table.c.plan.in_(chunk)))
        )
    return found


def identity_owners(connection: Connection, application_id: str, identities: Sequence[str]) -> dict[str, str]:
    """Returns the customers that identities belong to."""
    owned = CUSTOMER_IDENTITIES
    found: dict[str, str] = {}
    for chunk in chunked([bytes.fromhex(each) for each in identities]):
        rows = connection.execute(
            select(owned.c.identity_hash, owned.c.customer).where(
                owned.c.application_id == application_id, owned.c.identity_hash.in_(chunk)
            )
        )
        found.update((identity.hex(), customer) for identity, customer in rows)
    return found

"""The writing half of the directory in SQL: part of ControlStore.change, inside its transaction.

The caller holds the application's row, so two changes of one directory never meet.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select, update

from usageflow.domain.customers import Customer
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.policies import PolicySet
from usageflow.storage.ports import ChangeSet
from usageflow.storage.sql.directory_read import NO_OVERRIDES, document_of
from usageflow.storage.sql.statements import append_new_rows, chunked, upsert
from usageflow.storage.sql.tables import CUSTOMER_IDENTITIES, CUSTOMERS, DIRECTORIES


def change_directory(connection: Connection, application_id: str, change: ChangeSet) -> None:
    """Carries out what a change says of customers. Raises FailedPrecondition (CHANGED_MEANWHILE)."""
    names = [*change.customers_deleted, *(customer.name for customer in change.customers_upserted)]
    if names:
        version = _advance(connection, application_id)
        _give_up_identities(connection, application_id, names)
        _delete(connection, application_id, change.customers_deleted, version)
        _store(connection, application_id, change.customers_upserted, version)
    if change.policies is not None:
        _ensure_plans(connection, application_id, change.policies)


def _advance(connection: Connection, application_id: str) -> int:
    statement = upsert(connection, DIRECTORIES).values(application_id=application_id, version=1)
    statement = statement.on_conflict_do_update(
        index_elements=[DIRECTORIES.c.application_id], set_={"version": DIRECTORIES.c.version + 1}
    )
    return int(connection.execute(statement.returning(DIRECTORIES.c.version)).scalar_one())


def _give_up_identities(connection: Connection, application_id: str, names: Sequence[str]) -> None:
    owned = CUSTOMER_IDENTITIES
    for chunk in chunked(names):
        connection.execute(
            delete(owned).where(owned.c.application_id == application_id, owned.c.customer.in_(chunk))
        )


def _delete(connection: Connection, application_id: str, names: Sequence[str], version: int) -> None:
    """Empties rows and leaves them as the word to whoever still holds the customer."""
    table = CUSTOMERS
    for chunk in chunked(names):
        connection.execute(
            update(table)
            .where(
                table.c.application_id == application_id, table.c.name.in_(chunk), table.c.deleted.is_(False)
            )
            .values(version=version, deleted=True, stripe_customer="", plan="", overrides=NO_OVERRIDES)
        )


def _store(connection: Connection, application_id: str, customers: Sequence[Customer], version: int) -> None:
    if not customers:
        return
    rows = [
        {
            "application_id": application_id,
            "name": customer.name,
            "version": version,
            "deleted": False,
            "stripe_customer": customer.stripe_customer,
            "plan": customer.plan,
            "overrides": document_of(customer),
        }
        for customer in customers
    ]
    statement = upsert(connection, CUSTOMERS)
    columns = ("version", "deleted", "stripe_customer", "plan", "overrides")
    statement = statement.on_conflict_do_update(
        index_elements=[CUSTOMERS.c.application_id, CUSTOMERS.c.name],
        set_={name: statement.excluded[name] for name in columns},
    )
    connection.execute(statement, rows)
    identities = [
        (application_id, bytes.fromhex(identity), customer.name)
        for customer in customers
        for identity in customer.identities
    ]
    if append_new_rows(connection, CUSTOMER_IDENTITIES, identities) != len(identities):
        raise _meanwhile("an identity belongs to another customer")


def _ensure_plans(connection: Connection, application_id: str, policies: PolicySet) -> None:
    table = CUSTOMERS
    used = connection.scalars(
        select(table.c.plan).where(table.c.application_id == application_id, table.c.plan != "").distinct()
    )
    if not set(used) <= {plan.name for plan in policies.plans}:
        raise _meanwhile("a customer is on a plan that is to be deleted")


def _meanwhile(what: str) -> FailedPrecondition:
    return FailedPrecondition(f"{what}: load it again and repeat the change", reason="CHANGED_MEANWHILE")

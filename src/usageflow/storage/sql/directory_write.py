"""The writing half of the directory in SQL: part of ControlStore.change, inside its transaction.

The caller holds the application's row, so two changes of one directory never meet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, select, update

from usageflow.domain.customers import Customer
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.policies import PolicySet
from usageflow.storage.ports import ChangeSet
from usageflow.storage.resources import DeclaredKind
from usageflow.storage.sql.directory_read import document_of, identities_of
from usageflow.storage.sql.statements import append_new_rows, chunked, upsert
from usageflow.storage.sql.tables import CUSTOMER_IDENTITIES, CUSTOMERS, DIRECTORIES, RESOURCES

NO_IDENTITIES = "[]"


def change_directory(connection: Connection, application_id: str, change: ChangeSet, now_us: int) -> None:
    """Carries out what a change says of customers. Raises FailedPrecondition (CHANGED_MEANWHILE)."""
    names = [*change.customers_deleted, *(customer.name for customer in change.customers_upserted)]
    if names:
        version = advance(connection, application_id, by=1)
        _ensure_versions(connection, application_id, change)
        if change.policies is None:
            _ensure_declared(connection, application_id, change.customers_upserted)
        _delete(connection, application_id, change.customers_deleted, version, now_us)
        _give_up_identities(connection, application_id, names)
        _store(connection, application_id, change.customers_upserted, version, now_us)
    if change.policies is not None:
        _ensure_plans(connection, application_id, change.policies)


def advance(connection: Connection, application_id: str, *, by: int) -> int:
    """Raises the directory's version; whoever waits for it sees what this transaction makes of customers and plans."""
    statement = upsert(connection, DIRECTORIES).values(application_id=application_id, version=by)
    statement = statement.on_conflict_do_update(
        index_elements=[DIRECTORIES.c.application_id], set_={"version": DIRECTORIES.c.version + by}
    )
    return int(connection.execute(statement.returning(DIRECTORIES.c.version)).scalar_one())


def _ensure_versions(connection: Connection, application_id: str, change: ChangeSet) -> None:
    """Refuses customers that are not as their changer saw them; 0 stands for none, and for a deleted one."""
    table = CUSTOMERS
    present: dict[str, int] = {}
    for chunk in chunked(sorted(change.customer_versions)):
        rows = connection.execute(
            select(table.c.name, table.c.version).where(
                table.c.application_id == application_id, table.c.name.in_(chunk)
            )
        )
        present |= dict(rows.all())
    if {name: present.get(name, 0) for name in change.customer_versions} != dict(change.customer_versions):
        raise _meanwhile("the customer was changed")


def _ensure_declared(connection: Connection, application_id: str, customers: Sequence[Customer]) -> None:
    """Refuses a plan that is not declared (any more): the revision is not looked at, so that nobody waits for its writer."""
    plans = {customer.plan for customer in customers} - {""}
    for chunk in chunked(sorted(plans)):
        known = connection.scalars(
            select(RESOURCES.c.name).where(
                RESOURCES.c.application_id == application_id,
                RESOURCES.c.kind == DeclaredKind.PLAN.value,
                RESOURCES.c.name.in_(chunk),
                RESOURCES.c.deleted_us.is_(None),
            )
        )
        plans -= set(known)
    if plans:
        raise _meanwhile("a plan was deleted")


def _give_up_identities(connection: Connection, application_id: str, names: Sequence[str]) -> None:
    owned = CUSTOMER_IDENTITIES
    for chunk in chunked(names):
        connection.execute(
            delete(owned).where(owned.c.application_id == application_id, owned.c.customer.in_(chunk))
        )


def _delete(
    connection: Connection, application_id: str, names: Sequence[str], version: int, now_us: int
) -> None:
    """Marks rows as the word to whoever still holds the customer. They keep what would bring the customer back."""
    table = CUSTOMERS
    for chunk in chunked(names):
        identities = identities_of(connection, application_id, chunk)
        values = {"version": version, "deleted": True, "deleted_us": now_us, "updated_us": now_us}
        rows = [
            {
                "of_customer": name,
                "of_application": application_id,
                "kept": json.dumps(identities.get(name, [])),
            }
            for name in chunk
        ]
        statement = update(table).where(
            table.c.application_id == bindparam("of_application"),
            table.c.name == bindparam("of_customer"),
            table.c.deleted.is_(False),
        )
        connection.execute(statement.values(identities=bindparam("kept"), **values), rows)


def _store(
    connection: Connection, application_id: str, customers: Sequence[Customer], version: int, now_us: int
) -> None:
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
            "created_us": now_us,
            "updated_us": now_us,
            "deleted_us": None,
            "identities": NO_IDENTITIES,
        }
        for customer in customers
    ]
    statement = upsert(connection, CUSTOMERS)
    columns = [name for name in rows[0] if name not in ("application_id", "name", "created_us")]
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
    advance(connection, application_id, by=0)
    table = CUSTOMERS
    used = connection.scalars(
        select(table.c.plan)
        .where(table.c.application_id == application_id, table.c.plan != "", table.c.deleted.is_(False))
        .distinct()
    )
    if not set(used) <= {plan.name for plan in policies.plans}:
        raise _meanwhile("a customer is on a plan that is to be deleted")


def _meanwhile(what: str) -> FailedPrecondition:
    return FailedPrecondition(f"{what}: load it again and repeat the change", reason="CHANGED_MEANWHILE")

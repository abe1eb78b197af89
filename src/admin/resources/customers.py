"""Customers: a directory beside the revisions. Whoever enters one recompiles nothing and waits for no writer of policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from admin.aip.etags import ensure_same
from admin.aip.fields import TIMES, FieldType, fields_of
from admin.aip.masks import merged
from admin.applying import Applying
from admin.customers import short_forms, stored
from admin.resources.declarations import Declarations
from admin.resources.shared import (
    Found,
    Listing,
    Page,
    Patch,
    Write,
    gone,
    missing,
    model_of,
    replayed,
    taken,
    there,
)
from admin.turns import Turns
from usageflow.domain.changes import Action
from usageflow.domain.customers import Customer
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.hashing import KeyOf, keyed_hash
from usageflow.domain.listing import Condition, Every, Negated, Some
from usageflow.domain.override_rules import customer_faults
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import Application, ChangeSet, ControlStore
from usageflow.storage.resources import CustomerRow, ResourceStore, Stamp

KIND = "customer"

_ORDERS = {
    "name": FieldType.TEXT,
    "plan": FieldType.TEXT,
    "stripe_customer": FieldType.TEXT,
    **TIMES,
}
_FIELDS = {**_ORDERS, "identity": FieldType.TEXT}
_MASK = fields_of(Customer, {})
_NEW = Stamp(0, 0, 0)

Change = Callable[[Found | None], Customer | None]
"""Returns what is stored of the customer afterwards, None where the customer goes."""


class Customers:
    """The Resources of customers."""

    def __init__(
        self,
        applying: Applying,
        control: ControlStore,
        store: ResourceStore,
        declarations: Declarations,
        notices: ChangeNotices,
        key_of: KeyOf,
        turns: Turns,
    ) -> None:
        self._applying = applying
        self._control = control
        self._store = store
        self._declarations = declarations
        self._notices = notices
        self._key_of = key_of
        self._turns = turns

    async def get(self, application: str, name: str) -> Found:
        """See Resources."""
        owner = await self._applying.find(application)
        return await self._present(owner, name)

    async def list(self, application: str, listing: Listing) -> Page:
        """See Resources. The filter ``identity = "..."`` takes a raw value."""
        owner = await self._applying.find(application)
        query, mark = listing.query(_FIELDS, f"{application}/customers")
        key = self._key_of(owner.name)
        hashed = replace(query, condition=_by_hash(query.condition, key))
        rows = await self._store.list_customers(owner.application_id, hashed)
        found = [_found(row) for row in rows]
        places = [tuple(_PLACES[order.field](each) for order in query.order) for each in found]
        return Page.of(found, places, query.limit, mark)

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """See Resources."""
        raw = model_of(Customer, fields, KIND)

        def change(found: Found | None) -> Customer:
            if found is not None and not found.deleted:
                raise taken(found)
            return self._entered(application, raw, None)

        return await self._write(application, raw.name, change, write, Action.CREATED)

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """See Resources."""
        raw = model_of(Customer, {**patch.fields, "name": name}, KIND)

        def change(found: Found | None) -> Customer:
            if found is None or found.deleted:
                if write.allow_missing and not write.etag:
                    return self._entered(application, raw, None)
                raise missing(KIND, name)
            ensure_same(write.etag, found.etag, found.title)
            wanted = self._entered(application, raw, found.item).model_dump(mode="json", by_alias=True)
            present = found.item.model_dump(mode="json", by_alias=True)
            return model_of(Customer, merged(present, wanted, patch.paths, _MASK), KIND)

        return await self._write(application, name, change, write, Action.UPDATED)

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def change(found: Found | None) -> None:
            found = there(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)

        return await self._write(application, name, change, write, Action.DELETED)

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """See Resources. Identities that another customer got meanwhile are refused."""

        def change(found: Found | None) -> Customer:
            found = gone(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)
            customer: Customer = found.item
            return customer

        return await self._write(application, name, change, write, Action.UNDELETED)

    def _entered(self, application: str, raw: Customer, present: Customer | None) -> Customer:
        """Returns a customer as stored; the short forms of identities that the customer has stand for these."""
        return stored(raw, self._key_of(application), short_forms(raw, present))

    async def _write(
        self, application: str, name: str, change: Change, write: Write, action: Action
    ) -> Found:
        async def attempt() -> Found:
            owner = await self._applying.find(application)
            if await replayed(self._store, write.cause):
                return await self._present(owner, name)
            rows = await self._store.customer_rows(owner.application_id, [name])
            before = _found(rows[name]) if name in rows else None
            wanted = change(before)
            if before is not None and not before.deleted and wanted == before.item:
                return before
            if wanted is not None:
                await self._ensure_fits(owner, wanted)
            if write.validate_only:
                stamp = before.stamp if before is not None else _NEW
                return Found(KIND, name, wanted or (before and before.item), stamp)
            await self._save(owner, name, wanted, before, write, action)
            return await self._present(owner, name)

        return await self._turns.take(f"{application}/customers/{name}", attempt)

    async def _save(
        self,
        owner: Application,
        name: str,
        wanted: Customer | None,
        before: Found | None,
        write: Write,
        action: Action,
    ) -> None:
        change = ChangeSet(
            policies=None,
            blocks_upserted=(),
            blocks_deleted=(),
            names=(),
            customers_upserted=() if wanted is None else (wanted,),
            customers_deleted=(name,) if wanted is None else (),
            customer_versions={name: 0 if before is None else before.stamp.version},
        )
        missed = before is None and action is Action.UPDATED  # allow_missing
        cause = write.doing(Action.CREATED if missed else action, KIND, name)
        await self._control.change(owner.application_id, change, cause=cause, expected_plan_version=None)
        self._notices.publish()

    async def _ensure_fits(self, owner: Application, customer: Customer) -> None:
        """Raises InvalidArgument where plan, limits or identities are not to be had."""
        declaration = await self._declarations.of(owner)
        faults = [*customer_faults(declaration.policies, [customer])]
        owners = await self._store_owners(owner, customer)
        for index, identity in enumerate(customer.identities):
            other = owners.get(identity, customer.name)
            if other != customer.name:
                message = f"belongs to the customer {other!r} already"
                fix = f"take it from {other!r} first, or leave it out"
                faults.append(Fault(f"customers[0].identities[{index}]", message, fix, "IDENTITY_TAKEN"))
        if faults:
            raise InvalidArgument(
                [replace(fault, field=fault.field.replace("customers[0]", KIND, 1)) for fault in faults]
            )

    async def _store_owners(self, owner: Application, customer: Customer) -> Mapping[str, str]:
        return await self._control.identity_owners(owner.application_id, customer.identities)

    async def _present(self, owner: Application, name: str) -> Found:
        rows = await self._store.customer_rows(owner.application_id, [name])
        if name not in rows:
            raise missing(KIND, name)
        return _found(rows[name])


_PLACES: Mapping[str, Callable[[Found], Any]] = {
    "name": lambda found: found.name,
    "plan": lambda found: found.item.plan,
    "stripe_customer": lambda found: found.item.stripe_customer,
    "create_time": lambda found: found.stamp.created_us,
    "update_time": lambda found: found.stamp.updated_us,
    "delete_time": lambda found: found.stamp.deleted_us,
}


def _found(row: CustomerRow) -> Found:
    return Found(KIND, row.customer.name, row.customer, row.stamp)


def _by_hash(condition: Condition, key: bytes) -> Condition:
    """Returns a condition whose identities are hashes, as they are stored."""
    if isinstance(condition, Every | Some):
        return type(condition)(tuple(_by_hash(part, key) for part in condition.parts))
    if isinstance(condition, Negated):
        return Negated(_by_hash(condition.part, key))
    if condition.field != "identity" or condition.wild:
        return condition
    return replace(condition, value=keyed_hash(key, str(condition.value)).hex())

"""Customers of a set beside those that are stored: what to write, and what would contradict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from usageflow.domain.changes import Action, Change
from usageflow.domain.customers import Customer
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.hashing import display, keyed_hash
from usageflow.domain.policies import PolicySet
from usageflow.storage.directories import Directories
from usageflow.storage.ports import Application


@dataclass(frozen=True, slots=True)
class CustomerChanges:
    """What becomes of customers, as they are stored. ``present`` are those of the set that were there before."""

    upserted: tuple[Customer, ...]
    deleted: tuple[str, ...]
    changes: tuple[Change, ...]
    present: tuple[Customer, ...] = ()


_SHORT = re.compile(r"hash:[0-9a-f]{12}")


def stored(customer: Customer, hash_key: bytes, kept: Mapping[str, str] | None = None) -> Customer:
    """Returns a customer as it is stored: identities by hash, in order. Raw values are never stored; ``kept`` are texts that stand for
    hashes.
    """
    known = kept or {}

    def hashed(identity: str) -> str:
        return known.get(identity) or (keyed_hash(hash_key, identity).hex() if identity else "")

    overrides = tuple(
        item.model_copy(update={"identity": hashed(item.identity)}) for item in customer.overrides
    )
    identities = tuple(sorted({hashed(each) for each in customer.identities}))
    return customer.model_copy(update={"identities": identities, "overrides": overrides})


def short_forms(raw: Customer, present: Customer | None) -> Mapping[str, str]:
    """Returns the hashes that ``hash:`` and 12 digits stand for: of identities that the customer has, so that what was read can be sent
    back. Raises InvalidArgument for those of others.
    """
    have = {display(bytes.fromhex(each)): each for each in present.identities} if present else {}
    used = [("identities", index, each) for index, each in enumerate(raw.identities)]
    used += [("overrides", index, each.identity) for index, each in enumerate(raw.overrides)]
    faults = [
        Fault(
            f"customer.{field}[{index}]",
            "is the short form of an identity that this customer does not have",
            "send the raw value",
        )
        for field, index, each in used
        if _SHORT.fullmatch(each) and each not in have
    ]
    if faults:
        raise InvalidArgument(faults)
    return have


class Entering:
    """Compares the customers of one set (raw, valid among themselves) with the directory."""

    def __init__(
        self,
        directories: Directories,
        application: Application,
        hash_key: bytes,
        customers: Sequence[Customer],
    ) -> None:
        self._directories = directories
        self._application_id = application.application_id
        self._hash_key = hash_key
        self._raw = customers
        self._wanted = {customer.name: stored(customer, hash_key) for customer in customers}

    async def difference(self, old: PolicySet, new: PolicySet, *, prune: bool) -> CustomerChanges:
        """Returns the changes. Raises InvalidArgument where an identity belongs to a customer who stays, or where one who
        stays is on a plan that the new set does not have.
        """
        present = await self._directories.customers(self._application_id, list(self._wanted))
        known = {customer.name: customer for customer in present}
        upserted = [customer for name, customer in self._wanted.items() if known.get(name) != customer]
        deleted = await self._absent() if prune else []
        faults = [
            *await self._taken(upserted, gone=frozenset(deleted)),
            *([] if prune else await self._left_behind(old, new)),
        ]
        if faults:
            raise InvalidArgument(faults)
        changes = tuple(_changes(upserted, deleted, known))
        return CustomerChanges(tuple(upserted), tuple(deleted), changes, tuple(present))

    async def _absent(self) -> list[str]:
        every = await self._directories.customer_plans(self._application_id)
        return sorted(name for name in every if name not in self._wanted)

    async def _taken(self, upserted: Iterable[Customer], gone: frozenset[str]) -> list[Fault]:
        """Returns a fault for each identity of a customer who is neither in the set nor deleted."""
        wished = [identity for customer in upserted for identity in customer.identities]
        owners = await self._directories.identity_owners(self._application_id, wished)
        staying = {
            each: owner for each, owner in owners.items() if owner not in self._wanted and owner not in gone
        }
        return list(self._taken_faults(staying)) if staying else []

    def _taken_faults(self, staying: Mapping[str, str]) -> Iterable[Fault]:
        for index, customer in enumerate(self._raw):
            for place, identity in enumerate(customer.identities):
                owner = staying.get(keyed_hash(self._hash_key, identity).hex())
                if owner is not None:
                    message = f"belongs to the customer {owner!r} already"
                    fix = f"declare {owner!r} here without it, or leave it out"
                    yield Fault(f"customers[{index}].identities[{place}]", message, fix, "IDENTITY_TAKEN")

    async def _left_behind(self, old: PolicySet, new: PolicySet) -> list[Fault]:
        """Returns a fault for each plan that is deleted under a customer who is not in the set."""
        deleted = sorted({plan.name for plan in old.plans} - {plan.name for plan in new.plans})
        if not deleted:
            return []
        on_plan = await self._directories.customer_plans(self._application_id, deleted)
        left = {plan: name for name, plan in sorted(on_plan.items()) if name not in self._wanted}
        return [
            Fault(
                "plans",
                f"the plan {plan!r} is missing, but the customer {name!r} is on it",
                f"keep the plan, or give {name!r} another one",
                "PLAN_IN_USE",
            )
            for plan, name in sorted(left.items())
        ]


def _changes(
    upserted: Iterable[Customer], deleted: Iterable[str], known: Mapping[str, Customer]
) -> Iterable[Change]:
    yield from (Change(Action.DELETED, "customer", name) for name in deleted)
    for customer in upserted:
        action = Action.UPDATED if customer.name in known else Action.CREATED
        yield Change(action, "customer", customer.name)

"""The contract of the directory: what ControlStore.change writes of customers, and what Directories reads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.causes import NOBODY
from tests.contract.test_control_store import BLOCK, POLICIES, carry_out, change_of
from usageflow.domain.customers import Customer
from usageflow.domain.directory import EVERY, Entry, Numbers
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.policies import CustomerPlan, PolicySet
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.ports import ControlStore

PRO = PolicySet(plans=(CustomerPlan(name="pro"), CustomerPlan(name="free")))


def hash_of(number: int) -> str:
    return f"{number:064x}"


def customer(name: str, *identities: int, **fields: Any) -> Customer:
    hashes = sorted(hash_of(number) for number in identities)
    return Customer.model_validate({"name": name, "identities": hashes, **fields})


RICH = customer(
    "acme",
    1,
    2,
    stripe_customer="cus_1",
    plan="pro",
    overrides=[
        {"policy": "p", "limit_name": "l", "limit": 5, "expires": "2026-12-31T00:00:00Z"},
        {"policy": "p", "limit": 9, "burst": 0, "identity": hash_of(1)},
    ],
)


async def enter(control: ControlStore, application_id: str, *customers: Customer, gone: Any = ()) -> None:
    await carry_out(
        control, application_id, change_of(customers_upserted=customers, customers_deleted=tuple(gone))
    )


async def changes(control: ControlStore, application_id: str, since: int = 0) -> DirectoryChanges | None:
    return (await control.directory_changes({application_id: since})).get(application_id)


async def test_customers_come_back_as_they_were_stored(control: ControlStore, application_id: str) -> None:
    await carry_out(control, application_id, change_of(policies=PRO))
    bare = customer("bare")
    await enter(control, application_id, RICH, bare)
    assert list(await control.customers(application_id, ["bare", "nobody", "acme"])) == [RICH, bare]
    assert await control.customer_plans(application_id) == {"acme": "pro", "bare": ""}
    assert await control.customer_plans(application_id, ["free", "pro"]) == {"acme": "pro"}
    owners = await control.identity_owners(application_id, [hash_of(1), hash_of(3)])
    assert owners == {hash_of(1): "acme"}


async def test_customers_move_the_directory_and_nothing_else(
    control: ControlStore, application_id: str
) -> None:
    assert await control.directory_changes({}) == {}
    before = await control.load(application_id)
    await enter(control, application_id, customer("acme", 1))
    assert await control.load(application_id) == before
    found = await changes(control, application_id)
    assert found is not None
    assert found.whole
    await carry_out(control, application_id, change_of(policies=POLICIES, blocks_upserted=(BLOCK,)))
    assert await changes(control, application_id, found.version) is None


async def test_an_entry_holds_what_decisions_need(control: ControlStore, application_id: str) -> None:
    await carry_out(control, application_id, change_of(policies=PRO))
    await enter(control, application_id, RICH)
    found = await changes(control, application_id)
    assert found is not None
    (entry,) = found.entries
    hashes = (bytes.fromhex(hash_of(1)), bytes.fromhex(hash_of(2)))
    assert (entry.customer, entry.plan, tuple(sorted(entry.identities))) == ("acme", "pro", hashes)
    assert entry.overrides == {
        ("p", "l", EVERY): Numbers(5, None, 1_798_675_200_000_000),
        ("p", "default", hashes[0]): Numbers(9, 0),
    }


async def test_only_what_changed_since_a_version_is_told(control: ControlStore, application_id: str) -> None:
    await enter(control, application_id, customer("a", 1), customer("b", 2))
    first = await changes(control, application_id)
    assert first is not None
    await enter(control, application_id, customer("b", 3), customer("c"))
    await enter(control, application_id, gone=["a"])
    since = await changes(control, application_id, first.version)
    assert since is not None
    assert sorted(since.entries, key=lambda item: item.customer) == [
        Entry("b", "", (bytes.fromhex(hash_of(3)),)),
        Entry("c", "", ()),
    ]
    assert (list(since.deleted), since.whole) == (["a"], False)
    assert await changes(control, application_id, since.version) is None
    ahead = await changes(control, application_id, since.version + 9)
    assert ahead is not None
    assert (ahead.whole, len(ahead.entries)) == (True, 2)


async def test_a_deleted_customer_may_come_back(control: ControlStore, application_id: str) -> None:
    await enter(control, application_id, customer("a", 1))
    await enter(control, application_id, gone=["a", "nobody"])
    assert await control.customers(application_id, ["a", "nobody"]) == []
    assert await control.customer_plans(application_id) == {}
    assert await control.identity_owners(application_id, [hash_of(1)]) == {}
    await enter(control, application_id, customer("a", 2))
    assert list(await control.customers(application_id, ["a"])) == [customer("a", 2)]


async def test_identities_move_between_customers_of_one_change(
    control: ControlStore, application_id: str
) -> None:
    await enter(control, application_id, customer("a", 1), customer("b", 2), customer("c", 3))
    await enter(control, application_id, customer("a", 2), customer("b", 1, 3), gone=["c"])
    owners = await control.identity_owners(application_id, [hash_of(number) for number in (1, 2, 3)])
    assert owners == {hash_of(1): "b", hash_of(2): "a", hash_of(3): "b"}


async def test_an_identity_of_somebody_else_changes_nothing(
    control: ControlStore, application_id: str
) -> None:
    await enter(control, application_id, customer("a", 1))
    before = await changes(control, application_id)
    with pytest.raises(FailedPrecondition) as raised:
        await enter(control, application_id, customer("b", 2, 1))
    assert raised.value.reason == "CHANGED_MEANWHILE"
    assert await changes(control, application_id) == before
    other = await control.create_application("other", [], cause=NOBODY)
    await enter(control, other.application_id, customer("b", 2, 1))


async def test_no_customer_is_left_on_a_plan_that_goes(control: ControlStore, application_id: str) -> None:
    await carry_out(control, application_id, change_of(policies=PRO))
    await enter(control, application_id, customer("a", plan="pro"))
    before = await control.load(application_id)
    with pytest.raises(FailedPrecondition) as raised:
        await carry_out(control, application_id, change_of(policies=PolicySet()))
    assert raised.value.reason == "CHANGED_MEANWHILE"
    assert await control.load(application_id) == before
    moved = change_of(policies=PolicySet(), customers_upserted=(customer("a"),))
    assert (await carry_out(control, application_id, moved)).policies == PolicySet()


async def test_of_two_sign_ups_with_one_identity_one_wins(
    control: ControlStore, other_control: ControlStore, application_id: str
) -> None:
    for turn in range(10):
        results = await asyncio.gather(
            enter(control, application_id, customer(f"a-{turn}", turn)),
            enter(other_control, application_id, customer(f"b-{turn}", turn)),
            return_exceptions=True,
        )
        assert [isinstance(each, FailedPrecondition) for each in results].count(True) == 1


async def test_many_customers_are_stored_and_told(control: ControlStore, application_id: str) -> None:
    many = [customer(f"c-{number:04}", number) for number in range(1200)]
    await enter(control, application_id, *many)
    found = await changes(control, application_id)
    assert found is not None
    assert len(found.entries) == 1200
    assert len(await control.customers(application_id, [each.name for each in many])) == 1200
    assert len(await control.identity_owners(application_id, [hash_of(n) for n in range(1200)])) == 1200
    await enter(control, application_id, gone=[each.name for each in many])
    assert await control.customer_plans(application_id) == {}

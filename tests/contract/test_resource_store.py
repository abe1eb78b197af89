"""The contract of ResourceStore, and of what ControlStore.change leaves for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.causes import NOBODY, by
from tests.contract.test_control_store import BLOCK, POLICIES, carry_out, change_of, credential
from usageflow.domain.applications import ApplicationSettings, Capture
from usageflow.domain.blocks import block_id
from usageflow.domain.changes import Action, Change
from usageflow.domain.clock import ManualClock
from usageflow.domain.customers import Customer
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from usageflow.domain.listing import Comparison, Every, Negated, Operator, Order, Query, Some
from usageflow.domain.policies import CustomerPlan, PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import ControlStore
from usageflow.storage.resources import DeclaredKind, ResourceStore

HASHES = [f"{number:064x}" for number in range(1, 10)]
NAME = (Order("name"),)
ALL = Query(NAME, 100)
SECOND_US = 1_000_000


def customer(name: str, *identities: str, **fields: Any) -> Customer:
    return Customer(name=name, identities=identities, **fields)


async def enter(control: ControlStore, application_id: str, *customers: Customer, **fields: Any) -> None:
    change = change_of(customers_upserted=customers, **fields)
    await control.change(application_id, change, cause=by("ann"), expected_plan_version=None)


async def test_declared_resources_tell_when_they_were_made_changed_and_deleted(
    control: ControlStore, resources: ResourceStore, application_id: str, clock: ManualClock
) -> None:
    made_us = clock.now_us()
    await carry_out(control, application_id, change_of(policies=POLICIES))
    clock.advance(seconds=1)
    changed = POLICIES.policies[0].model_copy(update={"message": "now"})
    await carry_out(
        control, application_id, change_of(policies=POLICIES.model_copy(update={"policies": (changed,)}))
    )
    rows = {(row.kind, row.name): row for row in (await resources.declared(application_id)).rows}
    policy = rows[DeclaredKind.POLICY, "transactions"].stamp
    assert (policy.created_us, policy.updated_us, policy.version) == (made_us, made_us + SECOND_US, 2)
    assert rows[DeclaredKind.STRATEGY, "by-user"].stamp.version == 1
    clock.advance(seconds=1)
    await carry_out(control, application_id, change_of(policies=PolicySet()))
    found = await resources.declared(application_id)
    assert found.application.revision == 3
    gone = {(row.kind, row.name): row for row in found.rows}[DeclaredKind.POLICY, "transactions"]
    assert gone.stamp.deleted_us == clock.now_us()
    assert '"now"' in gone.document
    await carry_out(control, application_id, change_of(policies=POLICIES))
    back = {(row.kind, row.name): row for row in (await resources.declared(application_id)).rows}
    assert back[DeclaredKind.POLICY, "transactions"].stamp.created_us == made_us
    assert back[DeclaredKind.POLICY, "transactions"].document == ""


async def test_customers_are_listed_by_condition_order_and_place(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    plans = PolicySet(plans=(CustomerPlan(name="pro"), CustomerPlan(name="free")))
    await carry_out(control, application_id, change_of(policies=plans))
    people = [
        customer(f"c-{n}", HASHES[n], plan="pro" if n % 2 else "free", stripe_customer=f"cus_{n}")
        for n in range(6)
    ]
    await enter(control, application_id, *people)

    async def names(
        condition: Any, order: tuple[Order, ...] = NAME, after: tuple[Any, ...] = ()
    ) -> list[str]:
        rows = await resources.list_customers(application_id, Query(order, 3, condition, after))
        return [row.customer.name for row in rows]

    pro = Comparison("plan", Operator.EQUAL, "pro")
    assert await names(Every(())) == ["c-0", "c-1", "c-2"]
    assert await names(Every(()), after=("c-2",)) == ["c-3", "c-4", "c-5"]
    assert await names(pro) == ["c-1", "c-3", "c-5"]
    assert await names(Negated(pro)) == ["c-0", "c-2", "c-4"]
    assert await names(Comparison("name", Operator.EQUAL, "*-4", wild=True)) == ["c-4"]
    assert await names(Comparison("name", Operator.EQUAL, "c-*", wild=True)) == ["c-0", "c-1", "c-2"]
    assert await names(Comparison("stripe_customer", Operator.HAS, "CUS")) == []
    assert await names(Comparison("stripe_customer", Operator.HAS, "s_3")) == ["c-3"]
    owner = Comparison("identity", Operator.EQUAL, HASHES[2])
    assert await names(Some((owner, Comparison("name", Operator.EQUAL, "c-5")))) == ["c-2", "c-5"]
    by_plan = (Order("plan", descending=True), Order("name"))
    assert await names(Every(()), by_plan) == ["c-1", "c-3", "c-5"]
    assert await names(Every(()), by_plan, ("pro", "c-5")) == ["c-0", "c-2", "c-4"]
    by_end = (Order("delete_time"), Order("name"))
    assert await names(Every(()), by_end, (None, "c-2")) == ["c-3", "c-4", "c-5"]
    with pytest.raises(InvalidArgument):
        await names(Comparison("nothing", Operator.EQUAL, "x"))


async def test_a_deleted_customer_is_kept_as_it_was(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    acme = customer("acme", *HASHES[:2], stripe_customer="cus_1")
    await enter(control, application_id, acme)
    change = change_of(customers_deleted=("acme",))
    await control.change(application_id, change, cause=by("ann"), expected_plan_version=None)
    assert list(await resources.list_customers(application_id, ALL)) == []
    (listed,) = await resources.list_customers(application_id, replace(ALL, show_deleted=True))
    row = (await resources.customer_rows(application_id, ["acme", "nobody"]))["acme"]
    assert (row, row.customer, row.stamp.deleted_us is None) == (listed, acme, False)
    assert await control.identity_owners(application_id, HASHES[:2]) == {}


async def test_a_customer_that_somebody_else_changed_is_not_changed(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    await enter(control, application_id, customer("acme"), customer_versions={"acme": 0})
    version = (await resources.customer_rows(application_id, ["acme"]))["acme"].stamp.version
    paying = customer("acme", stripe_customer="cus_1")
    await enter(control, application_id, paying, customer_versions={"acme": version})
    for seen in (0, version):
        with pytest.raises(FailedPrecondition) as raised:
            await enter(control, application_id, customer("acme"), customer_versions={"acme": seen})
        assert raised.value.reason == "CHANGED_MEANWHILE"
    assert (await resources.customer_rows(application_id, ["acme"]))["acme"].customer == paying


async def test_a_customer_enters_no_plan_that_is_not_declared_and_moves_no_plan_version(
    control: ControlStore, application_id: str
) -> None:
    before = await carry_out(
        control, application_id, change_of(policies=PolicySet(plans=(CustomerPlan(name="pro"),)))
    )
    await enter(control, application_id, customer("acme", plan="pro"))
    with pytest.raises(FailedPrecondition):
        await enter(control, application_id, customer("other", plan="gone"))
    assert (await control.load(application_id)).application == before.application


async def test_a_deleted_block_is_kept_and_comes_back(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    await carry_out(control, application_id, change_of(blocks_upserted=(BLOCK,)))
    (made,) = await resources.blocks(application_id)
    assert (made.block_id, made.block, made.stamp.version) == (block_id(BLOCK), BLOCK, 1)
    state = await carry_out(control, application_id, change_of(blocks_deleted=(BLOCK,)))
    (gone,) = await resources.blocks(application_id)
    assert (state.blocks, gone.stamp.deleted_us is None, gone.stamp.version) == ((), False, 2)
    state = await carry_out(control, application_id, change_of(blocks_upserted=(BLOCK,)))
    (back,) = await resources.blocks(application_id)
    assert (state.blocks, back.stamp.deleted_us, back.stamp.version) == ((BLOCK,), None, 3)


async def test_endpoints_are_put_dropped_and_registered_again(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    route = EndpointName("GET", "/a")
    made = await resources.put_endpoint(application_id, route, cause=NOBODY)
    moved = (await control.load(application_id)).application.plan_version
    gone = await resources.drop_endpoint(application_id, route, cause=NOBODY)
    state = await control.load(application_id)
    assert (made.number, gone.stamp.deleted_us is None, state.endpoints) == (1, False, ())
    assert state.application.plan_version > moved
    with pytest.raises(NotFound):
        await resources.drop_endpoint(application_id, route, cause=NOBODY)
    assert list(await resources.list_endpoints(application_id, ALL)) == []
    assert await control.register_endpoints(application_id, [route], now_us=1) == [1]
    again = await control.load(application_id)
    assert again.endpoints == (route,)
    assert again.application.plan_version > state.application.plan_version


async def test_a_deleted_application_is_unknown_with_its_keys_until_it_comes_back(
    control: ControlStore, resources: ResourceStore
) -> None:
    made = await control.create_application("shop", [credential(1)], cause=NOBODY)
    row = await resources.application_row("shop")
    assert row is not None
    settings = ApplicationSettings(name="shop", capture=Capture.FULL, retention_days=90)
    gone = await resources.change_application(
        made.application_id, settings, deleted=True, version=row.stamp.version, cause=NOBODY
    )
    assert gone.settings == settings
    assert await control.find_application("shop") is None
    assert made.application_id not in await control.plan_versions()
    assert await control.find_credential(bytes([1]) * 32) is None
    with pytest.raises(NotFound):
        await control.load(made.application_id)
    with pytest.raises(FailedPrecondition):
        await resources.change_application(
            made.application_id, settings, deleted=False, version=row.stamp.version, cause=NOBODY
        )
    back = await resources.change_application(
        made.application_id, settings, deleted=False, version=gone.stamp.version, cause=NOBODY
    )
    assert await control.find_application("shop") == back.application
    assert [each.settings for each in await resources.list_applications(ALL)] == [settings]


async def test_revisions_have_authors_messages_and_tags(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    await carry_out(control, application_id, change_of(policies=POLICIES, message="why not"))
    first, start = await resources.revisions(application_id, before=None, limit=5)
    assert (first.author, first.author_id, first.message, start.revision) == (
        "ann",
        "id-of-ann",
        "why not",
        0,
    )
    assert list(await resources.revisions(application_id, before=1, limit=5)) == [start]
    tagged = await resources.tag(application_id, 1, "good", cause=NOBODY)
    assert tagged == replace(first, tags=("good",)) == await resources.revision(application_id, "good")
    assert (await resources.tag(application_id, 0, "good", cause=NOBODY)).revision == 0
    assert await resources.revision(application_id, "1") == first
    assert (await resources.untag(application_id, "good", cause=NOBODY)).tags == ()
    assert await resources.revision(application_id, "good") is None
    assert await resources.revision(application_id, "9" * 40) is None
    with pytest.raises(NotFound):
        await resources.tag(application_id, 7, "good", cause=NOBODY)
    with pytest.raises(NotFound):
        await resources.untag(application_id, "good", cause=NOBODY)


async def test_a_receipt_is_stored_with_what_it_is_for_and_once(
    control: ControlStore, resources: ResourceStore, application_id: str
) -> None:
    cause = replace(
        by("ann"), request_id="r-1", payload_hash=b"x", changes=(Change(Action.CREATED, "block", "b"),)
    )
    now = (await control.load(application_id)).application

    async def send(expected: int) -> Any:
        change = change_of(blocks_upserted=(BLOCK,))
        return await control.change(application_id, change, cause=cause, expected_plan_version=expected)

    changed = await send(now.plan_version)
    receipt = await resources.receipt("id-of-ann", "r-1")
    assert receipt is not None
    assert (receipt.method, receipt.payload_hash, receipt.resource_id) == ("test", b"x", "b")
    assert await resources.receipt("id-of-bob", "r-1") is None
    with pytest.raises(FailedPrecondition):
        await send(changed.plan_version)
    assert (await control.load(application_id)).application == changed


async def test_what_is_old_is_forgotten_unless_it_is_needed(
    control: ControlStore, resources: ResourceStore, application_id: str, clock: ManualClock
) -> None:
    await carry_out(control, application_id, change_of(policies=POLICIES, blocks_upserted=(BLOCK,)))
    await enter(control, application_id, customer("acme", HASHES[0]))
    await carry_out(control, application_id, change_of(policies=PolicySet(), blocks_deleted=(BLOCK,)))
    change = change_of(customers_deleted=("acme",))
    await control.change(application_id, change, cause=by("ann"), expected_plan_version=None)
    await resources.tag(application_id, 0, "start", cause=NOBODY)
    clock.advance(seconds=10)
    await carry_out(control, application_id, change_of(policies=POLICIES))
    old_us = clock.now_us() - 5 * SECOND_US
    assert await resources.purge(revisions_us=old_us, deleted_us=old_us, receipts_us=old_us) > 0
    kept = await resources.revisions(application_id, before=None, limit=10)
    assert [row.revision for row in kept] == [3, 0]
    assert list(await resources.blocks(application_id)) == []
    (row,) = (await resources.customer_rows(application_id, ["acme"])).values()
    assert row.customer == customer("acme")
    assert (await control.load(application_id)).policies == POLICIES
    assert await resources.purge(revisions_us=old_us, deleted_us=old_us, receipts_us=old_us) == 0

"""The contract of ResourceStore: conditions, pages, and what changes of others leave."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.causes import by
from tests.contract.test_control_store import BLOCK, POLICIES, carry_out, change_of
from tests.contract.test_directories import PRO, customer, hash_of
from usageflow.domain.applications import ApplicationSettings, Capture
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from usageflow.domain.listing import Comparison, Condition, Every, Negated, Operator, Order, Query, Some
from usageflow.domain.policies import PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import ControlStore
from usageflow.storage.resources import ResourceStore

EQUAL, UNEQUAL, HAS, LESS = Operator.EQUAL, Operator.UNEQUAL, Operator.HAS, Operator.LESS
GREATER = Operator.GREATER_OR_EQUAL


def query(condition: Condition = Every(()), *order: str, **fields: Any) -> Query:  # noqa: B008 - a frozen value
    """A query; a minus sign before a field turns the order around."""
    wanted = tuple(Order(each.removeprefix("-"), each.startswith("-")) for each in (order or ("name",)))
    return replace(Query(wanted, limit=50, condition=condition), **fields)


async def names(resources: ResourceStore, application_id: str, asked: Query) -> list[str]:
    return [row.customer.name for row in await resources.list_customers(application_id, asked)]


@pytest.fixture
async def filled(control: ControlStore, application_id: str, clock: ManualClock) -> str:
    """An application with customers, one of them deleted, entered a second apart."""
    await carry_out(control, application_id, change_of(policies=PRO))
    customers = [
        customer("0-zoe", 1, plan="pro"),
        customer("acme-1", 2, plan="pro", stripe_customer="cus_1"),
        customer("b-b"),
    ]
    for each in [*customers, customer("gone", 4, plan="free")]:
        clock.advance(seconds=1)
        await carry_out(control, application_id, change_of(customers_upserted=(each,)))
    await carry_out(control, application_id, change_of(customers_deleted=("gone",)))
    return application_id


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Every(()), ["0-zoe", "acme-1", "b-b"]),
        (Comparison("plan", EQUAL, "pro"), ["0-zoe", "acme-1"]),
        (Comparison("plan", UNEQUAL, "pro"), ["b-b"]),
        (Comparison("name", EQUAL, "acme*", wild=True), ["acme-1"]),
        (Comparison("name", EQUAL, "ACME*", wild=True), []),
        (Comparison("name", EQUAL, "*b", wild=True), ["b-b"]),
        (Comparison("name", HAS, "e-"), ["acme-1"]),
        (Comparison("name", HAS, "%"), []),
        (Comparison("stripe_customer", HAS, "_"), ["acme-1"]),
        (Comparison("name", GREATER, "acme-1"), ["acme-1", "b-b"]),
        (Comparison("create_time", LESS, 3_000_000), ["0-zoe", "acme-1"]),
        (Comparison("identity", EQUAL, hash_of(2)), ["acme-1"]),
        (Negated(Comparison("delete_time", LESS, 5)), ["0-zoe", "acme-1", "b-b"]),
        (
            Some((Comparison("stripe_customer", EQUAL, "cus_1"), Comparison("name", EQUAL, "b-b"))),
            ["acme-1", "b-b"],
        ),
    ],
)
async def test_conditions(
    resources: ResourceStore, filled: str, clock: ManualClock, condition: Condition, expected: list[str]
) -> None:
    begin = clock.now_us() - 4_000_000
    if isinstance(condition, Comparison) and condition.field == "create_time":
        condition = Comparison("create_time", LESS, begin + int(condition.value or 0))
    assert await names(resources, filled, query(condition)) == expected


async def test_what_cannot_be_asked_for_is_refused(resources: ResourceStore, filled: str) -> None:
    with pytest.raises(InvalidArgument):
        await names(resources, filled, query(Comparison("colour", EQUAL, "red")))


@pytest.mark.parametrize("order", [("name",), ("-name",), ("plan", "-name"), ("-delete_time", "name")])
async def test_pages_hold_everything_once_in_order(
    resources: ResourceStore, filled: str, order: tuple[str, ...]
) -> None:
    whole = await resources.list_customers(filled, query(Every(()), *order, show_deleted=True))
    assert len(whole) == 4
    after: tuple[Any, ...] = ()
    for row in whole:
        (next_row,) = await resources.list_customers(
            filled, query(Every(()), *order, show_deleted=True, after=after, limit=1)
        )
        assert next_row == row
        fields = {"name": row.customer.name, "plan": row.customer.plan, "delete_time": row.stamp.deleted_us}
        after = tuple(fields[each.removeprefix("-")] for each in order)
    assert not await resources.list_customers(
        filled, query(Every(()), *order, show_deleted=True, after=after)
    )


async def test_a_deleted_customer_is_kept_as_it_was(resources: ResourceStore, filled: str) -> None:
    row = (await resources.customer_rows(filled, ["gone", "nobody"]))["gone"]
    assert row.customer == customer("gone", 4, plan="free")
    assert row.stamp.deleted_us is not None


async def test_what_is_declared_keeps_its_times(
    control: ControlStore, resources: ResourceStore, application_id: str, clock: ManualClock
) -> None:
    await carry_out(control, application_id, change_of(policies=POLICIES, blocks_upserted=(BLOCK,)))
    clock.advance(seconds=1)
    await carry_out(control, application_id, change_of(policies=PolicySet(), blocks_deleted=(BLOCK,)))
    rows = (await resources.declared(application_id)).rows
    assert [(row.kind.value, row.name, row.stamp.version) for row in rows] == [
        ("policy", "transactions", 2),
        ("strategy", "by-user", 2),
    ]
    assert {row.stamp.deleted_us for row in rows} == {clock.now_us()}
    (block,) = await resources.blocks(application_id)
    assert (block.block, block.stamp.deleted_us) == (BLOCK, clock.now_us())


async def test_endpoints_are_listed_deleted_and_brought_back(
    resources: ResourceStore, application_id: str
) -> None:
    for template in ("/b", "/a"):
        await resources.put_endpoint(application_id, EndpointName("GET", template), cause=by("ann"))
    dropped = await resources.drop_endpoint(application_id, EndpointName("GET", "/a"), cause=by("ann"))
    assert (dropped.number, dropped.stamp.deleted_us is None) == (2, False)
    with pytest.raises(NotFound):
        await resources.drop_endpoint(application_id, EndpointName("GET", "/a"), cause=by("ann"))
    (left,) = await resources.list_endpoints(application_id, query(Comparison("number", EQUAL, 1)))
    assert left.endpoint == EndpointName("GET", "/b")
    back = await resources.put_endpoint(application_id, EndpointName("GET", "/a"), cause=by("ann"))
    assert (back.number, back.stamp.deleted_us) == (2, None)
    listed = await resources.list_endpoints(application_id, query(Every(()), "-name"))
    assert [row.endpoint.template for row in listed] == ["/b", "/a"]


async def test_of_two_changes_of_settings_one_wins(
    resources: ResourceStore, other_resources: ResourceStore, application_id: str
) -> None:
    settings = ApplicationSettings(name="demo", capture=Capture.FULL, retention_days=7)
    changes = (
        each.change_application(application_id, settings, deleted=False, version=1, cause=by("ann"))
        for each in (resources, other_resources)
    )
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert [isinstance(each, FailedPrecondition) for each in results].count(True) == 1
    row = await resources.application_row("demo")
    assert row is not None
    assert (row.settings, row.stamp.version) == (settings, 2)
    listed = await resources.list_applications(query(Comparison("capture", EQUAL, "FULL")))
    assert list(listed) == [row]


async def test_tags_name_revisions_and_keep_them(
    control: ControlStore, resources: ResourceStore, application_id: str, clock: ManualClock
) -> None:
    for policies in (POLICIES, PolicySet(), POLICIES):
        await carry_out(control, application_id, change_of(policies=policies))
    await resources.tag(application_id, 1, "good", cause=by("ann"))
    clock.advance(seconds=1)
    await resources.purge(revisions_us=clock.now_us(), deleted_us=0, receipts_us=0)
    assert [row.revision for row in await resources.revisions(application_id, before=None, limit=9)] == [3, 1]
    tagged = await resources.revision(application_id, "good")
    assert tagged is not None
    assert (tagged.revision, tagged.tags) == (1, ("good",))
    with pytest.raises(NotFound):
        await resources.tag(application_id, 2, "gone", cause=by("ann"))
    assert (await resources.untag(application_id, "good", cause=by("ann"))).revision == 1
    with pytest.raises(NotFound):
        await resources.untag(application_id, "good", cause=by("ann"))


async def test_no_tag_is_left_on_a_revision_that_is_purged_meanwhile(
    control: ControlStore, resources: ResourceStore, other_resources: ResourceStore, clock: ManualClock
) -> None:
    for turn in range(8):
        made = await control.create_application(f"app-{turn}", [], cause=by("ann"))
        await carry_out(control, made.application_id, change_of(policies=POLICIES))
        clock.advance(seconds=1)
        tagged, _ = await asyncio.gather(
            resources.tag(made.application_id, 0, "first", cause=by("ann")),
            other_resources.purge(revisions_us=clock.now_us(), deleted_us=0, receipts_us=0),
            return_exceptions=True,
        )
        there = await resources.revision(made.application_id, "0") is not None
        assert there == (not isinstance(tagged, NotFound))

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from admin.applying import Applied, Applying, Wanted
from admin.turns import Turns
from tests.causes import NOBODY
from tests.unit.fakes import HASH_KEY, FakeControl, hashed_block, limit, policy, strategy
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from usageflow.domain.policies import Block, Policy, PolicySet, Strategy
from usageflow.storage.notices import LocalNotices
from usageflow.storage.ports import ApplicationState, ControlStore, NumberKind
from usageflow.storage.sql import SqlControlStore, open_sqlite, prepare

ONE, TWO, THREE = policy("one", limits=[limit(1, scope="SHARED")]), policy("two"), policy("three")


class Notices(LocalNotices):
    published = 0

    def publish(self) -> None:
        self.published += 1


class Desk:
    """The use-case over the real store."""

    def __init__(self, control: ControlStore) -> None:
        self.control = control
        self.notices = Notices()
        self.applying = Applying(control, self.notices, HASH_KEY)

    async def apply(self, policies: PolicySet, *blocks: Block, **fields: Any) -> Applied:
        return await self.applying.apply(Wanted("demo", policies, blocks, **fields), NOBODY)

    async def state(self) -> ApplicationState:
        found = await self.control.find_application("demo")
        assert found is not None
        return await self.control.load(found.application_id)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock()
    prepare(tmp_path / "usageflow.db", clock)
    database = open_sqlite(tmp_path / "usageflow.db")
    control = SqlControlStore(database, clock)
    await control.create_application("demo", [], cause=NOBODY)
    yield Desk(control)
    await database.close()


def declared(*policies: Policy, strategies: tuple[Strategy, ...] = ()) -> PolicySet:
    return PolicySet(policies=policies, strategies=strategies)


def lines(applied: Applied) -> list[str]:
    return [f"{item.action} {item.kind} {item.name}" for item in applied.changes]


async def test_strategies_and_policies_become_those_of_the_set_deletions_first(desk: Desk) -> None:
    first = await desk.apply(declared(ONE, TWO, strategies=(strategy("s1"), strategy("s2"))))
    assert first.revision == 1
    assert lines(first) == [
        "CREATED strategy s1",
        "CREATED strategy s2",
        "CREATED policy one",
        "CREATED policy two",
    ]
    changed = policy("one", limits=[limit(9, scope="SHARED")])
    second = await desk.apply(declared(changed, THREE, strategies=(strategy("s2"),)))
    assert second.revision == 2
    assert lines(second) == [
        "DELETED strategy s1",
        "DELETED policy two",
        "CREATED policy three",
        "UPDATED policy one",
    ]
    assert (await desk.state()).policies == declared(changed, THREE, strategies=(strategy("s2"),))
    assert desk.notices.published == 2


async def test_an_unchanged_set_makes_no_revision(desk: Desk) -> None:
    full = declared(ONE, policy("metered", metering={"price": "price_1"}), strategies=(strategy(),))
    block = Block(path="/internal/*", identity="mallory")
    await desk.apply(full, block)
    before = await desk.state()
    again = await desk.apply(full, block)
    assert again == Applied(1, ())
    assert await desk.state() == before
    assert desk.notices.published == 1


async def test_only_another_order_is_one_change(desk: Desk) -> None:
    await desk.apply(declared(ONE, TWO))
    applied = await desk.apply(declared(TWO, ONE))
    assert applied.revision == 2
    assert lines(applied) == ["UPDATED policy order of declaration"]


async def test_nothing_is_saved_where_there_is_a_fault(desk: Desk) -> None:
    before = await desk.state()
    with pytest.raises(InvalidArgument) as error:
        await desk.apply(declared(policy("p", "no/slash"), policy("p", strategy="nobody")), Block(path="bad"))
    assert [fault.field for fault in error.value.faults] == [
        "policies[1].name",
        "policies[0].match.path",
        "policies[1].strategy",
        "blocks[0].path",
    ]
    assert await desk.state() == before
    assert desk.notices.published == 0


async def test_validate_only_tells_and_saves_nothing(desk: Desk) -> None:
    await desk.apply(declared(ONE))
    before = await desk.state()
    applied = await desk.apply(declared(TWO), Block(path="/x"), validate_only=True)
    assert applied.revision == 1
    assert lines(applied) == ["DELETED policy one", "CREATED policy two", "CREATED block * /x"]
    assert await desk.state() == before


async def test_blocks_are_stored_by_hash_only_and_named_by_what_was_written(desk: Desk) -> None:
    applied = await desk.apply(declared(), Block(path="/x", identity="mallory", reason="abuse"))
    assert lines(applied) == ["CREATED block * /x for mallory"]
    assert applied.revision == 0
    assert (await desk.state()).blocks == (hashed_block("/x", "mallory", "abuse"),)


async def test_blocks_are_upserted_and_deleted_only_with_prune(desk: Desk) -> None:
    await desk.apply(declared(), Block(path="/x", reason="old"), Block(path="/y", identity="u"))
    updated = await desk.apply(declared(), Block(path="/x", reason="new"))
    assert lines(updated) == ["UPDATED block * /x"]
    assert {block.path for block in (await desk.state()).blocks} == {"/x", "/y"}
    pruned = await desk.apply(declared(), Block(path="/x", reason="new"), prune=True)
    stored = hashed_block("/y", "u").identity
    assert lines(pruned) == [f"DELETED block * /y for hash:{stored[:12]}"]
    assert [(block.path, block.reason) for block in (await desk.state()).blocks] == [("/x", "new")]
    assert lines(await desk.apply(declared(), prune=True)) == ["DELETED block * /x"]
    assert (await desk.state()).blocks == ()


async def test_the_order_and_case_of_methods_make_no_other_block(desk: Desk) -> None:
    await desk.apply(declared(), Block(methods=("PUT", "get"), path="/x"))
    assert lines(await desk.apply(declared(), Block(methods=("GET", "PUT"), path="/x"))) == []
    assert lines(await desk.apply(declared(), Block(methods=("PUT", "GET"), path="/x", reason="r"))) == [
        "UPDATED block PUT,GET /x"
    ]
    assert len((await desk.state()).blocks) == 1
    await desk.apply(declared(), prune=True)
    assert (await desk.state()).blocks == ()


async def test_what_plans_name_gets_numbers(desk: Desk) -> None:
    named = strategy(
        "s", "X-User", sources=[{"in": "header", "name": "X-User"}, {"in": "query", "name": "Key"}]
    )
    await desk.apply(declared(ONE, strategies=(named,)))
    assert set((await desk.state()).numbers) == {
        (NumberKind.POLICY, "one"),
        (NumberKind.ATTRIBUTE, "header x-user"),
        (NumberKind.ATTRIBUTE, "query Key"),
    }


async def test_an_unknown_application_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound) as error:
        await desk.applying.apply(Wanted("other", declared()), NOBODY)
    assert error.value.reason == "APPLICATION_NOT_FOUND"


async def no_pause(_: float) -> None:
    return


@pytest.mark.parametrize(("races", "saved"), [(0, True), (39, True), (40, False)])
async def test_a_race_is_tried_again_and_then_given_up(races: int, saved: bool) -> None:
    control = FakeControl()
    control.add()
    control.races = races
    desk = Desk(control)
    desk.applying = Applying(control, desk.notices, HASH_KEY, turns=Turns(pause=no_pause))
    if saved:
        assert (await desk.apply(declared(ONE))).revision == 1
        return
    with pytest.raises(FailedPrecondition) as error:
        await desk.apply(declared(ONE))
    assert error.value.reason == "CHANGED_MEANWHILE"
    assert control.saved == []
    assert desk.notices.published == 0

"""Customers beside policies: a sign-up is in force after the next refresh, and nothing is compiled for it."""

from __future__ import annotations

import pytest

from admin.customers import stored
from decision.plan import Plan
from decision.snapshots import SnapshotRegistry
from tests.unit.decision.benches import USER, Bench
from tests.unit.fakes import (
    APPLICATION_KEY,
    KEY_OF,
    FakeControl,
    customer,
    limit,
    plan,
    policy,
    request,
    strategy,
)
from usageflow.domain.customers import Customer
from usageflow.domain.policies import PolicySet
from usageflow.storage.notices import LocalNotices

POLICIES = PolicySet(
    strategies=(strategy(),),
    policies=(policy("p", limits=[limit(3)], **USER),),
    plans=(plan("pro", policy="p", limit=1000),),
)


class Registry(SnapshotRegistry):
    compiled = 0

    def _compile(self, *args: object) -> object:  # type: ignore[override]
        self.compiled += 1
        return super()._compile(*args)  # type: ignore[arg-type]


@pytest.fixture
def control() -> FakeControl:
    made = FakeControl()
    made.add(POLICIES)
    return made


@pytest.fixture
def registry(control: FakeControl) -> Registry:
    return Registry(control, LocalNotices(), KEY_OF)


def sign_up(control: FakeControl, *customers: Customer) -> None:
    control.enter("app-1", *[stored(each, APPLICATION_KEY) for each in customers])


async def loaded(registry: SnapshotRegistry) -> Plan:
    await registry.refresh()
    found = registry.plan("app-1")
    assert found is not None
    return found


async def left(registry: SnapshotRegistry) -> int:
    state = (await loaded(registry)).snapshot
    return (await Bench().one(state, request(user="u"))).limits[0].standing.remaining


async def test_a_customer_is_in_force_and_the_trie_is_the_same_object(
    control: FakeControl, registry: Registry
) -> None:
    before = await loaded(registry)
    numbers = before.snapshot.endpoint_numbers
    assert await left(registry) == 2
    sign_up(control, customer("acme", "u", plan="pro"))
    assert await left(registry) == 999
    after = await loaded(registry)
    assert after.snapshot.trie is before.snapshot.trie
    assert after.snapshot.endpoint_numbers is numbers
    assert after.instructions is before.instructions
    assert after.memo is not before.memo
    assert after.requests is not before.requests
    assert registry.compiled == 1
    assert before.snapshot.directory.empty, "decisions that have begun keep what they began with"
    sign_up(control, customer("acme", "u", overrides=[{"policy": "p", "limit": 50}]))
    assert await left(registry) == 49
    control.enter("app-1", gone=["acme"])
    assert await left(registry) == 2
    assert registry.compiled == 1


async def test_an_unchanged_directory_leaves_the_plan_alone(control: FakeControl, registry: Registry) -> None:
    sign_up(control, customer("acme", "u", plan="pro"))
    first = await loaded(registry)
    assert await loaded(registry) is first


async def test_customers_stay_under_new_policies_and_their_plan_follows(
    control: FakeControl, registry: Registry
) -> None:
    sign_up(control, customer("acme", "u", plan="pro"))
    assert await left(registry) == 999
    better = plan("pro", policy="p", limit=2000)
    control.set("app-1", POLICIES.model_copy(update={"plans": (better,)}))
    assert await left(registry) == 1999
    assert registry.compiled == 2


async def test_customers_are_in_force_under_the_last_good_policies(
    control: FakeControl, registry: Registry
) -> None:
    await registry.refresh()
    control.set("app-1", PolicySet(policies=(policy("broken", "no/slash"),)))
    sign_up(control, customer("acme", "u", plan="pro"))
    assert await left(registry) == 999

from __future__ import annotations

from dataclasses import replace

import pytest

from admin.customers import stored
from decision.engine import Engine
from decision.headroom import MOST_IDENTITIES, Headroom, HeadroomAsk, HeadroomFound
from decision.questions import HttpRequest, Terms, question_by_name
from decision.snapshots import SnapshotRegistry
from tests.unit.fakes import (
    APPLICATION_KEY,
    KEY_OF,
    FakeControl,
    FakeIdentities,
    SilentStore,
    customer,
    limit,
    plan,
    policy,
    request,
    resilient,
    strategy,
)
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, NotFound, Unavailable
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.policies import Mode, PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.expressions import compile_term
from usageflow.storage.identities import KnownIdentity
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import LocalNotices

POLICIES = PolicySet(
    strategies=(
        strategy(),
        strategy("by-key", "X-Api-Key"),
        strategy("any", "X-User", on_missing="ANONYMOUS_PER_IP"),
    ),
    policies=(
        policy("everybody", limits=[limit(100)]),
        policy("mine", limits=[limit(5, name="hourly")], strategy="by-user"),
        policy("keyed", limits=[limit(7)], strategy="by-key", condition='request.headers["x-a"] == "1"'),
        policy("apart", "/a/*", limits=[limit(4, scope="IDENTITY_AND_ENDPOINT")], strategy="by-user"),
        policy("named", "/n", limits=[limit(3)], strategy="any"),
        policy("trial", limits=[limit(1)], strategy="by-user", mode=Mode.SHADOW),
    ),
    plans=(plan("pro", policy="mine", limit_name="hourly", limit=50),),
)
ENDPOINTS = (EndpointName("GET", "/a/{id}"), EndpointName("POST", "/a/{id}"), EndpointName("GET", "/b"))


class Bench:
    """A service with customer acme: ann, whose plain value is known by usage, and a key that is kept as a hash."""

    def __init__(self) -> None:
        self.control, self.clock = FakeControl(), ManualClock()
        self.application_id = self.control.add(POLICIES).application_id
        acme = customer("acme", "ann", "key-1", plan="pro")
        self.control.enter(self.application_id, stored(acme, APPLICATION_KEY))
        self.snapshots = SnapshotRegistry(self.control, LocalNotices(), KEY_OF, None, compile_term)
        self.store = SilentStore(self.clock)
        self.engine = Engine(resilient(self.store), MemoryCounterStore(self.clock), self.clock, lambda: "r")
        known = FakeIdentities(KnownIdentity("v:ann", keyed_hash(APPLICATION_KEY, "ann"), 7))
        self.headroom = Headroom(self.control, self.snapshots, self.engine, self.clock, self.control, known)

    async def loaded(self) -> Bench:
        await self.control.register_endpoints(self.application_id, ENDPOINTS, now_us=0)
        await self.snapshots.refresh()
        return self

    async def take(self, item: HttpRequest) -> None:
        plan = self.snapshots.plan(self.application_id)
        assert plan is not None
        await self.engine.decide(plan.snapshot, [question_by_name(plan.snapshot, item, Terms())])

    async def ask(self, *identities: str, **fields: object) -> HeadroomFound:
        ask = HeadroomAsk("demo", identities)
        return await self.headroom.list(replace(ask, **fields))  # type: ignore[arg-type]


def rooms(found: HeadroomFound, index: int = 0) -> dict[str, tuple[int, int]]:
    """Returns (used, limit) of each limit of an identity, by policy and endpoint."""
    return {
        f"{room.limit.policy} {room.endpoint.method if room.endpoint else ''}".strip(): (
            room.used,
            room.limit.rule.capacity,
        )
        for room in found.identities[index].limits
    }


async def test_every_limit_that_may_be_an_identitys_is_told_and_nothing_is_taken() -> None:
    bench = await Bench().loaded()
    await bench.take(request("/b", "bob"))
    found = await bench.ask("bob", "cid")
    for again in (found, await bench.ask("bob", "cid")):
        assert rooms(again) == {
            "mine": (1, 5),
            "everybody": (1, 100),
            "keyed": (0, 7),
            "apart GET": (0, 4),
            "named": (0, 3),
        }
        assert rooms(again, 1)["mine"] == (0, 5)
    assert next(iter(found.identities[0].limits)).percent == 20
    assert [each.customer for each in found.identities] == ["", ""]


async def test_endpoints_that_count_apart_are_told_apart() -> None:
    bench = await Bench().loaded()
    await bench.take(
        HttpRequest("POST", route="/a/{id}", parameters={"id": "1"}, attributes=[("header", "X-User", "bob")])
    )
    found = await bench.ask("bob", policies=("apart",))
    assert rooms(found) == {"apart POST": (1, 4)}


async def test_a_customers_identities_are_told_with_its_plan() -> None:
    bench = await Bench().loaded()
    await bench.take(request("/b", "ann"))
    key = ("header", "X-Api-Key", "key-1")
    await bench.take(HttpRequest("GET", "/b", attributes=[key, ("header", "x-a", "1")]))
    found = await bench.ask(customer="acme")
    by_title = {each.identity: index for index, each in enumerate(found.identities)}
    hashed = f"hash:{keyed_hash(APPLICATION_KEY, 'key-1').hex()[:12]}"
    assert set(by_title) == {"ann", hashed}
    assert {each.customer for each in found.identities} == {"acme"}
    assert rooms(found, by_title["ann"])["mine"] == (1, 50)
    assert rooms(found, by_title[hashed])["keyed"] == (1, 7)
    (mine,) = (each for each in found.identities[by_title["ann"]].limits if each.limit.policy == "mine")
    assert mine.limit.source == "plan pro"
    assert (await bench.ask("ann")).identities[0].customer == "acme"


async def test_anonymous_callers_have_their_own() -> None:
    bench = await Bench().loaded()
    await bench.take(request("/n", client_ip="1.2.3.4"))
    assert rooms(await bench.ask("anonymous:1.2.3.4", policies=("named", "mine")))["named"] == (1, 3)


async def test_a_hash_is_taken_whole() -> None:
    bench = await Bench().loaded()
    key = ("header", "X-Api-Key", "key-2")
    await bench.take(HttpRequest("GET", "/b", attributes=[key, ("header", "x-a", "1")]))
    hashed = keyed_hash(APPLICATION_KEY, "key-2").hex()
    assert rooms(await bench.ask(f"hash:{hashed}"))["keyed"] == (1, 7)


@pytest.mark.parametrize(
    ("identities", "fields", "field"),
    [
        ((), {}, "identities"),
        (("u",) * (MOST_IDENTITIES + 1), {}, "identities"),
        (("u",), {"policies": ("mine", "other")}, "policies[1]"),
    ],
)
async def test_what_cannot_be_asked_is_said(
    identities: tuple[str, ...], fields: dict[str, object], field: str
) -> None:
    bench = await Bench().loaded()
    with pytest.raises(InvalidArgument) as caught:
        await bench.ask(*identities, **fields)
    assert caught.value.faults[0].field == field


async def test_what_there_is_not_is_not_found() -> None:
    bench = await Bench().loaded()
    with pytest.raises(NotFound, match="no customer 'x'"):
        await bench.ask(customer="x")
    with pytest.raises(NotFound, match="no application 'x'"):
        await bench.ask("u", application="x")


async def test_silent_counters_are_unavailable() -> None:
    bench = await Bench().loaded()
    bench.store.error = Unavailable("gone")
    with pytest.raises(Unavailable):
        await bench.ask("u")

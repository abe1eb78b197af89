from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.python.client.tests.lease_service import SECOND, BucketModel, Model, WindowModel, ideal
from clients.python.client.tests.lease_world import CLIENTS, World
from usageflow.client._core.demand import MAX_LIFE_US, MAX_TOKENS, ONE, counted, expected, sized
from usageflow.client._core.denials import Denial
from usageflow.client._core.lease import Grant, LeaseTerms, Returned
from usageflow.client._core.leases import Answer, Check, Leased, LeaseMachine
from usageflow.client._core.verdict import Verdict
from usageflow.v1 import common_pb2 as common

ALLOW = Answer(Verdict(common.DECISION_ALLOW, common.REASON_WITHIN_LIMITS))
DENY = Answer(
    Verdict(common.DECISION_DENY, common.REASON_LIMIT_EXCEEDED, retry_after_us=SECOND), cacheable=True
)


def life_of(model: Model) -> int:
    return SECOND if isinstance(model, BucketModel) else min(10 * SECOND, model.window_us)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([WindowModel, BucketModel]),
    st.sampled_from([(40, SECOND), (400, SECOND), (300, 3 * SECOND), (1_000, 20 * SECOND)]),
    st.sampled_from([0.7, 1.0, 2.0, 5.0]),
    st.sampled_from([0.0, 0.05, 0.4]),
    st.sampled_from([(0, 0), (200, 3_000), (1_000, 24_000)]),
    st.lists(st.tuples(st.integers(0, 3_500_000), st.integers(0, 3)), max_size=5),
    st.integers(0, 2**32),
)
def test_nothing_is_admitted_beyond_the_limit_and_every_lease_ends_once(
    kind: Any,
    size: tuple[int, int],
    load: float,
    loss: float,
    delay_us: tuple[int, int],
    changes: list[tuple[int, int]],
    seed: int,
) -> None:
    model = kind(*size)
    world = World(model, seed=seed, life_us=life_of(model), delay_us=delay_us, loss=loss)
    world.load(load * size[0] * SECOND / size[1], 4)
    for at_us, what in changes:
        world.at(at_us, partial(change, world, what))
    world.run()
    world.close()

    assert model.overshoot(world.admitted) <= 0
    for lease_id, (tokens, _) in world.grants.items():
        assert world.uses[lease_id] <= tokens + world.paid[lease_id]
        assert world.ends[lease_id] == 1
    for machine in world.machines:
        told = machine.status()
        assert told.held == 0
        assert told.granted == told.used + told.returned + told.expired


def change(world: World, what: int) -> None:
    """Voids all leases by another epoch, or lets every second client know a plan whose key is the same or another one."""
    if what == 3:
        world.revise(epoch=world.now_us)
        return
    for client in range(0, CLIENTS, 2):
        world.change(client, attributes=1 + what)


@pytest.mark.parametrize("load", [0.9, 1.0, 1.5])
@pytest.mark.parametrize(
    "model",
    [
        WindowModel(100, SECOND),
        WindowModel(1_000, SECOND),
        WindowModel(100, 10 * SECOND),
        WindowModel(1_000, 10 * SECOND),
        BucketModel(100, SECOND),
        BucketModel(100, 10 * SECOND),
        BucketModel(1_000, 10 * SECOND),
    ],
    ids=lambda model: f"{type(model).__name__} {model.limit}/{model.window_us // SECOND}s",
)
def test_in_steady_load_less_than_one_percent_is_withheld(model: Model, load: float) -> None:
    fresh = type(model)(model.limit, model.window_us)
    world = World(fresh, seed=1, life_us=life_of(model), delay_us=(200, 3_000))
    rate = load * model.limit * SECOND / model.window_us
    seconds = min(120, int(8_000 / rate))
    world.load(rate, seconds)
    world.run()
    # Steady: after the burst that a bucket begins with is used up, which takes two windows at 1.5 times its rate.
    steady_us = 3 * model.window_us if isinstance(model, BucketModel) else 0
    possible = ideal(type(model)(model.limit, model.window_us), world.arrived)
    assert fresh.overshoot(world.admitted) <= 0
    assert after(steady_us, world.admitted) >= 0.99 * after(steady_us, possible)


def after(start_us: int, times: list[int]) -> int:
    return sum(at_us >= start_us for at_us in times)


@pytest.mark.parametrize("model", [WindowModel(10_000, 60 * SECOND), BucketModel(10_000, 60 * SECOND)])
def test_a_warm_identity_rarely_waits(model: Model) -> None:
    world = World(model, seed=2, life_us=life_of(model), delay_us=(200, 3_000))
    world.load(100, 40)
    world.run()
    assert world.waited < 0.01 * len(world.arrived) + 4 * CLIENTS
    assert world.asked < 0.3 * len(world.arrived)


@given(st.integers(1, MAX_LIFE_US), st.integers(2, 2_000))
def test_requests_that_come_evenly_are_expected_exactly(gap_us: int, requests: int) -> None:
    life_us = min(gap_us * 10, MAX_LIFE_US)
    weight = 0
    for _ in range(max(requests, 400)):
        weight = counted(weight, gap_us, life_us)
    asked = life_us / gap_us if gap_us < life_us else 0
    assert asked * 0.95 - 1 <= expected(weight) <= asked + 1


@given(st.lists(st.integers(-1_000, 2 * MAX_LIFE_US), max_size=50), st.integers(1, MAX_LIFE_US))
def test_weights_stay_where_doubles_count_exactly(gaps: list[int], life_us: int) -> None:
    weight = MAX_TOKENS * ONE
    for gap_us in gaps:
        weight = counted(weight, gap_us, life_us)
        assert ONE <= weight <= MAX_TOKENS * ONE
        assert weight * life_us < 2**53
        assert 0 <= sized(expected(weight), lost=True) <= sized(expected(weight), lost=False) <= MAX_TOKENS


def test_memory_is_bounded_whatever_asks() -> None:
    machine = LeaseMachine([LeaseTerms(1, (1,), SECOND), LeaseTerms(2, (1,), 0)], max_keys=10)
    for n in range(200):
        lease(machine, f"user-{n}", f"lease-{n}".encode())
        denied = machine.ask(2, (f"user-{n}",), 1, 0)
        assert isinstance(denied, Check)
        machine.answered(denied, DENY, sent_us=0, now_us=0)
    assert machine.status().held == 10
    assert len(machine._holdings) == len(machine._leases) == len(machine._denials) == 10
    assert isinstance(machine.ask(2, ("user-199",), 1, 0), Denial)
    returns = machine.returns(0)
    assert returns == [Returned(f"lease-{n}".encode(), 0) for n in range(180, 190)], "the newest"
    machine.close(0)
    machine.unsent(returns)
    assert [item.lease_id for item in machine.returns(0)] == [f"lease-{n}".encode() for n in range(190, 200)]
    machine.returns(SECOND)
    assert not machine._expiries


def lease(machine: LeaseMachine, user: str, lease_id: bytes) -> None:
    """Makes a key warm, and grants it a token."""
    while True:
        said = machine.ask(1, (user,), 1, 0)
        assert isinstance(said, Check)
        grant = Grant(lease_id, 1, SECOND) if said.wish else None
        machine.answered(said, Answer(ALLOW.verdict, grant), sent_us=0, now_us=0)
        if grant is not None:
            return


def test_a_lease_is_used_and_told() -> None:
    machine = LeaseMachine([LeaseTerms(1, (1,), SECOND)])
    lease(machine, "alice", b"a")
    said = machine.ask(1, ("alice",), 1, SECOND - 1)
    assert isinstance(said, Leased)
    assert said.lease_id == b"a"
    assert said.verdict().allowed


@pytest.mark.parametrize("life_us", [-1, MAX_LIFE_US + 1])
def test_a_life_beyond_what_is_granted_is_refused(life_us: int) -> None:
    with pytest.raises(ValueError, match="wish a life of 0 to 10000000 microseconds"):
        LeaseTerms(1, (), life_us)

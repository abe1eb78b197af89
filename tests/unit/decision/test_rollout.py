"""enforce_percent: some identities meet the policy, the others its shadow."""

from __future__ import annotations

from decision.plan import build_plan
from decision.reported import Verdict
from tests.unit.decision.benches import USER, Bench, names
from tests.unit.decision.reported_items import billed, desk, event
from tests.unit.fakes import limit, metering, policy, request, snapshot, strategy
from usageflow.domain.decisions import Reason
from usageflow.domain.policies import Policy
from usageflow.domain.rollout import picked


def half(**fields: object) -> Policy:
    return policy("half", limits=[limit(1)], **{"enforce_percent": 50, **USER, **fields})


USERS = [f"u{n}" for n in range(40)]
IN = [user for user in USERS if picked("half", f"v:{user}", 50)]
OUT = [user for user in USERS if user not in IN]


async def test_the_picked_are_denied_and_the_others_only_told(bench: Bench) -> None:
    state = snapshot(half())
    for user in USERS:
        first, second = await bench.ask(state, *[request(user=user)] * 2)
        assert first.allowed
        assert second.allowed == (user in OUT)
        assert [item.would_deny for item in second.shadow] == ([True] if user in OUT else [])
        assert second.identity is not None
        assert second.identity.key == f"v:{user}"
        assert names(second) == ([] if user in OUT else ["half"])
    assert IN
    assert OUT


async def test_who_is_added_by_a_higher_percentage_starts_with_empty_counters(bench: Bench) -> None:
    await bench.ask(snapshot(half()), *[request(user=OUT[0])] * 3)
    answers = await bench.ask(snapshot(half(enforce_percent=100)), *[request(user=OUT[0])] * 2)
    assert [answer.allowed for answer in answers] == [True, False]


async def test_nobody_is_picked_by_0_percent(bench: Bench) -> None:
    state = snapshot(half(enforce_percent=0))
    answers = [(await bench.ask(state, *[request(user=user)] * 2))[1] for user in USERS]
    assert all(answer.allowed and answer.reason is Reason.NO_POLICY for answer in answers)


async def test_anonymous_callers_are_on_one_side_each(bench: Bench) -> None:
    state = snapshot(half())
    for number in range(20):
        address = f"192.0.2.{number}"
        answers = await bench.ask(state, *[request(client_ip=address)] * 3)
        enforced = picked("half", f"a:{address}", 50)
        assert [answer.allowed for answer in answers] == [True, not enforced, not enforced]


async def test_shared_callers_are_on_one_side_together(bench: Bench) -> None:
    for percent in range(0, 101, 10):
        state = snapshot(policy("half", limits=[limit(1)], enforce_percent=percent))
        answers = await bench.ask(state, *[request(user=user) for user in USERS])
        assert len({bool(answer.policies) for answer in answers}) == 1
        assert bool(answers[0].policies) == picked("half", "", percent)


async def test_stop_holds_for_the_picked_only(bench: Bench) -> None:
    state = snapshot(half(path="/a", stop=True), policy("wide", limits=[limit(9)]), endpoints=[("GET", "/a")])
    assert names(await bench.one(state, request(user=IN[0]))) == ["half"]
    assert names(await bench.one(state, request(user=OUT[0]))) == ["wide"]
    (instruction,) = build_plan(state).instructions.values()
    assert instruction.local is not None  # the plan is for everybody


async def test_a_required_identity_is_required_of_nobody_who_is_left_out(bench: Bench) -> None:
    for percent in (0, 100):
        state = snapshot(half(enforce_percent=percent), strategies=[strategy(on_missing="DENY")])
        answer = await bench.one(state, request())
        assert answer.allowed == (percent == 0)


def test_only_the_picked_are_metered() -> None:
    state = snapshot(half(metering=metering()))
    for user in USERS:
        record = event(desk(state), identity=f"v:{user}", endpoint=("GET", "/x"), path="", verdict=Verdict())
        assert [name for name, _ in billed(record)] == (["half"] if user in IN else [])
        assert record.usage[0].identity == f"v:{user}"

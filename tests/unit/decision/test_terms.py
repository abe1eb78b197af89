"""Conditions and costs in decisions and reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decision.questions import HttpRequest, Terms, question_by_name
from decision.reported import Verdict
from tests.unit.decision.benches import USER, Bench, left, names
from tests.unit.decision.reported_items import COUNT, batch, billed, desk, event
from tests.unit.fakes import customer, hashed_block, limit, metering, policy, request, snapshot, strategy
from usageflow.domain.decisions import Answer, Reason
from usageflow.domain.expressions import EvaluationFailed, Facts, Value
from usageflow.domain.policies import MAX_UNITS, Mode, Policy
from usageflow.domain.snapshot import Snapshot
from usageflow.expressions import Expression

GOLD = "request.headers['x-tier'] == 'gold'"
BROKEN = "request.body.nobody == 1"


def asked(tier: str = "gold", user: str = "u", **body: Any) -> HttpRequest:
    fields = [("body_json", name, json.dumps(value)) for name, value in body.items()]
    return request(attributes=[("header", "X-Tier", tier), ("header", "X-User", user), *fields])


def gold(name: str = "gold", **fields: Any) -> Policy:
    return policy(name, "/a", **{"limits": [limit(9)], "condition": GOLD, **fields})


def failures(answer: Answer) -> list[tuple[str, str]]:
    return [(item.policy, item.field) for item in answer.failures]


async def test_a_policy_whose_condition_is_false_does_not_apply(bench: Bench) -> None:
    state = snapshot(gold(stop=True), gold("trial", mode=Mode.SHADOW), policy("all", limits=[limit(5)]))
    held = await bench.one(state, asked())
    assert (names(held), left(held), [item.policy.name for item in held.shadow]) == (
        ["gold"],
        {"gold": 8},
        [],
    )
    other = await bench.one(state, asked("silver"))
    assert (names(other), left(other), other.shadow) == (["all"], {"all": 4}, ())
    assert (await bench.one(state, request())).failures == ()


async def test_nothing_applies_where_no_condition_holds(bench: Bench) -> None:
    state = snapshot(gold(strategy="deny"), strategies=[strategy("deny", on_missing="DENY")])
    answer = await bench.one(state, request())
    assert (answer.allowed, answer.reason) == (True, Reason.NO_POLICY)


async def test_a_shadows_condition_counts_too(bench: Bench) -> None:
    state = snapshot(gold(mode=Mode.SHADOW), gold("failing", condition=BROKEN, mode=Mode.SHADOW))
    assert [item.policy.name for item in (await bench.one(state, asked())).shadow] == ["failing", "gold"]
    assert [item.policy.name for item in (await bench.one(state, asked("x"))).shadow] == ["failing"]


async def test_a_condition_that_fails_leaves_the_policy_but_not_its_stop(bench: Bench) -> None:
    state = snapshot(gold(condition=BROKEN, stop=True), policy("all", limits=[limit(5)]))
    answer = await bench.one(state, asked())
    assert (names(answer), left(answer)) == (["gold", "all"], {"gold": 8, "all": 4})
    assert failures(answer) == [("gold", "condition")]
    assert names(await bench.one(state, asked(nobody=1))) == ["gold"]


async def test_failures_are_told_where_no_counter_has_a_say(bench: Bench) -> None:
    state = snapshot(gold(condition=BROKEN, limits=[]))
    assert failures(await bench.one(state, asked())) == [("gold", "condition")]


async def test_a_condition_sees_who_its_own_strategy_finds(bench: Bench) -> None:
    state = snapshot(
        gold("known", condition="identity.value == 'u' && !identity.anonymous", **USER),
        gold("token", condition="identity.anonymous", strategy="other"),
        gold("nobody", condition="identity.anonymous && identity.value == ''"),
        strategies=[strategy(), strategy("other", "X-Other")],
    )
    assert names(await bench.one(state, asked())) == ["known", "nobody", "token"]
    assert names(await bench.one(state, asked(user="v"))) == ["nobody", "token"]


async def test_a_condition_sees_the_clock(bench: Bench) -> None:
    state = snapshot(gold(condition="request.time < timestamp('2023-11-14T22:13:21Z')"))
    assert names(await bench.one(state, asked())) == ["gold"]
    bench.clock.advance(seconds=1)
    assert names(await bench.one(state, asked())) == []


async def test_blocks_ask_for_no_condition(bench: Bench) -> None:
    answer = await bench.one(snapshot(gold(), blocks=[hashed_block()]), asked("x"))
    assert answer.reason is Reason.BLOCKED


@pytest.mark.parametrize(("sent", "cost"), [(3, 3), (2.01, 3), (0, 0), (0.2, 1), (MAX_UNITS, MAX_UNITS)])
async def test_a_cost_is_worked_out_and_rounded_up(bench: Bench, sent: float, cost: int) -> None:
    state = snapshot(gold(cost="request.body.n", limits=[limit(MAX_UNITS)]))
    answer = await bench.one(state, asked(n=sent))
    assert (left(answer), failures(answer)) == ({"gold": MAX_UNITS - cost}, [])


@pytest.mark.parametrize("sent", [-1, MAX_UNITS + 1, 1e300, "five", None])
async def test_what_is_no_cost_costs_1(bench: Bench, sent: object) -> None:
    state = snapshot(gold(cost="request.body.n"))
    answer = await bench.one(state, asked(n=sent))
    assert (left(answer), failures(answer)) == ({"gold": 8}, [("gold", "cost")])


async def test_no_number_at_all_costs_1(bench: Bench) -> None:
    for number, text in enumerate(("0.0 / 0.0", "1.0 / 0.0", "1 / 0")):
        answer = await bench.one(snapshot(gold(f"p{number}", cost=text)), asked())
        assert [item.cost for item in answer.limits] == [1]
        assert len(answer.failures) == 1


async def test_the_callers_own_cost_beats_the_expression(bench: Bench) -> None:
    answer = await bench.one(snapshot(gold(cost="1 / 0")), asked(), Terms(4))
    assert (left(answer), answer.failures) == ({"gold": 5}, ())


async def test_an_expression_is_evaluated_once_for_all_policies_that_share_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = snapshot(
        gold("a", cost="2", enforce_percent=50),
        gold("b", cost="2", limits=[limit(9, name="x"), limit(9, name="y")]),
        gold("c", cost="2", mode=Mode.SHADOW),
    )
    seen: list[str] = []
    evaluate = Expression.evaluate

    def counted(term: Expression, facts: Facts) -> Value | EvaluationFailed:
        seen.append(term.text)
        return evaluate(term, facts)

    monkeypatch.setattr(Expression, "evaluate", counted)
    await bench.one(state, asked())
    assert sorted(seen) == ["2", GOLD]


METERED = {"metering": metering(), "limits": []}


def metered(condition: str) -> Snapshot:
    return snapshot(
        policy("cond", "/things/:id", condition=condition, **METERED),  # type: ignore[arg-type]
        policy("wide", **METERED),  # type: ignore[arg-type]
        endpoints=[("GET", "/things/{id}"), ("GET", "/plain")],
    )


@pytest.mark.parametrize(
    ("condition", "path", "winner"),
    [
        ("request.method == 'GET' && request.route == '/things/{id}'", "/things/1", "cond"),
        ("request.method == 'POST'", "/things/1", "wide"),
        ("request.path == '/things/1'", "/things/1", "cond"),
        ("request.path_parameters.id == '2'", "/things/1", "wide"),
        ("request.path_parameters.id == '2'", "/things/2", "cond"),
        ("int(request.path_parameters.id) > 0", "/things/x", "cond"),
    ],
)
def test_what_a_report_tells_decides_what_is_metered(condition: str, path: str, winner: str) -> None:
    assert billed(event(desk(metered(condition)), path=path)) == [(winner, "price_1")]
    unrouted = event(desk(metered(condition)), path=path, endpoint=("GET", ""))
    assert billed(unrouted) == [(winner, "price_1")]


@pytest.mark.parametrize("condition", [GOLD, "identity.verified", "request.time.getHours() == 1", BROKEN])
def test_what_a_report_does_not_tell_held_for_the_policy_that_decided(condition: str) -> None:
    state = metered(condition)
    cond, wide = (item.number for item in state.policies)
    for number, winner in ((cond, "cond"), (wide, "wide"), (0, "wide")):
        record = event(desk(state), verdict=Verdict(policy_number=number), path="/things/1")
        assert billed(record) == [(winner, "price_1")]
        assert record.usage[0].series.policy == winner


def test_a_count_has_no_values_of_its_route() -> None:
    state = metered("request.path_parameters.id == '2'")
    cond = state.policies[0].number
    for number, winner in ((cond, "cond"), (0, "wide")):
        count = COUNT._replace(endpoint=("GET", "/things/{id}"), verdict=Verdict(policy_number=number))
        assert billed(batch(count, at=desk(state))) == [(winner, "price_1")]
    plain = snapshot(policy("cond", "/plain", condition="request.path == '/plain'", metering=metering()))
    count = COUNT._replace(endpoint=("GET", "/plain"))
    assert billed(batch(count, at=desk(plain))) == [("cond", "price_1")]


def test_what_a_conditional_policys_strategy_may_have_read_is_stored_hashed() -> None:
    state = snapshot(
        gold(strategy="secret"),
        policy("all", strategy="by-user"),
        strategies=[strategy(), strategy("secret", "X-API-Key")],
    )
    record = event(desk(state), endpoint=("GET", "/a"), path="", identity="v:k")
    assert record.usage[0].identity.startswith("h:")


@pytest.mark.parametrize(
    ("fields", "lasts"),
    [
        ({"condition": GOLD, "cost": "int(request.body.n)"}, True),
        ({"condition": "request.time.getFullYear() > 1970"}, False),
        ({"condition": "request.time.getFullYear() < 1970"}, False),
        ({"cost": "request.time.getFullYear()"}, False),
        ({"condition": BROKEN}, False),
        ({"cost": "-1"}, False),
    ],
)
def test_what_the_time_or_a_failure_has_a_say_in_is_not_remembered(
    bench: Bench, fields: dict[str, Any], lasts: bool
) -> None:
    state = snapshot(policy("p", "/a", limits=[limit(9)], **fields))
    question = question_by_name(state, asked(n=2), Terms())
    assert bench.engine.ready(state, question).lasting is lasts


async def test_a_false_condition_overrides_and_guards_nothing(bench: Bench) -> None:
    guard = {"limit": 1, "window": "1m", "new_identities": 1}
    special = customer("acme", "u", overrides=[{"policy": "gold", "limit_name": "default", "limit": 50}])
    state = snapshot(gold(**USER), strategies=[strategy(guard=guard)], customers=[special])
    for user in "uv":
        answer = await bench.one(state, asked("silver", user))
        assert (answer.allowed, answer.reason, answer.limits) == (True, Reason.NO_POLICY, ())
    assert left(await bench.one(state, asked())) == {"gold": 49}
    denied = await bench.one(state, asked(user="v"))
    assert (denied.allowed, denied.decided_by and denied.decided_by.name) == (False, "gold")

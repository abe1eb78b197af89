from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.python.client.tests.fake_service import endpoint_plan, full_plan
from usageflow.client._core.check import read_result
from usageflow.client._core.plan import PlanState, apply, canonical, duration_us
from usageflow.client._core.verdict import INVALID_REQUEST
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1 import plan_pb2

SKIP, REPORT, CHECK = plan_pb2.PLAN_ACTION_SKIP, plan_pb2.PLAN_ACTION_REPORT, plan_pb2.PLAN_ACTION_CHECK


def test_endpoints_that_the_plan_does_not_name_are_checked_by_name() -> None:
    rule = apply(None, full_plan()).rule(("GET", "/new"))
    assert (rule.number, rule.action) == (0, CHECK)


def test_a_change_adds_replaces_and_removes_and_a_full_plan_replaces_everything() -> None:
    plan = apply(
        None,
        full_plan(endpoint_plan(1, "GET", "/a", SKIP), endpoint_plan(2, "GET", "/b", SKIP), hash_key=b"k"),
    )
    change = plan_pb2.WatchPlanResponse(
        plan_version=2, endpoints=[endpoint_plan(1, "GET", "/a", REPORT)], removed_endpoints=[2, 77]
    )
    changed = apply(plan, change)
    assert changed.rule(("GET", "/a")).action == REPORT
    assert changed.rule(("GET", "/b")).action == CHECK
    assert changed.hash_key == b"k"
    assert 9 in changed.policies
    assert plan.rule(("GET", "/b")).action == SKIP, "plans are values"
    replaced = apply(changed, plan_pb2.WatchPlanResponse(plan_version=3, full=True))
    assert replaced.rule(("GET", "/a")).action == CHECK
    assert not replaced.policies, "deleting the last policy takes effect"


def test_a_rule_says_how_long_tokens_may_live_and_under_which_epoch() -> None:
    endpoints = [
        endpoint_plan(1, "GET", "/a", CHECK, lease_life_ms=1_000, lease_epoch=2**63 - 1),
        endpoint_plan(2, "GET", "/b", CHECK, lease_life_ms=4_000_000_000, lease_epoch=5),
        endpoint_plan(3, "GET", "/c", CHECK),
    ]
    plan = apply(None, full_plan(*endpoints))
    rules = [plan.rule(("GET", path)) for path in ("/a", "/b", "/c", "/new")]
    assert [(rule.lease_life_us, rule.lease_epoch) for rule in rules] == [
        (1_000_000, 2**63 - 1),
        (10_000_000, 5),
        (0, 0),
        (0, 0),
    ]


def test_routes_are_found_in_the_frameworks_spelling() -> None:
    state = PlanState()
    assert state.rule("GET", "/a") is None, "no plan yet"
    names = ("/users/{id}", "/files/{path*}", "{unmatched}", "/odd/{x}")
    state.received(full_plan(*(endpoint_plan(n, "GET", t, SKIP) for n, t in enumerate(names, 1))))
    answer = plan_pb2.RegisterEndpointsResponse()
    answer.endpoints.add(number=4, endpoint=common.Endpoint(method="GET", template="/odd/{x}"))
    state.registered([("GET", "/odd/<weird:x>")], answer)
    found = [
        state.rule("GET", route) for route in ("/users/{id:int}", "/files/{path:path}", "", "/odd/<weird:x>")
    ]
    assert [rule.number if rule else None for rule in found] == [1, 2, 3, 4]


def test_canonical_spelling() -> None:
    assert canonical("/a/{b:int}/{c}/{d:path}") == "/a/{b}/{c}/{d*}"


@given(st.integers(0, 10**9), st.integers(0, 999_999_999))
def test_durations_round_up_to_microseconds(seconds: int, nanos: int) -> None:
    assert 0 <= duration_us(seconds, nanos) * 1_000 - (seconds * 10**9 + nanos) < 1_000


def test_the_window_of_a_calendar_is_the_answers_own() -> None:
    result = wire.CheckResult(decision=common.DECISION_ALLOW, policy_number=9)
    result.limits.add(policy_number=9, window_us=23 * 3_600_000_000)
    verdict = read_result(apply(None, full_plan()), result, 3)
    assert verdict is not None
    assert verdict.limits[0].window_us == 23 * 3_600_000_000


def test_a_result_becomes_a_verdict() -> None:
    plan = apply(None, full_plan())
    result = wire.CheckResult(
        decision=common.DECISION_DENY, reason=common.REASON_LIMIT_EXCEEDED, policy_number=9, retry_after_us=5
    )
    result.identity.value = "alice"
    result.limits.add(policy_number=9, limit_index=0, remaining=0, reset_us=5, exceeded=True)
    result.limits.add(policy_number=9, limit_index=7)
    result.limits.add(policy_number=8)
    verdict = read_result(plan, result, 3)
    assert verdict is not None
    assert not verdict.allowed
    assert [(v.policy, v.limit_name, v.limit, v.window_us) for v in verdict.limits] == [
        ("transactions", "hourly", 100, 3_600_000_000)
    ]
    assert verdict.identity is not None
    assert (verdict.identity.value, verdict.revision, verdict.degraded) == ("alice", 3, None)


def test_a_result_that_decides_nothing_is_no_verdict() -> None:
    plan = apply(None, full_plan())
    assert read_result(plan, wire.CheckResult(), 3) is None
    unavailable = wire.CheckResult(
        status=common.ItemStatus(code=common.ITEM_CODE_UNAVAILABLE), decision=common.DECISION_ALLOW
    )
    assert read_result(plan, unavailable, 3) is None
    bad_path = common.ItemStatus(code=common.ITEM_CODE_INVALID_ARGUMENT, field="request.path")
    assert read_result(plan, wire.CheckResult(status=bad_path), 3) is INVALID_REQUEST

from __future__ import annotations

import pytest

from decision.engine import Engine
from decision.explaining import Explaining, Explanation
from decision.questions import HttpRequest
from decision.snapshots import SnapshotRegistry
from tests.unit.fakes import KEY_OF, FakeControl, SilentStore, limit, policy, request, resilient, strategy
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, NotFound, Unavailable
from usageflow.domain.policies import Mode, PolicySet
from usageflow.expressions import compile_term
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import LocalNotices

POLICIES = PolicySet(
    strategies=(strategy(),),
    policies=(
        policy("everything", limits=[limit(5)], strategy="by-user"),
        policy("posts", "/a", ["POST"]),
        policy("elsewhere", "/b"),
        policy("off", "/a", mode=Mode.DISABLED),
        policy("trial", "/a", limits=[limit(1)], mode=Mode.SHADOW),
        policy("hit", "/a", strategy="by-user", limits=[limit(3)]),
    ),
)


async def explain(
    policies: PolicySet, item: HttpRequest, application: str = "demo", error: Exception | None = None
) -> Explanation:
    control, clock = FakeControl(), ManualClock()
    control.add(policies)
    snapshots = SnapshotRegistry(control, LocalNotices(), KEY_OF, None, compile_term)
    await snapshots.refresh()
    store = SilentStore(clock)
    store.error = error
    engine = Engine(resilient(store), MemoryCounterStore(clock), clock, lambda: "r")
    return await Explaining(control, snapshots, engine).explain(application, item, 0)


async def test_counters_that_do_not_answer_are_unavailable_not_an_answer() -> None:
    with pytest.raises(Unavailable, match="STORE_UNAVAILABLE"):
        await explain(POLICIES, request("/a", "u"), error=Unavailable("gone"))


async def test_every_policy_is_explained_those_that_apply_first() -> None:
    explanation = await explain(POLICIES, request("//a", "u"))
    reasons = {item.name: (item.applies, item.because) for item in explanation.policies}
    assert reasons == {
        "everything": (True, "method and path match"),
        "trial": (True, "method and path match"),
        "hit": (True, "method and path match"),
        "posts": (False, "method GET is not among POST"),
        "elsewhere": (False, "the path does not match /b"),
        "off": (False, "the policy is disabled"),
    }
    assert [item.applies for item in explanation.policies] == [True] * 3 + [False] * 3
    assert explanation.identity_source == "header X-User"
    assert explanation.matched_path == "/a"
    assert explanation.explained.before == (3, 5)
    assert [item.policy.name for item in explanation.explained.answer.shadow] == ["trial"]


async def test_what_stop_leaves_out_is_said() -> None:
    policies = PolicySet(policies=(policy("all", limits=[limit(1)]), policy("health", "/health", stop=True)))
    explanation = await explain(policies, request("/health"))
    reasons = {item.name: item.because for item in explanation.policies}
    assert reasons["all"] == "a more specific policy says stop"
    assert explanation.identity_source == "no policy that applies yields one"


async def test_a_route_is_shown_as_it_is_matched() -> None:
    explanation = await explain(POLICIES, HttpRequest("GET", route="/a/<id>", parameters={"id": "1"}))
    assert explanation.matched_path == "/a/{id}"


async def test_an_unknown_application_and_a_bad_request_are_errors() -> None:
    with pytest.raises(NotFound):
        await explain(POLICIES, request(), application="other")
    with pytest.raises(InvalidArgument):
        await explain(POLICIES, request("bad"))


async def test_a_caller_that_is_not_enforced_is_told_so() -> None:
    policies = PolicySet(policies=(policy("few", limits=[limit(1)], enforce_percent=0),))
    (row,) = (await explain(policies, request())).policies
    assert (row.applies, row.mode) == (True, Mode.SHADOW)
    assert row.because == "method and path match; the caller is not among the 0 % that it is enforced for"


async def test_conditions_are_explained() -> None:
    conditions = {
        "held": "request.method == 'GET'",
        "false": "request.method == 'POST'",
        "broken": "1 / 0 == 1",
    }
    declared = [policy(name, "/a", condition=text, stop=True) for name, text in conditions.items()]
    costly = policy("costly", "/a", cost="request.body.n", limits=[limit(5)], priority=1)
    explanation = await explain(PolicySet(policies=(*declared, costly)), request("/a"))
    assert {item.name: (item.applies, item.because) for item in explanation.policies} == {
        "costly": (
            True,
            'method and path match; its cost failed: Key not found in map : "n"; it costs 1',
        ),
        "broken": (
            True,
            "method and path match; its condition failed: divide by zero; it applies all the same, without stop",
        ),
        "held": (True, "method and path match"),
        "false": (False, "its condition is false"),
    }

from __future__ import annotations

from typing import Any

import pytest

from decision.questions import Terms
from tests.unit.decision.benches import DISABLED, HOUR, SHADOW, USER, Bench, left, names
from tests.unit.fakes import hashed_block, limit, policy, request, snapshot, strategy
from usageflow.domain.decisions import Reason
from usageflow.domain.policies import Mode, OnMissing, Scope
from usageflow.storage.counters import Settlement

# what applies


async def test_without_a_policy_everything_passes(bench: Bench) -> None:
    answer = await bench.one(snapshot(policy(path="/other")), request())
    assert (answer.allowed, answer.reason, answer.revision) == (True, Reason.NO_POLICY, 7)
    assert bench.store.calls == 0


async def test_exactly_n_pass_and_the_answer_says_when_it_goes_on(bench: Bench) -> None:
    state = snapshot(policy("hundred", limits=[limit(100)], message="Slow down", **USER))
    answers = await bench.ask(state, *[request(user="u")] * 101)
    assert [answer.allowed for answer in answers] == [True] * 100 + [False]
    denied = answers[-1]
    assert (denied.reason, denied.retry_after_us, denied.message) == (
        Reason.LIMIT_EXCEEDED,
        HOUR,
        "Slow down",
    )
    assert denied.decided_by is not None
    assert denied.decided_by.name == "hundred"
    assert denied.identity is not None
    assert denied.identity.key == "v:u"
    assert answers[41].limits[0].standing.remaining == 58
    assert answers[41].retry_after_us is None


async def test_all_matching_limits_stack_and_a_denial_debits_none(bench: Bench) -> None:
    state = snapshot(
        policy("wide", "*", limits=[limit(5)], **USER), policy("narrow", "/a", limits=[limit(2)], **USER)
    )
    answers = await bench.ask(state, *[request(user="u")] * 4)
    assert [answer.allowed for answer in answers] == [True, True, False, False]
    assert names(answers[0]) == ["narrow", "wide"]
    assert left(await bench.one(state, request("/b", "u"))) == {"wide": 2}


async def test_the_longest_wait_and_the_most_specific_denial_are_told(bench: Bench) -> None:
    state = snapshot(
        policy("wide", "*", limits=[limit(1, "2h")], message="wide", **USER),
        policy("narrow", "/a", limits=[limit(1, "1h")], message="narrow", **USER),
    )
    await bench.one(state, request(user="u"))
    denied = await bench.one(state, request(user="u"))
    assert denied.retry_after_us == 2 * HOUR
    assert denied.message == "narrow"
    assert [outcome.reset_us for outcome in denied.limits] == [HOUR, 2 * HOUR]


async def test_a_policy_with_room_is_not_named_as_the_denying_one(bench: Bench) -> None:
    state = snapshot(
        policy("wide", "*", limits=[limit(1)], message="wide", **USER),
        policy("narrow", "/a", limits=[limit(9)], message="narrow", **USER),
    )
    await bench.one(state, request(user="u"))
    denied = await bench.one(state, request(user="u"))
    assert denied.message == "wide"
    assert denied.decided_by is not None
    assert denied.decided_by.name == "wide"
    assert [outcome.exceeded for outcome in denied.limits] == [False, True]


async def test_stop_leaves_out_less_specific_limits(bench: Bench) -> None:
    state = snapshot(policy("wide", "*", limits=[limit(1)]), policy("health", "/health", stop=True))
    answers = await bench.ask(state, *[request("/health")] * 3)
    assert all(answer.allowed and names(answer) == ["health"] for answer in answers)
    assert left(await bench.one(state, request("/x"))) == {"wide": 0}


@pytest.mark.parametrize("mode", [SHADOW, DISABLED])
async def test_only_an_enforced_policy_can_say_stop(bench: Bench, mode: Mode) -> None:
    state = snapshot(
        policy("wide", "*", limits=[limit(1)]), policy("health", "/health", stop=True, mode=mode)
    )
    answers = await bench.ask(state, *[request("/health")] * 2)
    assert [answer.allowed for answer in answers] == [True, False]


async def test_a_cost_above_the_limit_is_denied_for_good(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(5), limit(50, name="more")], **USER))
    denied = await bench.one(state, request(user="u"), Terms(cost=6))
    assert (denied.allowed, denied.reason, denied.retry_after_us) == (False, Reason.COST_ABOVE_LIMIT, None)
    assert (await bench.one(state, request(user="u"), Terms(cost=5))).allowed


async def test_cost_is_the_requests_own_else_each_policys(bench: Bench) -> None:
    state = snapshot(policy("one", limits=[limit(10)]), policy("two", limits=[limit(10)], cost=3))
    assert left(await bench.one(state, request())) == {"one": 9, "two": 7}
    assert left(await bench.one(state, request(), Terms(cost=5))) == {"one": 4, "two": 2}


# who is asking


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (Scope.IDENTITY, [True, False, True, False]),
        (Scope.IDENTITY_AND_ENDPOINT, [True, True, True, False]),
        (Scope.SHARED, [True, False, False, False]),
    ],
)
async def test_what_shares_a_counter(bench: Bench, scope: Scope, allowed: list[bool]) -> None:
    state = snapshot(policy(limits=[limit(1, scope=scope)], **USER), endpoints=[("GET", "/a"), ("GET", "/b")])
    asked = [request("/a", "u"), request("/b", "u"), request("/a", "v"), request("/a", "u")]
    assert [answer.allowed for answer in await bench.ask(state, *asked)] == allowed


async def test_a_policy_without_a_strategy_counts_all_callers_as_one(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(2, scope=Scope.IDENTITY_AND_ENDPOINT)]))
    asked = [request("/a", "u"), request("/b", "v"), request("/c")]
    assert [answer.allowed for answer in await bench.ask(state, *asked)] == [True, True, False]


async def test_a_required_identity_that_is_missing_denies(bench: Bench) -> None:
    state = snapshot(
        policy("narrow", "/a", limits=[limit(1)]),
        policy("wide", limits=[limit(9)], message="Sign in", **USER),
        strategies=[strategy(on_missing=OnMissing.DENY)],
    )
    denied = await bench.one(state, request())
    assert (denied.allowed, denied.reason, denied.message) == (False, Reason.IDENTITY_REQUIRED, "Sign in")
    assert denied.decided_by is not None
    assert denied.decided_by.name == "wide"
    assert left(await bench.one(state, request(user="u"))) == {"narrow": 0, "wide": 8}


async def test_stop_frees_from_a_less_specific_policy_that_requires_an_identity(bench: Bench) -> None:
    state = snapshot(
        policy("health", "/health", stop=True),
        policy("wide", **USER),
        strategies=[strategy(on_missing="DENY")],
    )
    assert (await bench.one(state, request("/health"))).allowed
    assert not (await bench.one(state, request("/x"))).allowed


async def test_skip_counts_for_nobody_but_other_limits_hold(bench: Bench) -> None:
    state = snapshot(
        policy("skips", limits=[limit(1)], **USER),
        policy("all", limits=[limit(3)]),
        strategies=[strategy(on_missing="SKIP", allow_unlimited=True)],
    )
    answers = await bench.ask(state, *[request()] * 4)
    assert [answer.allowed for answer in answers] == [True, True, True, False]
    assert left(answers[0]) == {"all": 2}


async def test_anonymous_callers_are_told_apart_by_address(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(1)], **USER))
    asked = [request(client_ip=ip) for ip in ("2001:db8::1", "2001:db8::2", "203.0.113.1", "203.0.113.2")]
    assert [answer.allowed for answer in await bench.ask(state, *asked)] == [True, False, True, True]


# blocks


async def test_a_block_on_an_endpoint_holds_for_everybody_and_beats_stop(bench: Bench) -> None:
    state = snapshot(
        policy("free", "/internal/x", stop=True), blocks=[hashed_block("/internal/*", reason="closed")]
    )
    for item in (request("/internal/x"), request("/internal/x", "u")):
        denied = await bench.one(state, item)
        assert (denied.allowed, denied.reason, denied.message) == (False, Reason.BLOCKED, "closed")
        assert denied.retry_after_us is None
    assert (await bench.one(state, request("/other"))).allowed


async def test_a_block_on_an_identity_holds_where_no_policy_matches(bench: Bench) -> None:
    state = snapshot(blocks=[hashed_block("*", "mallory", "abuse")])
    denied = await bench.one(state, request(user="mallory"))
    assert (denied.allowed, denied.reason, denied.message) == (False, Reason.BLOCKED, "abuse")
    assert denied.identity is not None
    assert denied.identity.key == "v:mallory"
    for user in ("alice", "Mallory", None):
        assert (await bench.one(state, request(user=user))).allowed


async def test_a_block_on_both_holds_for_both_only(bench: Bench) -> None:
    state = snapshot(blocks=[hashed_block("/a", "mallory", methods=["POST"])])
    asked = [
        request("/a", "mallory", "POST"),
        request("/a", "mallory", "GET"),
        request("/b", "mallory", "POST"),
        request("/a", "alice", "POST"),
        request("/a", None, "POST"),
    ]
    assert [answer.allowed for answer in await bench.ask(state, *asked)] == [False, True, True, True, True]


async def test_a_block_finds_an_identity_that_is_kept_as_a_hash(bench: Bench) -> None:
    state = snapshot(blocks=[hashed_block("*", "key-1")], strategies=[strategy("by-key", "X-API-Key")])
    item = request(attributes=(("header", "x-api-key", "key-1"),))
    assert not (await bench.one(state, item)).allowed


async def test_a_block_of_an_address_is_no_block_of_an_anonymous_caller(bench: Bench) -> None:
    state = snapshot(blocks=[hashed_block("*", "203.0.113.1")])
    assert (await bench.one(state, request(client_ip="203.0.113.1"))).allowed


async def test_a_blocked_request_takes_nothing(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(1)], **USER), blocks=[hashed_block("/a", "u")])
    assert not (await bench.one(state, request(user="u"))).allowed
    assert (await bench.one(state, request("/b", user="u"))).allowed


async def test_what_only_the_raw_path_or_only_the_normalised_one_says_is_blocked_both_ways(
    bench: Bench,
) -> None:
    state = snapshot(blocks=[hashed_block("/internal/*")])
    for path in ("/x/../internal/a", "/internal//a", "/%69nternal/a", "/internal/../a"):
        assert not (await bench.one(state, request(path))).allowed


# shadow and disabled


async def test_a_shadow_policy_tells_what_it_would_do_and_never_denies(bench: Bench) -> None:
    state = snapshot(policy("trial", limits=[limit(2, name="tight")], mode=SHADOW, **USER))
    answers = await bench.ask(state, *[request(user="u")] * 3)
    assert all(answer.allowed for answer in answers)
    assert [
        [(item.policy.name, item.would_deny, item.limits) for item in answer.shadow] for answer in answers
    ] == [
        [("trial", False, ())],
        [("trial", False, ())],
        [("trial", True, ("tight",))],
    ]
    assert answers[0].policies == ()


async def test_a_shadow_policy_takes_only_what_the_enforced_ones_admit(bench: Bench) -> None:
    shadow = policy("trial", limits=[limit(2)], mode=SHADOW, **USER)
    state = snapshot(shadow, policy("real", limits=[limit(1)], **USER))
    for expected in (True, False, False):
        assert (await bench.one(state, request(user="u"))).allowed is expected
    freed = snapshot(shadow, policy("real", limits=[limit(50)], **USER))
    would = [answer.shadow[0].would_deny for answer in await bench.ask(freed, *[request(user="u")] * 2)]
    assert would == [False, True]


async def test_a_promoted_shadow_policy_starts_empty(bench: Bench) -> None:
    fields: dict[str, Any] = {"limits": [limit(1)], "strategy": "by-user"}
    await bench.one(snapshot(policy("trial", mode=SHADOW, **fields)), request(user="u"))
    assert (await bench.one(snapshot(policy("trial", **fields)), request(user="u"))).allowed


async def test_a_shadow_policy_never_requires_an_identity(bench: Bench) -> None:
    state = snapshot(
        policy("trial", limits=[limit(1)], mode=SHADOW, **USER), strategies=[strategy(on_missing="DENY")]
    )
    assert (await bench.one(state, request())).allowed


async def test_a_disabled_policy_does_nothing(bench: Bench) -> None:
    state = snapshot(policy("off", limits=[limit(1)], mode=DISABLED))
    answers = await bench.ask(state, *[request()] * 3)
    assert [answer.reason for answer in answers] == [Reason.NO_POLICY] * 3


# batches and reservations


async def test_a_batch_is_one_call_of_the_store_and_each_request_its_own(bench: Bench) -> None:
    state = snapshot(policy(path="/a", limits=[limit(2)], **USER), blocks=[hashed_block("/blocked")])
    asked = [request("/a", user) for user in ("u", "v", "u", "u")] + [request("/blocked"), request("/free")]
    answers = await bench.ask(state, *asked)
    assert [answer.allowed for answer in answers] == [True, True, True, False, False, True]
    assert bench.store.calls == 1


async def test_a_reservation_is_granted_and_settled(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(10)], **USER))
    held = await bench.one(state, request(user="u"), Terms(cost=6, hold_us=60_000_000))
    assert held.reservation is not None
    assert (held.reservation.reservation_id, held.reservation.amount) == ("r1", 6)
    assert held.reservation.expires_us == bench.clock.now_us() + 60_000_000
    assert await bench.engine.amend("app-2", [Settlement("r1", 0)]) == [False]
    assert await bench.engine.amend("app-1", [Settlement("r1", 2)]) == [True]
    assert left(await bench.one(state, request(user="u"))) == {"p": 7}


async def test_a_denial_reserves_nothing(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(5)], **USER))
    denied = await bench.one(state, request(user="u"), Terms(cost=6, hold_us=60_000_000))
    assert denied.reservation is None
    assert await bench.engine.amend("app-1", [Settlement("r1", 0)]) == [False]


@pytest.mark.parametrize(("refund", "expected"), [(True, 9), (False, 4)])
async def test_an_unsettled_reservation_expires_as_asked(bench: Bench, refund: bool, expected: int) -> None:
    state = snapshot(policy(limits=[limit(10)], **USER))
    await bench.one(state, request(user="u"), Terms(5, 60_000_000, refund))
    bench.clock.advance(seconds=61)
    assert left(await bench.one(state, request(user="u"))) == {"p": expected}

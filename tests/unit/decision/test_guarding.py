"""Guards: what an address may do under identities that nobody vouches for."""

from __future__ import annotations

from typing import Any

import pytest

from decision.handler import pack
from decision.questions import Terms, question_by_name
from tests.unit.decision.benches import USER, Bench, left
from tests.unit.fakes import limit, policy, request, snapshot, strategy
from usageflow.domain.decisions import Answer, Reason
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import FailMode, OnMissing
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.counters import Settlement

FEW = "too many new callers from this address"
MANY = "too many requests from this address"


def guarded(*policies: Any, limits: int = 100, **guard: Any) -> Snapshot:
    declared = {"limit": 5, "window": "1m", **guard}
    every = policies or (policy("p", limits=[limit(limits)], message="own words", **USER),)
    return snapshot(*every, strategies=[strategy(guard=declared)])


async def asked(bench: Bench, state: Snapshot, *users: str, client_ip: str = "192.0.2.1") -> list[Answer]:
    return await bench.ask(state, *[request(user=user, client_ip=client_ip) for user in users])


async def test_an_address_is_limited_whatever_names_it_takes() -> None:
    bench, state = Bench(), guarded()
    answers = await asked(bench, state, *"abcdef")
    assert [answer.allowed for answer in answers] == [True] * 5 + [False]
    assert [len(answer.limits) for answer in answers] == [1] * 5 + [2]
    denied = answers[-1]
    assert (denied.reason, denied.message, denied.retry_after_us) == (
        Reason.LIMIT_EXCEEDED,
        MANY,
        60_000_000,
    )
    assert denied.decided_by is not None
    assert denied.decided_by.name == "p"
    assert not denied.repeatable
    (other,) = await asked(bench, state, "a", client_ip="192.0.2.2")
    assert (other.allowed, left(other)) == (True, {"p": 98})


async def test_an_address_has_so_many_callers_within_a_minute() -> None:
    bench, state = Bench(), guarded(limit=1000, new_identities=2)
    answers = await asked(bench, state, *"ababcab")
    assert [answer.allowed for answer in answers] == [True] * 4 + [False, True, True]
    denied = answers[4]
    assert (denied.reason, denied.message) == (Reason.LIMIT_EXCEEDED, FEW)
    assert denied.retry_after_us
    assert not any(answer.slot_id for answer in answers)
    bench.clock.advance(seconds=30)
    await asked(bench, state, "a")
    bench.clock.advance(seconds=30)
    assert [answer.allowed for answer in await asked(bench, state, *"cb")] == [True, False]


async def test_a_denial_leaves_every_sibling_alone() -> None:
    bench, state = Bench(), guarded(limit=3, new_identities=2, limits=1)
    answers = await asked(bench, state, "a", "a", "b", "c", "c", "b")
    assert [answer.allowed for answer in answers] == [True, False, True, False, False, False]
    assert [answer.message for answer in answers if not answer.allowed] == [
        "own words",
        FEW,
        FEW,
        "own words",
    ]


async def test_callers_without_an_address_share_one() -> None:
    bench, state = Bench(), guarded()
    answers = await asked(bench, state, *"abcdef", client_ip="")
    assert [answer.allowed for answer in answers] == [True] * 5 + [False]


async def test_who_is_anonymous_or_vouched_for_is_not_guarded() -> None:
    bench = Bench()
    both = strategy(
        sources=[{"in": "context", "name": "user"}, {"in": "header", "name": "X-User"}],
        guard={"limit": 1, "window": "1m"},
        on_missing=OnMissing.ANONYMOUS_PER_IP,
    )
    state = snapshot(policy("p", limits=[limit(100)], **USER), strategies=[both])
    vouched = request(attributes=(("context", "user", "ann"),), client_ip="192.0.2.1")
    bare = request(client_ip="192.0.2.1")
    answers = await bench.ask(state, *[vouched] * 3, *[bare] * 3)
    assert all(answer.allowed for answer in answers)
    claimed = await asked(bench, state, "x", "x")
    assert [answer.allowed for answer in claimed] == [True, False]


async def test_a_strategy_of_two_policies_is_guarded_once_and_shadows_are_not() -> None:
    bench = Bench()
    both = [policy(name, limits=[limit(100)], **USER) for name in ("p", "q")]
    state = guarded(*both, policy("trial", limits=[limit(1)], mode="SHADOW", **USER))
    answers = await asked(bench, state, *["a"] * 6)
    assert [answer.allowed for answer in answers] == [True] * 5 + [False]
    trial = guarded(policy("trial", limits=[limit(1)], mode="SHADOW", **USER), limit=1)
    assert all(answer.allowed for answer in await asked(Bench(), trial, *"abc"))


async def test_a_policy_without_limits_is_guarded_too() -> None:
    answers = await asked(Bench(), guarded(policy("p", **USER), limit=1), *"ab")
    assert [answer.allowed for answer in answers] == [True, False]


@pytest.mark.parametrize(("fail_mode", "allowed"), [(FailMode.OPEN, True), (FailMode.CLOSED, False)])
async def test_the_policys_fail_mode_decides_for_its_guard(fail_mode: FailMode, allowed: bool) -> None:
    bench, state = Bench(), guarded(policy("p", fail_mode=fail_mode, **USER))
    bench.store.error = Unavailable("down")
    (answer,) = await asked(bench, state, "a")
    assert (answer.allowed, answer.reason) == (allowed, Reason.FAIL_MODE)


async def test_another_number_keeps_the_count() -> None:
    bench = Bench()
    await asked(bench, guarded(), *"abcd")
    assert not (await asked(bench, guarded(limit=4), "a"))[0].allowed
    assert (await asked(bench, guarded(limit=9), "a"))[0].allowed


async def test_tokens_are_not_leased_past_a_guard() -> None:
    state = guarded(limit=1000)
    item = request(user="a", client_ip="192.0.2.1")
    answer = await Bench().one(state, item, Terms(lease_tokens=10, lease_life_us=10_000_000))
    assert (answer.allowed, answer.lease) == (True, None)


async def test_a_settlement_leaves_the_guard_alone() -> None:
    bench, state = Bench(), guarded(limit=3, limits=1000)
    item = request(user="a", client_ip="192.0.2.1")
    answer = await bench.one(state, item, Terms(hold_us=60_000_000))
    assert answer.reservation is not None
    settled = Settlement(answer.reservation.reservation_id, 500)
    assert await bench.engine.amend("app-1", [settled]) == [True]
    answers = await asked(bench, state, *"aaa")
    assert [answer.allowed for answer in answers] == [True, True, False]
    assert left(answers[0]) == {"p": 499}


async def test_messages_tell_the_guard_in_its_own_words() -> None:
    *_, denied = await asked(Bench(), guarded(limit=1), *"ab")
    slim = pack.check_result(denied, by_name=False)
    assert (slim.message, slim.cacheable) == (MANY, False)
    named = pack.check_response(denied)
    assert [(item.policy, item.limit_name, item.exceeded) for item in named.limits] == [
        ("p", "guard", True),
        ("p", "default", False),
    ]


async def test_explain_counts_limits_before_and_after_alike() -> None:
    bench, state = Bench(), guarded(limit=1)
    question = question_by_name(state, request(user="a", client_ip="192.0.2.1"), Terms())
    for seen in (1, 2):
        explained = await bench.engine.explain(state, question)
        assert len(explained.answer.limits) == len(explained.before) == seen
        await asked(bench, state, "a")

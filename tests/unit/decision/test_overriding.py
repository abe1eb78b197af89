"""Overrides as decisions and their messages tell them, for every algorithm."""

from __future__ import annotations

from typing import Any

import pytest

from decision.handler import pack
from decision.judgement import Pending, prepare
from decision.questions import HttpRequest, Terms, question_by_name
from tests.unit.decision.benches import HOUR, USER, Bench
from tests.unit.fakes import customer, limit, plan, policy, request, snapshot
from usageflow.domain.calendars import format_instant
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import FailMode, Limit
from usageflow.domain.snapshot import Snapshot

ALGORITHMS = ("FIXED_WINDOW", "TOKEN_BUCKET", "SLIDING_WINDOW")
PRO = plan("pro", policy="p", limit=1000)


def of(number: int, **fields: Any) -> dict[str, Any]:
    return {"policy": "p", "limit": number, **fields}


def state_of(*overrides: dict[str, Any], declared: Limit | None = None, **fields: Any) -> Snapshot:
    acme = customer("acme", "u", "v", plan=fields.pop("plan", ""), overrides=overrides)
    item = policy("p", limits=[declared or limit(100)], **{**USER, **fields})
    return snapshot(item, plans=[PRO], customers=[acme])


def pending(state: Snapshot, item: HttpRequest, now_us: int = 0) -> Pending:
    found = prepare(state, question_by_name(state, item, Terms()), now_us=now_us)
    assert isinstance(found, Pending)
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_raising_frees_the_difference_at_once_and_cutting_leaves_nothing(algorithm: str) -> None:
    bench, declared = Bench(), limit(100, algorithm=algorithm)
    plain, pro = state_of(declared=declared), state_of(declared=declared, plan="pro")
    first = await bench.one(plain, request(user="u"), Terms(100))
    assert first.allowed
    assert not (await bench.one(plain, request(user="u"))).allowed
    raised = await bench.one(pro, request(user="u"), Terms(900))
    assert (raised.allowed, raised.limits[0].standing.remaining) == (True, 0)
    cut = await bench.one(plain, request(user="u"))
    assert (cut.allowed, cut.limits[0].standing.remaining) == (False, 0)
    assert not (await bench.one(pro, request(user="u"))).allowed


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_identity_has_its_own_counter_and_others_their_own_limit(algorithm: str) -> None:
    bench = Bench()
    state = state_of(of(5), of(7, identity="v"), declared=limit(3, algorithm=algorithm))
    answers = await bench.ask(state, *[request(user=user) for user in ("u", "v", "w")])
    assert [answer.limits[0].standing.remaining for answer in answers] == [4, 6, 2]


async def test_an_override_ends_at_its_instant() -> None:
    bench = Bench()
    end = bench.clock.now_us() + HOUR // 2
    state = state_of(of(5, expires=format_instant(end)), declared=limit(2))
    assert pending(state, request(user="u"), bench.clock.now_us()).until_us == end
    assert (await bench.one(state, request(user="u"), Terms(4))).allowed
    bench.clock.advance(seconds=1799.999999)
    assert (await bench.one(state, request(user="u"))).allowed
    bench.clock.advance(seconds=0.000001)
    over = await bench.one(state, request(user="u"))
    assert (over.allowed, over.limits[0].standing.remaining) == (False, 0)
    assert pending(state, request(user="u"), end).until_us is None


def test_the_first_end_of_all_overrides_that_count_is_told() -> None:
    both = [
        policy("p", limits=[limit(1)], **USER),
        policy("q", limits=[limit(1)], mode="SHADOW", **USER),
        policy("r", limits=[limit(1)], **USER),
    ]
    ends = [{**of(5, expires=9_000_000), "policy": "p"}, {**of(5, expires=7_000_000), "policy": "q"}]
    state = snapshot(*both, customers=[customer("acme", "u", overrides=ends)])
    assert pending(state, request(user="u")).until_us == 7_000_000
    assert pending(state, request(user="u"), 8_000_000).until_us == 9_000_000
    assert pending(state, request(user="x")).until_us is None


async def test_tokens_are_not_leased_past_the_end_of_an_override() -> None:
    bench = Bench()
    state = state_of(of(500, expires=bench.clock.now_us() + 3_000_000))
    wish = Terms(lease_tokens=10, lease_life_us=10_000_000)
    for user, life_us in (("u", 3_000_000), ("w", 10_000_000)):
        answer = await bench.one(state, request(user=user), wish)
        assert answer.lease is not None
        assert answer.lease.life_us == life_us


async def test_nobody_in_particular_is_no_customer() -> None:
    shared = customer("acme", "192.0.2.1", "a:192.0.2.1", overrides=[of(50)])
    state = snapshot(policy("p", limits=[limit(3)], **USER), customers=[shared])
    answer = await Bench().one(state, request(client_ip="192.0.2.1"))
    assert answer.limits[0].standing.remaining == 2


async def test_shadows_are_overridden_alike() -> None:
    bench, state = Bench(), state_of(of(2), declared=limit(1), mode="SHADOW")
    answers = await bench.ask(state, *[request(user="u")] * 3)
    assert [answer.shadow[0].would_deny for answer in answers] == [False, False, True]


async def test_a_sensitive_identity_is_found_by_the_hash_that_clients_send() -> None:
    key = {"in": "header", "name": "X-Api-Key"}
    from tests.unit.fakes import APPLICATION_KEY, strategy
    from usageflow.domain.hashing import keyed_hash

    state = snapshot(
        policy("p", limits=[limit(3)], **USER),
        strategies=[strategy(sources=[key])],
        customers=[customer("acme", "secret", overrides=[of(50)])],
    )
    sent = (
        ("header", "X-Api-Key", "secret"),
        ("header", "X-Api-Key", keyed_hash(APPLICATION_KEY, "secret")),
    )
    answers = await Bench().ask(state, *[HttpRequest("GET", "/a", attributes=(each,)) for each in sent])
    assert [answer.limits[0].standing.remaining for answer in answers] == [49, 48]


async def test_answers_and_messages_show_the_limit_in_force() -> None:
    bench, state = Bench(), state_of(of(5), declared=limit(3))
    for user, shown, slim in (("u", 5, 5), ("w", 3, 0)):
        answer = await bench.one(state, request(user=user))
        assert pack.limit_status(answer.limits[0]).limit == shown
        assert pack.check_result(answer, by_name=False).limits[0].limit == slim


@pytest.mark.parametrize(
    ("user", "source"),
    [
        ("u", "override of customer acme"),
        ("v", "override of customer acme for this identity"),
        ("w", "policy"),
    ],
)
async def test_explain_says_where_a_number_came_from(user: str, source: str) -> None:
    state = state_of(of(5), of(7, identity="v"))
    question = question_by_name(state, request(user=user), Terms())
    explained = await Bench().engine.explain(state, question)
    assert explained.answer.limits[0].limit.source == source


async def test_a_local_fallback_follows_the_override() -> None:
    bench, state = Bench(), state_of(of(2), declared=limit(1), fail_mode=FailMode.LOCAL)
    bench.store.error = Unavailable("down")
    answers = await bench.ask(state, *[request(user="u")] * 3)
    assert [answer.allowed for answer in answers] == [True, True, False]


def test_nothing_is_hashed_where_nobody_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise AssertionError("hashed")

    monkeypatch.setattr("decision.overriding.identity_hash", fail)
    bare = snapshot(policy("p", limits=[limit(1)], **USER), customers=[customer("acme", "u")])
    assert pending(bare, request(user="u")).limits[0].source == "policy"

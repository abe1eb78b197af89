from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.engine import Engine
from decision.handler.pack import check_response
from decision.questions import Terms, question_by_name
from decision.resilience import ResilientStore
from tests.unit.decision.benches import SHADOW, USER, Bench, left
from tests.unit.fakes import (
    SilentStore,
    hashed_block,
    limit,
    policy,
    request,
    resilient,
    snapshot,
    steady,
    strategy,
)
from tests.unit.tokens import jwt_source
from usageflow.domain.decisions import Degraded, DegradedReason, Reason
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import FailMode, Limit, Mode, OnMissing, Policy, Scope
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.counters import Take, Taken
from usageflow.v1 import common_pb2

# failing counters


def mixed(*modes: FailMode) -> Snapshot:
    return snapshot(
        *(
            policy(f"p{n}", limits=[limit(2, name=f"l{n}")], fail_mode=mode, **USER)
            for n, mode in enumerate(modes)
        )
    )


OPEN, CLOSED, LOCAL = FailMode.OPEN, FailMode.CLOSED, FailMode.LOCAL


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("modes", "allowed", "shown"),
    [
        ((OPEN,), [True] * 3, OPEN),
        ((CLOSED,), [False] * 3, CLOSED),
        ((LOCAL,), [True, True, False], LOCAL),
        ((OPEN, CLOSED), [False] * 3, CLOSED),
        ((LOCAL, CLOSED, OPEN), [False] * 3, CLOSED),
        ((OPEN, LOCAL), [True, True, False], LOCAL),
    ],
)
async def test_the_strictest_fail_mode_decides_and_the_answer_says_so(
    bench: Bench, silent: bool, modes: Sequence[FailMode], allowed: list[bool], shown: FailMode
) -> None:
    bench.store.silent, bench.store.error = silent, Unavailable("gone")
    answers = await bench.ask(mixed(*modes), *[request(user="u")] * 3)
    assert [answer.allowed for answer in answers] == allowed
    reason = DegradedReason.STORE_TIMEOUT if silent else DegradedReason.STORE_UNAVAILABLE
    for answer in answers:
        assert answer.degraded is not None
        assert (answer.degraded.reason, answer.degraded.fail_mode) == (reason, shown)
        if shown is not LOCAL:
            assert answer.reason is Reason.FAIL_MODE


@pytest.mark.parametrize(("mode", "allowed"), [(OPEN, True), (CLOSED, False)])
async def test_too_much_in_flight_is_said_and_the_fail_mode_decides(
    bench: Bench, mode: FailMode, allowed: bool
) -> None:
    full = ResilientStore(bench.store, bench.clock, {}, max_in_flight=0)
    bench.engine = Engine(full, bench.local, bench.clock, lambda: "r")
    answer = await bench.one(mixed(mode), request(user="u"))
    assert (answer.allowed, answer.degraded) == (allowed, Degraded(DegradedReason.OVERLOADED, mode))
    assert check_response(answer).degraded.reason == common_pb2.DEGRADED_REASON_OVERLOADED


async def test_local_buckets_refill_at_the_policys_rate(bench: Bench) -> None:
    bench.store.error = Unavailable("gone")
    state = mixed(LOCAL)
    await bench.ask(state, *[request(user="u")] * 2)
    assert not (await bench.one(state, request(user="u"))).allowed
    bench.clock.advance(seconds=1800)
    assert [answer.allowed for answer in await bench.ask(state, *[request(user="u")] * 2)] == [True, False]


async def test_what_needs_no_counter_is_decided_normally_while_they_fail(bench: Bench) -> None:
    bench.store.error = Unavailable("gone")
    state = snapshot(
        policy("counted", "/a", limits=[limit(1)], fail_mode=CLOSED),
        policy("free", "/b", stop=True),
        policy("trial", "/c", limits=[limit(1)], mode=SHADOW, fail_mode=CLOSED),
        policy("named", "/c", **USER),
        blocks=[hashed_block("/blocked")],
    )
    answers = await bench.ask(state, *(request(path, "u") for path in ("/a", "/b", "/c", "/blocked", "/d")))
    assert [answer.allowed for answer in answers] == [False, True, True, False, True]
    assert [answer.degraded is not None for answer in answers] == [True, False, False, False, False]
    assert answers[2].reason is Reason.WITHIN_LIMITS


async def test_a_policy_that_skips_the_caller_has_no_say_in_the_fail_mode(bench: Bench) -> None:
    bench.store.error = Unavailable("gone")
    state = snapshot(
        policy("skips", limits=[limit(1)], fail_mode=CLOSED, **USER),
        policy("all", limits=[limit(1)], fail_mode=OPEN),
        strategies=[strategy(on_missing="SKIP", allow_unlimited=True)],
    )
    assert (await bench.one(state, request())).allowed
    assert not (await bench.one(state, request(user="u"))).allowed


async def test_a_shadow_that_fails_leaves_the_decision_alone(bench: Bench) -> None:
    class ShadowFails(SilentStore):
        async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
            self.error = Unavailable("gone") if self.calls else None
            return await super().take(takes)

    bench.store = ShadowFails(bench.clock)
    bench.engine = Engine(resilient(bench.store), bench.local, bench.clock, lambda: "r")
    state = snapshot(policy("real", limits=[limit(2)]), policy("trial", limits=[limit(2)], mode=SHADOW))
    answer = await bench.one(state, request())
    assert (answer.allowed, answer.reason, answer.degraded) == (True, Reason.WITHIN_LIMITS, None)


# explain


@pytest.mark.parametrize("algorithm", ["FIXED_WINDOW", "TOKEN_BUCKET"])
async def test_explain_takes_nothing_and_says_what_check_will_say(bench: Bench, algorithm: str) -> None:
    state = snapshot(
        policy("real", limits=[limit(3, algorithm=algorithm)], **USER),
        policy("trial", limits=[limit(1)], mode=SHADOW, **USER),
    )
    question = question_by_name(state, request(user="u"), Terms())
    for expected in (True, True, True, False):
        explained = await bench.engine.explain(state, question)
        again = await bench.engine.explain(state, question)
        assert explained == again
        assert explained.answer.allowed is expected
        (answer,) = await bench.engine.decide(state, [question])
        assert answer == explained.answer
        assert explained.before == (left(answer)["real"] + expected,)


async def test_explain_of_what_no_counter_decides(bench: Bench) -> None:
    state = snapshot(blocks=[hashed_block("/a")])
    explained = await bench.engine.explain(state, question_by_name(state, request(), Terms()))
    assert (explained.answer.reason, explained.before) == (Reason.BLOCKED, ())


# property: nobody profits from hiding who they are

limits = st.lists(
    st.builds(
        lambda number, window, algorithm, scope: limit(number, window, algorithm=algorithm, scope=scope),
        st.integers(1, 4),
        st.sampled_from(["1s", "1m", "1h"]),
        st.sampled_from(["FIXED_WINDOW", "TOKEN_BUCKET"]),
        st.sampled_from(list(Scope)),
    ),
    max_size=2,
).map(
    lambda given: [
        Limit.model_validate({**item.model_dump(by_alias=True), "name": f"l{n}"})
        for n, item in enumerate(given)
    ]
)
policies = st.lists(
    st.tuples(
        st.sampled_from(["*", "/a", "/*", "/:x", "/b"]),
        st.sampled_from(["", "s0", "s1"]),
        limits,
        st.sampled_from(list(Mode)),
        st.booleans(),
    ),
    max_size=4,
)
on_missing = st.sampled_from([OnMissing.ANONYMOUS_PER_IP, OnMissing.ANONYMOUS_SHARED, OnMissing.DENY])


EVERYWHERE = [
    {"in": "header", "name": "X-Other"},
    {"in": "query", "name": "user"},
    {"in": "path", "name": "user"},
    {"in": "body", "name": "user.id"},
    {"in": "cookie", "name": "sid"},
    {"in": "context", "name": "user"},
    jwt_source(),
    {"join": [{"in": "body", "name": "org"}, {"in": "context", "name": "user"}]},
]


@steady
@given(
    policies,
    on_missing,
    on_missing,
    st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.integers(0, 40)), max_size=15),
    st.sampled_from(
        [
            (),
            (("header", "X-User", ""),),
            (("header", "X-User", "u"),) * 2,
            (("header", "X-User", "u" * 300),),
            (("jwt", "bearer", "not.a.token"),),
            (("cookie", "sid", ""), ("body", "user.id", " "), ("context", "user", "")),
            (("query", "user", "a"), ("query", "user", "b")),
            (("body", "org", "o"),),
        ]
    ),
)
async def test_a_missing_identity_is_never_limited_less_than_a_known_one(
    given_policies: list[tuple[str, str, list[Limit], Mode, bool]],
    first: OnMissing,
    second: OnMissing,
    steps: list[tuple[str, int]],
    missing: tuple[tuple[str, str, str], ...],
) -> None:
    made: list[Policy] = [
        policy(f"p{n}", path, limits=own, strategy=named, mode=mode, stop=stop)
        for n, (path, named, own, mode, stop) in enumerate(given_policies)
    ]
    state = snapshot(
        *made,
        strategies=[
            strategy("s0", on_missing=first),
            strategy("s1", sources=[*EVERYWHERE, {"in": "header", "name": "X-User"}], on_missing=second),
        ],
    )
    known, hidden = Bench(), Bench()
    for path, gap in steps:
        known.clock.advance(seconds=gap)
        hidden.clock.advance(seconds=gap)
        by_name = await known.one(state, request(path, "u", client_ip="203.0.113.7"))
        nameless = await hidden.one(state, request(path, attributes=missing, client_ip="203.0.113.7"))
        assert by_name.allowed or not nameless.allowed
        if by_name.allowed and not nameless.allowed:
            return  # from here on the one that was denied has more left

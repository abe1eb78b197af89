from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from decision.engine import Engine
from decision.questions import Terms
from tests.unit.decision.benches import USER, Bench, left
from tests.unit.fakes import limit, policy, request, resilient, snapshot
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import Algorithm, FailMode, Limit, Mode
from usageflow.storage.counters import LeaseReturn

S = 1_000_000
WISH = Terms(lease_tokens=10, lease_life_us=60 * S)


@pytest.fixture
def bench() -> Bench:
    made, ids = Bench(), count(1)
    made.engine = Engine(resilient(made.store), made.local, made.clock, lambda: f"{next(ids):032x}")
    return made


@pytest.mark.parametrize(
    ("limits", "life_s"),
    [
        ([limit(100)], 10),
        ([limit(100), limit(100, name="b", algorithm=Algorithm.TOKEN_BUCKET)], 1),
        ([Limit.model_validate({"name": "day", "limit": 100, "align": "day"})], 10),
        ([limit(100), limit(100, name="s", algorithm=Algorithm.SLIDING_WINDOW)], 0),
        ([limit(100), limit(100, name="c", algorithm=Algorithm.CONCURRENCY)], 0),
    ],
)
async def test_tokens_live_as_long_as_the_algorithms_allow(
    bench: Bench, limits: list[Limit], life_s: int
) -> None:
    answer = await bench.one(snapshot(policy(limits=limits, **USER)), request(user="u"), WISH)
    assert answer.allowed
    assert (answer.lease.tokens, answer.lease.life_us) == (10, life_s * S) if answer.lease else life_s == 0


async def test_a_lease_is_paid_for_and_what_is_not_used_comes_back(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(100)], cost=2, **USER))
    answer = await bench.one(state, request(user="u"), WISH)
    assert answer.lease is not None
    assert left(answer) == {"p": 78}
    returned = LeaseReturn(answer.lease.lease_id, 4)
    assert await bench.engine.amend("app-2", [returned]) == [False]
    assert await bench.engine.amend("app-1", [returned]) == [True]
    assert left(await bench.one(state, request(user="u"))) == {"p": 88}


@pytest.mark.parametrize(
    "extra",
    [
        policy("shade", limits=[limit(5)], mode=Mode.SHADOW, **USER),
        policy("some", limits=[limit(5)], enforce_percent=50, **USER),
    ],
)
async def test_what_shadows_must_see_is_not_leased(bench: Bench, extra: object) -> None:
    state = snapshot(policy(limits=[limit(100)], **USER), extra)  # type: ignore[arg-type]
    assert (await bench.one(state, request(user="u"), WISH)).lease is None


@pytest.mark.parametrize(
    ("fields", "leased"),
    [
        ({"condition": "request.headers['x-user'] == 'u'"}, True),
        ({"condition": "request.headers['x-user'] == 'v'"}, True),
        ({"condition": "request.time.getFullYear() > 1970"}, False),
        ({"condition": "request.time.getFullYear() < 1970"}, False),
        ({"condition": "has(request.body.n)"}, False),
        ({"cost": "size(request.path)"}, False),
        ({"cost": "size(request.path)", "condition": "false"}, False),
    ],
)
async def test_expressions_that_must_see_each_request_lease_nothing(
    bench: Bench, fields: dict[str, Any], leased: bool
) -> None:
    state = snapshot(policy(limits=[limit(100)], **USER), policy("more", "/*", limits=[limit(100)], **fields))
    assert ((await bench.one(state, request(user="u"), WISH)).lease is not None) is leased


async def test_denials_and_fail_modes_lease_nothing(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(4)], fail_mode=FailMode.LOCAL, **USER))
    terms = Terms(5, lease_tokens=3, lease_life_us=S)
    assert (await bench.one(state, request(user="u"), terms)).lease is None
    bench.store.error = Unavailable("gone")
    degraded = await bench.one(state, request(user="u"), WISH)
    assert (degraded.allowed, degraded.lease) == (True, None)


async def test_wishes_out_of_bounds_get_nothing_or_what_there_is(bench: Bench) -> None:
    state = snapshot(policy(limits=[limit(10**9)], **USER))
    for tokens, life_us in ((0, S), (-1, S), (5, 0), (5, -S)):
        assert (await bench.one(state, request(user="u"), Terms(0, 0, False, tokens, life_us))).lease is None
    answer = await bench.one(state, request(user="u"), Terms(0, 0, False, 2**62, 2**62))
    assert answer.lease is not None
    assert (answer.lease.tokens, answer.lease.life_us) == (1_000_000, 10 * S)

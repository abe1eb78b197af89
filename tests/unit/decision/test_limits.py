"""Windows of the calendar, sliding windows and charges, as decisions and their messages tell them."""

from __future__ import annotations

from decision.handler import pack
from decision.plan import build_plan
from decision.questions import Terms, question_by_name
from decision.watching import Sent
from tests.unit.decision.benches import HOUR, USER, Bench
from tests.unit.fakes import limit, policy, request, snapshot
from usageflow.domain.calendars import parse_instant
from usageflow.domain.decisions import Reason
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import FailMode, Limit
from usageflow.v1 import common_pb2

SPRING = parse_instant("2026-03-29T10:00:00Z")
DAILY = Limit.model_validate({"limit": 2, "align": "day", "time_zone": "Europe/Berlin"})


def spring() -> Bench:
    bench = Bench()
    bench.clock.advance(seconds=(SPRING - bench.clock.now_us()) / 1_000_000)
    return bench


async def test_an_aligned_window_is_told_with_the_length_of_the_present_one() -> None:
    bench, state = spring(), snapshot(policy(limits=[DAILY], **USER))
    first, _, denied = await bench.ask(state, *[request(user="u")] * 3)
    assert (denied.reason, denied.retry_after_us) == (Reason.LIMIT_EXCEEDED, 12 * HOUR)
    assert pack.limit_status(first.limits[0]).window.seconds == 23 * 3600
    assert pack.check_result(first, by_name=False).limits[0].window_us == 23 * HOUR
    bench.clock.advance(seconds=12 * 3600)
    again = await bench.one(state, request(user="u"))
    assert pack.check_result(again, by_name=False).limits[0].window_us == 24 * HOUR


async def test_a_plan_carries_the_usual_length_and_leases_nothing() -> None:
    sliding = limit(3, algorithm="SLIDING_WINDOW", name="s")
    state = snapshot(policy(limits=[DAILY, sliding]), endpoints=[("GET", "/a")])
    message = pack.plan_response(Sent(build_plan(state), 0))
    daily, slid = message.policies[0].limits
    assert daily.window.seconds == 86_400
    assert (slid.algorithm, slid.window.seconds) == (common_pb2.ALGORITHM_SLIDING_WINDOW, 3600)
    assert not any(endpoint.lease_life_ms for endpoint in message.endpoints)


async def test_another_calendar_starts_another_counter_and_another_number_does_not() -> None:
    bench = spring()
    for changed, left in (
        ({}, 1),
        ({"limit": 9}, 7),
        ({"time_zone": "UTC"}, 1),
        ({"align": "week"}, 1),
        ({"limit": 9}, 6),
    ):
        declared = {**DAILY.model_dump(by_alias=True), **changed}
        state = snapshot(policy(limits=[Limit.model_validate(declared)], **USER))
        answer = await bench.one(state, request(user="u"))
        assert answer.limits[0].standing.remaining == left


async def test_explain_tells_what_the_next_answer_will() -> None:
    bench = spring()
    limits = [
        DAILY,
        limit(5, algorithm="SLIDING_WINDOW", name="sliding"),
        limit(5, algorithm="TOKEN_BUCKET", name="bucket"),
        limit(5, name="fixed"),
    ]
    state = snapshot(policy(limits=limits, **USER))
    for _ in range(2):
        question = question_by_name(state, request(user="u"), Terms())
        explained = await bench.engine.explain(state, question)
        assert explained.answer.limits == (await bench.one(state, request(user="u"))).limits


async def test_shadows_follow_calendars_too() -> None:
    bench, state = spring(), snapshot(policy(limits=[DAILY], mode="SHADOW", **USER))
    answers = await bench.ask(state, *[request(user="u")] * 3)
    assert [answer.shadow[0].would_deny for answer in answers] == [False, False, True]


async def test_a_denial_that_is_charged_is_not_repeated_from_memory() -> None:
    bench = Bench()
    quota = limit(1, name="quota")
    for charged in (False, True):
        abuse = limit(3, "2h", name=f"abuse-{charged}".lower(), charge_denied=charged)
        state = snapshot(policy(f"p-{charged}".lower(), limits=[quota, abuse], **USER))
        answers = await bench.ask(state, *[request(user="u")] * 4)
        assert [answer.limits[1].standing.remaining for answer in answers] == (
            [2, 1, 0, 0] if charged else [2, 2, 2, 2]
        )
        assert answers[-1].retry_after_us == (2 * HOUR if charged else HOUR)
        assert pack.check_result(answers[1], by_name=False).cacheable is not charged


async def test_a_local_fallback_needs_no_calendar() -> None:
    bench = spring()
    state = snapshot(policy(limits=[DAILY], fail_mode=FailMode.LOCAL, **USER))
    bench.store.error = Unavailable("down")
    answers = await bench.ask(state, *[request(user="u")] * 3)
    assert [answer.allowed for answer in answers] == [True, True, False]
    assert answers[-1].retry_after_us == 12 * HOUR  # half of a day's two

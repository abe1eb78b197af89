from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from usageflow.client._core.breaker import CircuitBreaker
from usageflow.client._core.fallback import LocalBuckets, LocalRate
from usageflow.client._core.pacing import Backoff, Throttle


def test_the_breaker_opens_after_failures_in_a_row_and_probes() -> None:
    breaker = CircuitBreaker(threshold=3, open_s=1.0, max_open_s=4.0)
    breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allow(0.0)
        breaker.failed(0.0)
    assert not breaker.allow(0.5)
    assert breaker.allow(1.0)
    assert not breaker.allow(1.0), "one probe at a time"
    breaker.failed(1.0)
    assert not breaker.allow(2.9), "the pause doubles"
    assert breaker.allow(3.0)
    breaker.succeeded()
    assert breaker.allow(3.0)
    assert breaker.allow(3.0)


def test_failures_of_calls_in_flight_do_not_lengthen_the_pause() -> None:
    breaker = CircuitBreaker(threshold=1, open_s=1.0)
    for _ in range(10):
        breaker.failed(0.0)
    assert breaker.allow(1.0)


def test_a_probe_that_never_returns_is_followed_by_another() -> None:
    breaker = CircuitBreaker(threshold=1, open_s=1.0)
    breaker.failed(0.0)
    assert breaker.allow(1.0)
    assert breaker.allow(3.5)


def test_a_service_that_asks_for_a_pause_gets_it_and_news_of_it_end_it() -> None:
    breaker = CircuitBreaker(threshold=5)
    breaker.failed(0.0, hold_s=30.0)
    assert not breaker.allow(29.0)
    breaker.retry_now()
    assert breaker.allow(29.0)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_backoff_grows_to_its_cap_and_never_vanishes(randoms: list[float]) -> None:
    backoff = Backoff(first_s=0.2, cap_s=10.0)
    for attempt, random in enumerate(randoms):
        full = min(10.0, 0.2 * 2**attempt)
        assert full / 2 <= backoff.next(random) <= full
    backoff.reset()
    assert backoff.next(0.0) == 0.1
    assert backoff.next(0.0, at_least_s=30.0) == 30.0


def test_a_throttle_lets_one_through_per_period() -> None:
    throttle = Throttle(60.0)
    assert [throttle.ready(now) for now in (0.0, 1.0, 59.9, 60.0, 61.0)] == [True, False, False, True, False]


@given(
    st.floats(0.5, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_a_local_bucket_never_admits_more_than_burst_and_rate(units: float, gaps: list[float]) -> None:
    buckets, rate, now, admitted = LocalBuckets(), LocalRate(units, 10.0), 100.0, 0
    for gap in gaps:
        now += gap
        wait = buckets.take(("key",), rate, now)
        assert wait >= 0
        admitted += wait == 0
    assert admitted <= max(units, 1) + 1e-6 + units * (now - 100.0) / 10.0 + 1


def test_a_local_bucket_says_when_it_has_room_again_and_forgets_idle_keys() -> None:
    buckets, rate = LocalBuckets(max_keys=2), LocalRate(2, 10.0)
    assert [buckets.take(("a",), rate, 0.0) for _ in range(3)] == [0.0, 0.0, 5.0]
    assert buckets.take(("a",), rate, 5.0) == 0.0
    for key in ("b", "c"):
        buckets.take((key,), rate, 5.0)
    assert buckets.take(("a",), rate, 5.0) == 0.0, "forgotten"

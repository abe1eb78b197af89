from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.attempts import FailureBuckets, address_of

NOW_US = 1_700_000_000_000_000
SECOND = 1_000_000


def failed(buckets: FailureBuckets, times: int, at_us: int = NOW_US, address: str = "a") -> int:
    """Fails as often as it is let, at most so often; returns how often."""
    for number in range(times):
        if buckets.wait_us(address, at_us):
            return number
        buckets.failed(address, at_us)
    return times


def test_so_many_at_once_and_then_one_a_second() -> None:
    buckets = FailureBuckets(burst=5, per_s=1.0)
    assert failed(buckets, 100) == 5
    assert buckets.wait_us("a", NOW_US) == SECOND
    assert buckets.wait_us("a", NOW_US + SECOND // 4) == 750_000
    assert failed(buckets, 100, NOW_US + 2 * SECOND) == 2
    assert failed(buckets, 100, NOW_US + 1000 * SECOND) == 5
    assert buckets.wait_us("b", NOW_US) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = FailureBuckets(burst=2)
    assert failed(buckets, 9) == 2
    assert failed(buckets, 9, NOW_US - 3600 * SECOND) == 0


def test_who_was_not_seen_for_longest_is_forgotten_first() -> None:
    buckets = FailureBuckets(burst=1, addresses=3)
    for address in "abc":
        failed(buckets, 1, address=address)
    buckets.failed("a", NOW_US)
    buckets.failed("d", NOW_US)
    assert len(buckets) == 3
    assert [address for address in "abcd" if not buckets.wait_us(address, NOW_US)] == ["b"]


@steady
@given(st.lists(st.tuples(st.integers(0, 3 * SECOND), st.booleans()), max_size=60))
def test_never_more_than_the_burst_and_the_rate(steps: list[tuple[int, bool]]) -> None:
    buckets, now_us, let = FailureBuckets(burst=4, per_s=2.0), NOW_US, 0
    for step_us, tries in steps:
        now_us += step_us
        let += failed(buckets, 1, now_us) if tries else 0
    assert let <= 4 + (now_us - NOW_US) / SECOND * 2.0 + 1e-6


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:5000", "10.0.0.1"),
        ("ipv6:[::1]:5000", "::/64"),
        ("ipv6:%5B2001:db8:1:2:3::1%5D:5000", "2001:db8:1:2::/64"),
        ("ipv6:[fe80::1%25eth0]:5000", "fe80::/64"),
        ("ipv6:[::ffff:10.0.0.1]:5000", "10.0.0.1"),
        ("unix:/tmp/socket", "unix"),
        ("unix:", "unix"),
        ("", ""),
    ],
)
def test_ports_do_not_matter_and_networks_of_one_caller_are_one(peer: str, address: str) -> None:
    assert address_of(peer) == address


@steady
@given(st.text())
def test_no_peer_is_a_mistake_or_a_long_name(peer: str) -> None:
    assert len(address_of(peer)) <= 64

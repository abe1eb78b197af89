from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import APPLICATION_KEY, steady
from usageflow.domain.analytics import UsageFilter
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.usage import EndpointName
from usageflow.domain.usage_events import EVERYTHING, event_filter, identity_keys


def test_nothing_wished_is_everything() -> None:
    assert event_filter(UsageFilter(), APPLICATION_KEY) == EVERYTHING


def test_an_identity_may_be_plain_or_kept_as_a_hash() -> None:
    hashed = f"h:{keyed_hash(APPLICATION_KEY, 'ann').hex()}"
    assert identity_keys("ann", APPLICATION_KEY) == ("v:ann", hashed)
    assert identity_keys("", APPLICATION_KEY) == ("",)
    assert "a:1.2.3.4" in identity_keys("anonymous:1.2.3.4", APPLICATION_KEY)
    assert f"h:{'ab' * 32}" in identity_keys(f"hash:{'ab' * 32}", APPLICATION_KEY)
    found = event_filter(UsageFilter(identities=("hash:" + "ab" * 6, "hash:short")), APPLICATION_KEY)
    assert found.hashes == ("ab" * 6,)


def test_statuses_and_endpoints_are_read() -> None:
    wish = UsageFilter(
        statuses=(404, 5), endpoints=(EndpointName("get", "/users/:id"), EndpointName("", "{unmatched}"))
    )
    found = event_filter(wish, APPLICATION_KEY)
    assert (found.statuses, found.classes) == ((404,), (5,))
    assert found.endpoints == (EndpointName("GET", "/users/{id}"), EndpointName("", "{unmatched}"))


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (UsageFilter(statuses=(200, 6)), "filter.statuses[1]"),
        (UsageFilter(statuses=(600,)), "filter.statuses[0]"),
        (UsageFilter(endpoints=(EndpointName("GET", "no-slash"),)), "filter.endpoints[0].template"),
        (UsageFilter(policies=("p",) * 101), "filter.policies"),
    ],
)
def test_what_is_no_filter_is_said(wish: UsageFilter, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        event_filter(wish, APPLICATION_KEY)
    assert [fault.field for fault in caught.value.faults] == [field]
    assert all(fault.fix for fault in caught.value.faults)


_TEXT = st.text(max_size=20)


@steady
@given(
    endpoints=st.lists(st.builds(EndpointName, _TEXT, _TEXT), max_size=3),
    identities=st.lists(
        _TEXT | st.from_regex(r"(hash|anonymous):[0-9a-f]{0,70}", fullmatch=True), max_size=3
    ),
    statuses=st.lists(st.integers(0, 2**32 - 1), max_size=3),
)
def test_any_filter_is_applied_or_refused(
    endpoints: list[EndpointName], identities: list[str], statuses: list[int]
) -> None:
    with suppress(InvalidArgument):
        wish = UsageFilter(endpoints=tuple(endpoints), identities=tuple(identities), statuses=tuple(statuses))
        found = event_filter(wish, APPLICATION_KEY)
        assert len(found.statuses) + len(found.classes) == len(statuses)
        assert all(key for key in found.identities if "" not in identities)

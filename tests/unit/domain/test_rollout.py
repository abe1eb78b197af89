from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.rollout import picked

names = st.text(min_size=1, max_size=20)


@steady
@given(names, st.text(max_size=20))
def test_a_higher_percentage_only_adds_identities(policy: str, key: str) -> None:
    picks = [picked(policy, key, percent) for percent in range(101)]
    assert (picks[0], picks[100]) == (False, True)
    assert picks == sorted(picks)


def test_about_as_many_are_picked_as_asked_for() -> None:
    for percent in (1, 10, 50, 90):
        share = sum(picked("p", f"v:user-{n}", percent) for n in range(20_000)) / 200
        assert abs(share - percent) < 1.5


def test_policies_pick_independently() -> None:
    both = sum(picked("p", f"v:{n}", 50) and picked("q", f"v:{n}", 50) for n in range(10_000))
    assert 2_300 < both < 2_700


def test_the_pick_is_the_same_for_ever() -> None:
    assert [n for n in range(100) if picked("transactions", f"v:user-{n}", 5)] == [8, 9, 66]

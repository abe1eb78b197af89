from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decision.accounts import Accounts
from decision.reported import Verdict
from tests.unit.decision.reported_items import STATE, THING, desk, event
from tests.unit.fakes import metering, policy, snapshot

OLDER = snapshot(
    policy("old", "/things/:id", metering=metering("price_old")), endpoints=[("GET", "/things/{id}")]
)
CONDITIONAL = snapshot(
    policy("wide", "*", metering=metering("price_wide")),
    policy(
        "picky", "/plain/:id", condition="request.path_parameters.id == '1'", metering=metering("price_picky")
    ),
    policy("half", "/half", enforce_percent=50, metering=metering("price_half")),
    endpoints=[("GET", "/plain/{id}"), ("GET", "/half"), ("GET", "/things/{id}")],
)

ENDPOINTS = [
    ("GET", "/things/{id}"),
    ("GET", "/plain"),
    ("GET", "/plain/{id}"),
    ("GET", "/half"),
    ("GET", ""),
    THING,
]
PATHS = ["/things/1", "/things/special", "/plain", "/plain/1", "/plain/2", "/half", "/elsewhere"]
reports = st.fixed_dictionaries(
    {
        "endpoint": st.sampled_from(ENDPOINTS),
        "path": st.sampled_from(PATHS),
        "identity": st.sampled_from(["v:ann", "v:bob", "h:" + "ab" * 32, ""]),
        "status": st.sampled_from([200, 429, 500]),
        "verdict": st.builds(
            Verdict,
            understood=st.just(True),
            reason=st.just(""),
            degraded=st.just(""),
            denied=st.sampled_from([None, True, False]),
            policy_number=st.integers(0, 4),
            revision=st.sampled_from([0, 3, 7]),
            shadow=st.sampled_from([(), (1,), (2, 1, 99)]),
        ),
    }
)


@given(state=st.sampled_from([STATE, CONDITIONAL]), items=st.lists(reports, max_size=12))
def test_what_is_remembered_says_what_working_it_out_says(state: Any, items: list[dict[str, Any]]) -> None:
    warm = desk(state, r3=OLDER)
    for item in items:
        assert event(at=warm, **item) == event(at=desk(state, r3=OLDER), **item)


def test_a_route_whose_values_matter_is_worked_out_for_each_path() -> None:
    accounts = Accounts(STATE)
    special = accounts.find(THING, "/things/special", Verdict(), {})
    other = accounts.find(THING, "/things/1", Verdict(), {})
    assert (special.policy, other.policy) == ("special", "things")


def test_one_kind_is_worked_out_once() -> None:
    accounts = Accounts(STATE)
    ref = ("GET", "/plain")
    assert accounts.find(ref, "/plain", Verdict(), {}) is accounts.find(ref, "", Verdict(), {})

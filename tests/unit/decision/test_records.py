from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from decision.reported import Verdict
from tests.unit.decision.reported_items import (
    COUNT,
    DAY_S,
    EVENT,
    NOW,
    NOW_S,
    STATE,
    THING,
    batch,
    billed,
    desk,
    event,
)
from tests.unit.fakes import metering, policy, snapshot
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.usage import EndpointName


def test_an_event_is_stored_counted_and_metered() -> None:
    record = event(quantity=2.5)
    assert (record.record_id, record.day) == (EVENT.event_id, NOW_S // DAY_S)
    (usage,) = record.usage
    assert (usage.series.endpoint, usage.identity, usage.series.status) == (
        EndpointName("GET", "/things/{id}"),
        "v:u",
        200,
    )
    assert (usage.requests, usage.units, usage.second) == (1, Decimal("2.5"), NOW_S)
    assert [item.revision for item in record.metering] == [7, 7]
    assert (usage.request_bytes, usage.response_bytes, usage.latency) == (10, 20, ((250, 1),))
    assert usage.series.policy == "things"
    assert [(item.units, item.requests, item.second, item.identity) for item in record.metering] == [
        (Decimal("2.5"), 1, NOW_S, "v:u")
    ] * 2
    assert record.event is not None
    assert (record.event.time_us, record.event.path, record.event.quantity) == (NOW, "/things/1", 2.5)


def test_one_billing_target_is_billed_once_by_the_most_specific_policy() -> None:
    assert billed(event(path="/things/special")) == [("special", "price_things"), ("wide", "price_wide")]
    assert billed(event(path="/things/1")) == [("things", "price_things"), ("wide", "price_wide")]
    assert billed(event(endpoint=("GET", "/plain"), path="")) == [("wide", "price_wide")]


@pytest.mark.parametrize(
    ("verdict", "status", "denied"),
    [
        (Verdict(), 200, False),
        (Verdict(), 429, True),
        (Verdict(), 500, False),
        (Verdict(denied=True), 200, True),
        (Verdict(denied=False), 429, False),
    ],
)
def test_our_own_denials_are_never_metered(verdict: Verdict, status: int, denied: bool) -> None:
    for record in (
        event(verdict=verdict, status=status),
        batch(COUNT._replace(verdict=verdict, status=status)),
    ):
        assert record.usage[0].series.denied is denied
        assert (record.metering == ()) is denied
        assert (record.usage[0].units == 0) is denied


def test_a_degraded_allow_is_metered() -> None:
    record = event(verdict=Verdict(denied=False, reason="FAIL_MODE", degraded="STORE_TIMEOUT"))
    assert record.usage[0].series.degraded == "STORE_TIMEOUT"
    assert billed(record)


def test_a_counted_event_adds_nothing() -> None:
    record = event(counted=True)
    assert (record.usage, record.metering) == ((), ())
    assert record.event is not None


def test_the_revision_that_decided_prices() -> None:
    older = snapshot(policy("old", "/things/:id", metering=metering("price_old")), revision=3)
    at = desk(r3=older)
    assert billed(event(at, verdict=Verdict(revision=3))) == [("old", "price_old")]
    assert event(at, verdict=Verdict(revision=3)).metering[0].revision == 3
    assert billed(batch(COUNT._replace(verdict=Verdict(revision=3)), at=at)) == [("old", "price_old")]
    assert ("wide", "price_wide") in billed(event(at))


def test_the_policy_that_the_reporter_names_is_shown() -> None:
    number = next(number for number, item in STATE.policy_numbers.items() if item.name == "wide")
    assert event(verdict=Verdict(policy_number=number)).usage[0].series.policy == "wide"
    assert event(verdict=Verdict(policy_number=9999)).usage[0].series.policy == "things"


def test_numbers_and_names_are_the_same_endpoint() -> None:
    assert event(endpoint=THING) == event() == event(endpoint=("get", "/things/:id"))


@pytest.mark.parametrize(
    ("path", "template", "billed_by"),
    [
        ("/things/9", "/things/{id}", ["things", "wide"]),
        ("/x/../things/9", "/things/{id}", ["things", "wide"]),
        ("/x/../things/special", "/things/{id}", ["special", "things", "wide"]),
        ("/nothing", "{unmatched}", ["wide"]),
    ],
)
def test_a_raw_path_is_counted_and_billed_like_it_was_decided(
    path: str, template: str, billed_by: list[str]
) -> None:
    state = snapshot(
        *(
            policy(item.name, item.policy.path, metering=metering(f"price_{item.name}"))
            for item in STATE.policies
            if item.enforced
        ),
        endpoints=[("GET", "/things/{id}")],
    )
    record = event(desk(state), endpoint=("GET", ""), path=path)
    assert record.usage[0].series.endpoint == EndpointName("GET", template)
    assert [name for name, _ in billed(record)] == billed_by


def test_a_policys_pattern_names_what_no_template_does() -> None:
    state = snapshot(policy("p", "/raw/:id/*", metering=metering()))
    record = event(desk(state), endpoint=("GET", ""), path="/raw/1/2/3")
    assert record.usage[0].series.endpoint.template == "/raw/{id}/{rest*}"
    assert billed(record) == [("p", "price_1")]


@pytest.mark.parametrize("path", ["", "*", "/nothing"])
def test_what_no_route_matched_is_billed_by_what_takes_everything(path: str) -> None:
    assert billed(event(endpoint=("GET", "{unmatched}"), path=path)) == [("wide", "price_wide")]
    unmatched = COUNT._replace(endpoint=("GET", "{unmatched}"))
    assert billed(batch(unmatched)) == [("wide", "price_wide")]


def test_a_count_batch_is_one_record() -> None:
    record = batch(COUNT, COUNT._replace(units="12.5", latency=(), second=NOW_S - 9), batch_id="b7")
    assert (record.record_id, record.day, record.event) == ("b7", 0, None)
    assert [(item.requests, item.units, item.second) for item in record.usage] == [
        (5, Decimal(5), NOW_S),
        (5, Decimal("12.5"), NOW_S - 9),
    ]
    assert [item.latency for item in record.usage] == [((3, 2), (9, 3)), ()]
    assert [item.units for item in record.metering] == [
        Decimal(5),
        Decimal(5),
        Decimal("12.5"),
        Decimal("12.5"),
    ]


@pytest.mark.parametrize(
    ("fields", "field"), [({"path": "/a\0"}, "path"), ({"identity": "v:a\0"}, "identity.value")]
)
def test_what_one_database_cannot_hold_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        event(**fields)
    assert error.value.faults[0].field == field


def test_where_a_time_was_corrected_the_reporters_own_is_kept() -> None:
    record = event(desk(offset_us=-60_000_000), time_us=NOW + 60_000_000, detail_json='{"user_agent":"x"}')
    assert record.event is not None
    assert record.event.time_us == NOW
    assert json.loads(record.event.detail_json) == {"user_agent": "x", "reported_time": NOW + 60_000_000}

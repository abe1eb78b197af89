from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.plan import build_plan
from decision.records import Desk, clock_offset, record_of_batch, record_of_event
from decision.reported import ReportedBatch, ReportedCount, ReportedEvent, Verdict
from tests.unit.fakes import limit, metering, policy, snapshot, steady
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.ids import uuid7
from usageflow.domain.policies import Mode
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.usage import EndpointName, UsageRecord

Report = Callable[[], UsageRecord]

NOW = 1_700_000_000_123_456
NOW_S = NOW // 1_000_000
DAY_S = 86_400
BOUNDARIES = tuple(range(1112))

STATE = snapshot(
    policy("wide", "*", metering=metering("price_wide")),
    policy("things", "/things/:id", metering=metering("price_things"), limits=[limit(1)]),
    policy("special", "/things/special", metering=metering("price_things")),
    policy("trial", "/things/:id", metering=metering("price_trial"), mode=Mode.SHADOW),
    endpoints=[("GET", "/things/{id}"), ("GET", "/plain")],
)
THING = STATE.endpoint_numbers[EndpointName("GET", "/things/{id}")]
EVENT = ReportedEvent(
    event_id=uuid7(NOW, bytes(10)),
    time_us=NOW,
    endpoint=("GET", "/things/{id}"),
    path="/things/1",
    identity="v:u",
    status=200,
    latency_us=250,
    request_bytes=10,
    response_bytes=20,
    quantity=None,
    verdict=Verdict(),
    detail_json="",
    counted=False,
    payload_hash=bytes(16),
)
COUNT = ReportedCount(
    endpoint=THING,
    identity="v:u",
    status=200,
    verdict=Verdict(),
    second=NOW_S,
    requests=5,
    units="",
    request_bytes=10,
    response_bytes=20,
    latency=((3, 2), (9, 3)),
)


def desk(state: Snapshot = STATE, offset_us: int = 0, **revisions: Snapshot) -> Desk:
    older = {int(name.removeprefix("r")): item for name, item in revisions.items()}
    return Desk(build_plan(state), NOW, offset_us, older, BOUNDARIES)


def event(at: Desk | None = None, **fields: Any) -> UsageRecord:
    return record_of_event(replace(EVENT, **fields), at or desk())


def batch(*counts: ReportedCount, at: Desk | None = None, batch_id: str = "b1") -> UsageRecord:
    return record_of_batch(ReportedBatch(batch_id, counts, bytes(16)), at or desk())


def billed(record: UsageRecord) -> list[tuple[str, str]]:
    return [(item.policy, item.price) for item in record.metering]


def test_an_event_is_stored_counted_and_metered() -> None:
    record = event(quantity=2.5)
    assert (record.record_id, record.day) == (EVENT.event_id, NOW_S // DAY_S)
    (usage,) = record.usage
    assert (usage.endpoint, usage.identity, usage.status) == (EndpointName("GET", "/things/{id}"), "v:u", 200)
    assert (usage.requests, usage.units, usage.second, usage.revision) == (1, Decimal("2.5"), NOW_S, 7)
    assert (usage.request_bytes, usage.response_bytes, usage.latency) == (10, 20, ((250, 1),))
    assert usage.policy == "things"
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
        batch(replace(COUNT, verdict=verdict, status=status)),
    ):
        assert record.usage[0].denied is denied
        assert (record.metering == ()) is denied
        assert (record.usage[0].units == 0) is denied


def test_a_degraded_allow_is_metered() -> None:
    record = event(verdict=Verdict(denied=False, reason="FAIL_MODE", degraded="STORE_TIMEOUT"))
    assert record.usage[0].degraded == "STORE_TIMEOUT"
    assert billed(record)


def test_a_counted_event_adds_nothing() -> None:
    record = event(counted=True)
    assert (record.usage, record.metering) == ((), ())
    assert record.event is not None


def test_the_revision_that_decided_prices() -> None:
    older = snapshot(policy("old", "/things/:id", metering=metering("price_old")), revision=3)
    at = desk(r3=older)
    assert billed(event(at, verdict=Verdict(revision=3))) == [("old", "price_old")]
    assert event(at, verdict=Verdict(revision=3)).usage[0].revision == 3
    assert billed(batch(replace(COUNT, verdict=Verdict(revision=3)), at=at)) == [("old", "price_old")]
    assert ("wide", "price_wide") in billed(event(at))


def test_the_policy_that_the_reporter_names_is_shown() -> None:
    number = next(number for number, item in STATE.policy_numbers.items() if item.name == "wide")
    assert event(verdict=Verdict(policy_number=number)).usage[0].policy == "wide"
    assert event(verdict=Verdict(policy_number=9999)).usage[0].policy == "things"


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
            policy(item.name, item.policy.match.path, metering=metering(f"price_{item.name}"))
            for item in STATE.policies
            if item.enforced
        ),
        endpoints=[("GET", "/things/{id}")],
    )
    record = event(desk(state), endpoint=("GET", ""), path=path)
    assert record.usage[0].endpoint == EndpointName("GET", template)
    assert [name for name, _ in billed(record)] == billed_by


def test_a_policys_pattern_names_what_no_template_does() -> None:
    state = snapshot(policy("p", "/raw/:id/*", metering=metering()))
    record = event(desk(state), endpoint=("GET", ""), path="/raw/1/2/3")
    assert record.usage[0].endpoint.template == "/raw/{id}/{rest*}"
    assert billed(record) == [("p", "price_1")]


@pytest.mark.parametrize("path", ["", "*", "/nothing"])
def test_what_no_route_matched_is_billed_by_what_takes_everything(path: str) -> None:
    assert billed(event(endpoint=("GET", "{unmatched}"), path=path)) == [("wide", "price_wide")]
    unmatched = replace(COUNT, endpoint=("GET", "{unmatched}"))
    assert billed(batch(unmatched)) == [("wide", "price_wide")]


def test_a_count_batch_is_one_record() -> None:
    record = batch(COUNT, replace(COUNT, units="12.5", latency=(), second=NOW_S - 9), batch_id="b7")
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


# clocks


@pytest.mark.parametrize(
    ("sent_at_us", "offset_us"),
    [
        (None, 0),
        (NOW, 0),
        (NOW - 30_000_000, 0),
        (NOW + 30_000_000, 0),
        (NOW - 30_000_001, 30_000_001),
        (NOW + 3_600_000_000, -3_600_000_000),
    ],
)
def test_offsets_over_30_seconds_are_corrected(sent_at_us: int | None, offset_us: int) -> None:
    assert clock_offset(NOW, sent_at_us) == offset_us


def test_a_corrected_clock_corrects_events_and_counts() -> None:
    at = desk(offset_us=-3_600_000_000)
    record = event(at, time_us=NOW + 3_600_000_000)
    assert record.event is not None
    assert (record.event.time_us, record.usage[0].second) == (NOW, NOW_S)
    assert batch(replace(COUNT, second=NOW_S + 3600), at=at).usage[0].second == NOW_S


def test_an_event_without_a_time_is_now_whatever_the_reporters_clock() -> None:
    record = event(desk(offset_us=-(10**12)), time_us=None)
    assert record.usage[0].second == NOW_S


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (NOW_S - 34 * DAY_S, ""),
        (NOW_S - 34 * DAY_S - 1, "TIME_TOO_OLD"),
        (NOW_S + 300, ""),
        (NOW_S + 301, "TIME_IN_FUTURE"),
    ],
)
def test_34_days_back_and_5_minutes_ahead(second: int, reason: str) -> None:
    reports: list[tuple[str, Report]] = [
        ("time", lambda: event(time_us=second * 1_000_000)),
        ("counts[1].second", lambda: batch(COUNT, replace(COUNT, second=second))),
    ]
    for field, report in reports:
        if not reason:
            report()
            continue
        with pytest.raises(InvalidArgument) as error:
            report()
        assert [(fault.field, fault.reason) for fault in error.value.faults] == [(field, reason)]


# bounds


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 129}, "event_id"),
        ({"event_id": "a\nb"}, "event_id"),
        ({"status": 99}, "status"),
        ({"status": 600}, "status"),
        ({"status": 0}, "status"),
        ({"latency_us": -1}, "latency"),
        ({"latency_us": DAY_S * 1_000_000 + 1}, "latency"),
        ({"path": "/" + "x" * 8192}, "path"),
        ({"path": "/" + "é" * 4096}, "path"),
        ({"detail_json": "x" * 16_385}, "metadata"),
        ({"request_bytes": 2**62 + 1}, "request_bytes"),
        ({"response_bytes": 2**62 + 1}, "response_bytes"),
        ({"quantity": -0.5}, "quantity"),
        ({"quantity": 1.1e15}, "quantity"),
        ({"quantity": float("nan")}, "quantity"),
        ({"quantity": float("inf")}, "quantity"),
        ({"endpoint": 999}, "endpoint_number"),
        ({"endpoint": ("G T", "/a")}, "method"),
        ({"endpoint": ("GET", "a")}, "template"),
        ({"endpoint": ("GET", ""), "path": ""}, "endpoint.template"),
        ({"endpoint": ("GET", ""), "path": "/%zz"}, "path"),
        ({"identity": "h:abcd"}, "identity.hash"),
        ({"verdict": Verdict(revision=2**64 - 1)}, "revision"),
    ],
)
def test_an_event_out_of_bounds_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        event(**fields)
    assert [fault.field for fault in error.value.faults] == [field]


@pytest.mark.parametrize(
    "fields",
    [
        {"event_id": "x" * 128},
        {"status": 100},
        {"status": 599},
        {"latency_us": DAY_S * 1_000_000},
        {"path": "/" + "x" * 8191},
        {"detail_json": "x" * 16_384},
        {"quantity": 0.0},
        {"quantity": 1e15},
        {"identity": "h:" + "ab" * 32},
        {"identity": ""},
    ],
)
def test_an_event_at_its_bounds_is_taken(fields: dict[str, Any]) -> None:
    assert event(**fields).event is not None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"requests": 0}, "requests"),
        ({"requests": 10**9 + 1}, "requests"),
        ({"units": "1e3"}, "units"),
        ({"units": "-1"}, "units"),
        ({"latency": ((3, 5), (3, 0))}, "latency_buckets"),
        ({"latency": ((9, 2), (3, 3))}, "latency_buckets"),
        ({"latency": ((1112, 5),)}, "latency_buckets"),
        ({"latency": ((3, 4),)}, "latency_counts"),
        ({"latency": None}, "latency_counts"),
        ({"status": 1000}, "status"),
        ({"request_bytes": 2**63}, "request_bytes"),
        ({"endpoint": ("GET", "")}, "endpoint.template"),
        ({"identity": "h:"}, "identity.hash"),
    ],
)
def test_a_count_out_of_bounds_refuses_its_batch_by_path(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        batch(COUNT, replace(COUNT, **fields))
    assert [fault.field for fault in error.value.faults] == [f"counts[1].{field}"]


@pytest.mark.parametrize(("days", "kept"), [(0, True), (1, True), (2, False), (-35, True), (-36, False)])
def test_an_id_is_kept_for_36_days_by_its_own_day(days: int, kept: bool) -> None:
    made = uuid7(NOW + days * DAY_S * 1_000_000, bytes(10))
    if kept:
        assert event(event_id=made).day == NOW_S // DAY_S + days
        assert batch(COUNT, batch_id=made).day == NOW_S // DAY_S + days
        return
    reports: list[Report] = [lambda: event(event_id=made), lambda: batch(COUNT, batch_id=made)]
    for report in reports:
        with pytest.raises(InvalidArgument) as error:
            report()
        assert error.value.faults[0].reason == "ID_OUT_OF_RANGE"


def test_any_other_id_belongs_to_day_0() -> None:
    assert event(event_id="order-17").day == 0


text = st.text(max_size=20)
verdicts = st.builds(
    Verdict, st.sampled_from([None, True, False]), text, text, st.integers(0, 5), st.integers(0, 2**64 - 1)
)
endpoints = st.one_of(
    st.integers(0, 5),
    st.tuples(
        st.sampled_from(["GET", "", "x y"]), st.sampled_from(["", "/things/:id", "{unmatched}", "{", "/a"])
    ),
)
events = st.builds(
    ReportedEvent,
    event_id=st.one_of(text, st.uuids().map(str)),
    time_us=st.one_of(st.none(), st.integers(-(2**63), 2**63), st.just(NOW)),
    endpoint=endpoints,
    path=st.one_of(text, text.map(lambda tail: f"/{tail}"), st.just("/things/%zz")),
    identity=text,
    status=st.one_of(st.just(200), st.integers(0, 2**32 - 1)),
    latency_us=st.one_of(st.just(5), st.integers(-(2**63), 2**63)),
    request_bytes=st.integers(0, 2**64 - 1),
    response_bytes=st.just(0),
    quantity=st.one_of(st.none(), st.floats()),
    verdict=verdicts,
    detail_json=text,
    counted=st.booleans(),
    payload_hash=st.just(bytes(16)),
)
counts = st.builds(
    ReportedCount,
    endpoint=endpoints,
    identity=text,
    status=st.one_of(st.just(200), st.integers(0, 2**32 - 1)),
    verdict=verdicts,
    second=st.one_of(st.just(NOW_S), st.integers(-(2**63), 2**63 - 1)),
    requests=st.one_of(st.just(5), st.integers(0, 2**64 - 1)),
    units=st.one_of(st.just(""), text, st.decimals(0, 10).map(str)),
    request_bytes=st.integers(0, 2**64 - 1),
    response_bytes=st.just(0),
    latency=st.one_of(
        st.none(),
        st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)), max_size=3).map(tuple),
    ),
)


@steady
@given(events, counts)
def test_whatever_is_reported_ends_in_a_record_or_in_named_faults(
    reported: ReportedEvent, count: ReportedCount
) -> None:
    reports: list[Report] = [
        lambda: record_of_event(reported, desk()),
        lambda: record_of_batch(ReportedBatch("b", [count], bytes(16)), desk()),
    ]
    for report in reports:
        try:
            record = report()
        except InvalidArgument as error:
            faults = error.faults
        else:
            assert all(usage.units >= 0 for usage in record.usage)
            assert all(0 <= usage.request_bytes <= 2**62 for usage in record.usage)
            continue
        assert all(fault.field and fault.message and fault.fix for fault in faults)

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.records import clock_offset, record_of_batch, record_of_event
from decision.reported import ReportedBatch, ReportedCount, ReportedEvent, Verdict
from tests.unit.decision.reported_items import COUNT, DAY_S, NOW, NOW_S, Report, batch, desk, event
from tests.unit.fakes import steady
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.ids import uuid7

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
    assert batch(COUNT._replace(second=NOW_S + 3600), at=at).usage[0].second == NOW_S


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
        ("counts[1].second", lambda: batch(COUNT, COUNT._replace(second=second))),
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
        {"detail_json": '{"metadata":{"a":"%s"}}' % ("x" * 16_362)},
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
        batch(COUNT, COUNT._replace(**fields))
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
# What reaches a record is written by the handler from a message: an object, never other JSON. Its values are the caller's.
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
details = st.fixed_dictionaries(
    {}, optional={"metadata": st.dictionaries(text, values), "client_ip": text, "user_agent": text}
).map(lambda detail: json.dumps(detail) if detail else "")
sent = st.dictionaries(
    text | st.sampled_from(["headers", "query", "body", "body_type", "body_omitted"]), values, max_size=5
).map(json.dumps)
verdicts = st.builds(
    Verdict,
    st.sampled_from([None, True, False]),
    st.booleans(),
    text,
    text,
    st.integers(0, 5),
    st.integers(0, 2**64 - 1),
    st.just(()),
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
    detail_json=details,
    counted=st.booleans(),
    payload_hash=st.just(bytes(16)),
    captured_json=st.just("") | sent,
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

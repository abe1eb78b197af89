"""Any line ends in an event that can be sent, or in a fault that says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from usageflow.cli.events import LineFault, parse_event
from usageflow.v1.usage_pb2 import UsageEvent

GOOD = {"method": "GET", "path": "/a", "status": 200}
KEYS = [
    *("event_id", "time", "method", "path", "route", "identity", "status", "latency_ms", "quantity"),
    *("metadata", "decision", "reason", "other"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**18, -1, 10**400, 2**63, 2**1024])
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["ALLOW", "2026-01-31T12:00:00Z", "/a?b", "\ud800", "x" * 70_000, "BLOCKED", "9999-12-31"]
    )
)
VALUES = st.recursive(
    SCALARS, lambda children: st.lists(children) | st.dictionaries(st.text(), children), max_leaves=8
)


def ends_well(line: str) -> None:
    try:
        event = parse_event(line, event_id="default", now_us=1_700_000_000_123_456)
    except LineFault as fault:
        are_told(fault)
    else:
        assert UsageEvent.FromString(event.SerializeToString()) == event


def are_told(fault: LineFault) -> None:
    assert fault.reason.isupper()
    assert fault.message
    assert fault.fix


@given(st.text())
@example("[" * 100_000)
@example("9" * 10_000)
@example('{"a": 1e999}')
@example('{"a": NaN}')
def test_any_text(line: str) -> None:
    ends_well(line)


@given(VALUES)
def test_any_json(value: Any) -> None:
    ends_well(json.dumps(value))


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.booleans())
def test_any_values_of_known_keys(fields: dict[str, Any], complete: bool) -> None:
    ends_well(json.dumps({**GOOD, **fields} if complete else fields))


@given(st.sampled_from(KEYS), VALUES, st.booleans())
def test_any_single_value(key: str, value: Any, escaped: bool) -> None:
    ends_well(json.dumps({**GOOD, key: value}, ensure_ascii=escaped))


@given(st.dictionaries(st.text(), VALUES))
def test_any_metadata(metadata: dict[str, Any]) -> None:
    ends_well(json.dumps({**GOOD, "metadata": metadata}))


def fault_of(**fields: Any) -> str:
    with pytest.raises(LineFault) as caught:
        parse_event(json.dumps({**GOOD, **fields}), event_id="x", now_us=0)
    return str(caught.value)


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "200"}, "'status' is not right; write a whole number from 100 to 599"),
        ({"status": True}, "'status' is not right; write a whole number from 100 to 599"),
        ({"status": None}, "'status' is not right; write a whole number from 100 to 599"),
        ({"status": 600}, "'status' is not right; write a whole number from 100 to 599"),
        ({"method": "GET /"}, "'method' is not right; write an HTTP method such as POST"),
        ({"path": "a"}, "'path' is not right; write a path that begins with / and has at most 8192 bytes"),
        ({"path": ""}, "'path' is not right; write a text of 1 to 65536 bytes"),
        ({"event_id": ""}, "'event_id' is not right; write a text of 1 to 128 bytes"),
        ({"event_id": "é" * 65}, "'event_id' is not right; write a text of 1 to 128 bytes"),
        ({"identity": 7}, "'identity' is not right; write a text of 0 to 256 bytes"),
        ({"route": 7}, "'route' is not right; write a text of 0 to 1024 bytes"),
        ({"latency_ms": -1}, "'latency_ms' is not right; write a number of milliseconds from 0 to 86400000"),
        ({"quantity": 1e16}, "'quantity' is not right; write a number of units from 0 to 1000000000000000"),
        (
            {"time": "yesterday"},
            "'time' is not right; write an RFC 3339 time such as 2026-01-31T12:00:00Z, or Unix seconds",
        ),
        (
            {"time": "2026-02-30T12:00:00Z"},
            "'time' is not right; write an RFC 3339 time such as 2026-01-31T12:00:00Z, or Unix seconds",
        ),
        ({"time": -1}, "'time' is not right; write a number of seconds from 0 to 253402300799"),
        ({"decision": "allow"}, "'decision' is not right; write ALLOW or DENY"),
        ({"decision": ["ALLOW"]}, "'decision' is not right; write ALLOW or DENY"),
        ({"metadata": "x"}, "'metadata' is not right; write an object"),
        ({"metadata": {"x": "y" * 16_384}}, "'metadata' is not right; write at most 16 KiB"),
        ({"metadata": nested(25)}, "'metadata' is not right; nest at most 20 levels"),
        ({"metadata": {"x": 10**400}}, "'metadata' is not right; write numbers below 1e308"),
        ({"latency": 5}, "unknown key 'latency'; did you mean 'latency_ms'?"),
    ],
)
def test_faults_say_what_is_right(fields: dict[str, Any], words: str) -> None:
    assert fault_of(**fields) == words


def test_a_reason_must_be_known() -> None:
    assert fault_of(reason="WHY").startswith("'reason' is not right; write one of WITHIN_LIMITS, NO_POLICY,")


@pytest.mark.parametrize("key", ["method", "path", "status"])
def test_required_keys(key: str) -> None:
    line = json.dumps({name: value for name, value in GOOD.items() if name != key})
    with pytest.raises(LineFault, match=f"'{key}' is missing; add it"):
        parse_event(line, event_id="x", now_us=0)


def test_a_key_may_not_stand_twice() -> None:
    with pytest.raises(LineFault, match="a key stands twice in one object; remove one of them"):
        parse_event('{"status": 200, "status": 500}', event_id="x", now_us=0)


def test_null_means_left_out() -> None:
    line = json.dumps({**GOOD, "route": None, "event_id": None, "time": None, "identity": ""})
    event = parse_event(line, event_id="x", now_us=1_500_000)
    assert (event.event_id, event.time.seconds, event.time.nanos) == ("x", 1, 500_000_000)
    assert not event.HasField("identity")


def test_unix_seconds_may_have_a_fraction() -> None:
    event = parse_event(json.dumps({**GOOD, "time": 1_700_000_000.25}), event_id="x", now_us=0)
    assert (event.time.seconds, event.time.nanos) == (1_700_000_000, 250_000_000)


def test_a_line_with_its_own_id_is_the_same_whenever_it_is_sent() -> None:
    line = json.dumps({**GOOD, "event_id": "e-1"})
    first = parse_event(line, event_id="x", now_us=1_500_000)
    assert first == parse_event(line, event_id="y", now_us=9_000_000)
    assert not first.HasField("time")

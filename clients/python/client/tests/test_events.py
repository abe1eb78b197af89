from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.client._core.events import Outcome, build_event
from usageflow.client._core.hooks import RequestData, checked_consumer, checked_quantity
from usageflow.client._core.queue import MAX_REPORT_BYTES, EventQueue, build_report, forget_numbers
from usageflow.client._core.request import RequestView
from usageflow.client._core.verdict import NOT_ASKED, Verdict, failed
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2, usage_pb2

STANDARD, MINIMAL = plan_pb2.CAPTURE_LEVEL_STANDARD, plan_pb2.CAPTURE_LEVEL_MINIMAL


def event(
    *,
    data: RequestData | None = None,
    verdict: Verdict = NOT_ASKED,
    capture: Any = STANDARD,
    route: str = "/x",
) -> usage_pb2.UsageEvent:
    headers = [(b"user-agent", b"agent/1"), (b"authorization", b"Bearer secret"), (b"cookie", b"sid=secret")]
    request = RequestView(
        "GET", route, "/x", headers=headers, query_string=b"token=secret", client_ip="1.2.3.4"
    )
    outcome = Outcome(200, 1_500_000_000, 10, 20)
    return build_event(
        "id", 1_700_000_000_000_000_001, request, verdict, data or RequestData(), outcome, capture
    )


def test_an_event_holds_what_happened() -> None:
    data = RequestData(quantity=2.5)
    data.add_metadata({"plan": "pro", "nested": {"n": [1, None, True]}})
    identity = common.Identity(value="alice")
    verdict = Verdict(
        common.DECISION_ALLOW, common.REASON_WITHIN_LIMITS, identity=identity, policy_number=9, revision=7
    )
    got = event(data=data, verdict=verdict)
    assert (got.event_id, got.time.seconds, got.time.nanos) == ("id", 1_700_000_000, 1)
    assert (got.latency.seconds, got.latency.nanos) == (1, 500_000_000)
    assert (got.endpoint.method, got.endpoint.template, got.status) == ("GET", "/x", 200)
    assert (got.quantity, got.policy_number, got.revision, got.identity.value) == (2.5, 9, 7, "alice")
    assert got.metadata["plan"] == "pro"
    assert (got.client_ip, got.user_agent) == ("1.2.3.4", "agent/1")
    assert (got.request_bytes, got.response_bytes) == (10, 20)
    assert b"secret" not in got.SerializeToString()


def test_minimal_capture_holds_nothing_of_the_caller() -> None:
    got = event(capture=MINIMAL)
    assert (got.client_ip, got.user_agent) == ("", "")


def test_without_a_quantity_none_is_sent_and_nobody_is_nobody() -> None:
    got = event(route="")
    assert not got.HasField("quantity")
    assert not got.HasField("identity")
    assert got.endpoint.template == "{unmatched}"


def test_the_applications_word_on_the_consumer_wins() -> None:
    verdict = Verdict(common.DECISION_ALLOW, identity=common.Identity(value="alice"))
    assert event(data=RequestData(consumer="acme"), verdict=verdict).identity.value == "acme"


def test_a_fail_mode_says_so() -> None:
    got = event(verdict=failed(common.FAIL_MODE_CLOSED, common.DEGRADED_REASON_SERVICE_TIMEOUT))
    assert (got.decision, got.reason) == (common.DECISION_DENY, common.REASON_FAIL_MODE)
    assert got.degraded.reason == common.DEGRADED_REASON_SERVICE_TIMEOUT


@pytest.mark.parametrize("bad", [True, "1", None, float("nan"), float("inf"), -1, 1.1e15])
def test_quantities_are_checked(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="quantity"):
        checked_quantity(bad)


@pytest.mark.parametrize("bad", [7, None, "", "x" * 257, "é" * 129])
def test_consumers_are_checked(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="consumer"):
        checked_consumer(bad)


def nested(depth: int) -> dict[str, object]:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    "bad", [7, {1: "x"}, {"x": object()}, {"x": float("nan")}, {"x": "y" * 16_384}, nested(150)]
)
def test_metadata_is_checked_and_a_bad_call_changes_nothing(bad: Any) -> None:
    data = RequestData()
    data.add_metadata({"good": 1})
    with pytest.raises((TypeError, ValueError), match="metadata"):
        data.add_metadata(bad)
    assert data.metadata is not None
    assert dict(data.metadata) == {"good": 1}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_is_metadata(fields: dict[str, object]) -> None:
    data = RequestData()
    try:
        data.add_metadata(fields)
    except ValueError:
        json.dumps(fields).encode()
        assert any("\ud800" <= c <= "\udfff" for c in json.loads(json.dumps(str(fields))))
    else:
        assert data.metadata is not None
        assert set(data.metadata.keys()) == set(fields)


def plain(name: str, **fields: Any) -> usage_pb2.UsageEvent:
    return usage_pb2.UsageEvent(event_id=name, status=200, **fields)


def error(index: int, code: common.ItemCode.ValueType) -> usage_pb2.ItemError:
    return usage_pb2.ItemError(
        kind=usage_pb2.REPORT_ITEM_KIND_EVENT, index=index, status=common.ItemStatus(code=code, reason="R")
    )


def test_a_batch_stays_until_it_is_answered() -> None:
    queue = EventQueue(batch=2)
    for name in "abc":
        queue.add(plain(name))
    assert queue.has_full_batch
    assert [e.event_id for e in queue.batch()] == ["a", "b"]
    assert [e.event_id for e in queue.batch()] == ["a", "b"], "the same ids go out again"
    queue.delivered(2, usage_pb2.ReportResponse(accepted=1, duplicates=1))
    assert [e.event_id for e in queue.batch()] == ["c"]
    assert queue.reported == 2


def test_items_that_failed_for_now_go_to_the_end_and_refused_ones_are_counted() -> None:
    queue = EventQueue()
    for name in "abc":
        queue.add(plain(name))
    answer = usage_pb2.ReportResponse(
        errors=[error(0, common.ITEM_CODE_UNAVAILABLE), error(1, common.ITEM_CODE_OUT_OF_RANGE)]
    )
    assert [status.reason for status in queue.delivered(3, answer)] == ["R"]
    assert [e.event_id for e in queue.batch()] == ["a"]
    assert (queue.reported, queue.refused, queue.dropped) == (1, 1, 0)


def test_a_full_queue_drops_what_is_new_and_counts_it() -> None:
    queue = EventQueue(max_events=2)
    for name in "abcd":
        queue.add(plain(name))
    assert ([e.event_id for e in queue.batch()], queue.dropped) == (["a", "b"], 2)
    small = EventQueue(max_bytes=100)
    for _ in range(10):
        small.add(plain("x" * 50))
    assert (len(small), small.dropped) == (1, 9)


def test_one_unacceptable_event_does_not_hold_up_the_others() -> None:
    queue = EventQueue(batch=4)
    for name in ("poison", "b", "c", "d"):
        queue.add(plain(name))
    sizes = []
    while "poison" in [e.event_id for e in queue.batch()]:
        sizes.append(len(queue.batch()))
        queue.rejected(sizes[-1])
    assert (sizes, queue.refused, len(queue)) == ([4, 2, 1], 1, 3)


def test_a_report_is_bounded_in_bytes() -> None:
    queue = EventQueue()
    for _ in range(40):
        queue.add(plain("x" * 100_000))
    assert sum(e.ByteSize() for e in queue.batch()) <= MAX_REPORT_BYTES
    assert len(queue.batch()) == 20


def test_a_report_names_the_plan_only_where_it_uses_numbers() -> None:
    numbered = [plain("a", policy_number=9)]
    assert build_report(numbered, 4, 1_000_000_001).plan_version == 4
    forget_numbers(numbered)
    report = build_report(numbered, 4, 1_000_000_001)
    assert (report.plan_version, report.sent_at.seconds, report.sent_at.nanos) == (0, 1, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=60))
def test_every_event_is_in_exactly_one_place(steps: list[tuple[int, int]]) -> None:
    queue, added = EventQueue(max_events=20, batch=4), 0
    for count, index in steps:
        for _ in range(count):
            queue.add(plain(str(added)))
            added += 1
        batch = len(queue.batch())
        queue.delivered(
            batch, usage_pb2.ReportResponse(errors=[error(index, common.ITEM_CODE_INVALID_ARGUMENT)])
        )
        assert queue.reported + queue.refused + queue.dropped + len(queue) == added

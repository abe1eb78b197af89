from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.v1 import billing_pb2 as pb
from usageflow.v1.meter_pb2 import ListPendingResponse

TARGET = pb.BillingTarget(trigger="stripe_usage", price="price_1", event_name="calls")
PART = pb.BillingPart(
    part_id=7,
    customer="acme",
    target=TARGET,
    window_start=Timestamp(seconds=1_800_000_000),
    window_end=Timestamp(seconds=1_800_003_600),
    number=2,
    units="12.5",
    value="12",
    state=pb.BILLING_PART_STATE_REJECTED,
    attempts=3,
    note="archived meter: reactivate it",
)
HOLD = pb.BillingHold(
    customer="acme",
    target=TARGET,
    reason="NO_STRIPE_CUSTOMER",
    message="give acme a Stripe customer",
    units="4",
)
OPEN = pb.BillingPart(part_id=8, state=pb.BILLING_PART_STATE_FROZEN)


def page(*parts: pb.BillingPart, token: str = "") -> pb.ListBillingPartsResponse:
    return pb.ListBillingPartsResponse(parts=parts, next_page_token=token)


def test_status_says_what_to_do(run: Any, service: Any) -> None:
    status = pb.BillingStatus(
        sink="stripe",
        account="acct_1 (test)",
        sums=[pb.BillingSum(target=TARGET, state=pb.BILLING_PART_STATE_SENT, parts=3, units="9.5")],
        holds=[HOLD],
        pauses=[pb.BillingPause(destination="acct_1/meter_event", message="the key lacks a permission")],
        findings=[pb.BillingFinding(level="REFUSED", message="no such price", target=TARGET)],
    )
    service.will("ListPending", ListPendingResponse())
    service.will("GetBillingStatus", status)
    shown = run("meter", "status").stdout
    for text in ("stripe, acct_1 (test)", "SENT", "9.5", "give acme a Stripe customer", "no such price"):
        assert text in shown
    assert "usageflow meter resume acct_1/meter_event" in shown


def test_windows_are_pages_of_parts(run: Any, service: Any) -> None:
    service.will("ListBillingParts", page(PART, token="7"), page(OPEN))
    shown = run(
        "meter", "windows", "--state", "rejected", "--customer", "acme", "--since", "7d", "--limit", "0"
    )
    assert shown.exit_code == 0, shown.output
    assert "archived meter: reactivate it" in shown.stdout
    first, second = service.requests
    assert (list(first.filter.states), first.filter.customer) == ([pb.BILLING_PART_STATE_REJECTED], "acme")
    assert first.filter.HasField("since")
    assert (first.page_token, second.page_token) == ("", "7")
    service.will("ListBillingParts", page(PART))
    (row,) = json.loads(run("meter", "windows", "7", "--output", "json").stdout)
    assert (row["part"], row["units"], row["state"], row["next"]) == (7, 12.5, "REJECTED", None)


def test_flush_waits_until_nothing_is_on_its_way(run: Any, service: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("usageflow.cli.meter_flush._EVERY_S", 0)
    service.will("FlushUsage", pb.FlushUsageResponse(parts=2, units="3", holds=[HOLD]))
    service.will("ListBillingParts", page(OPEN, OPEN), page(OPEN), page())
    service.will("GetBillingStatus", *[pb.BillingStatus(sink="file")] * 2)
    done = run("meter", "flush", "--customer", "acme", "--wait")
    assert done.exit_code == 0, done.output
    assert "2 parts with 3 units" in done.stdout
    assert "give acme a Stripe customer" in done.stdout
    assert service.requests[1].filter.customer == "acme"


@pytest.mark.parametrize(
    ("status", "part", "told"),
    [
        (
            pb.BillingStatus(sink="stripe", pauses=[pb.BillingPause(destination="a/b")]),
            OPEN,
            "meter resume a/b",
        ),
        (pb.BillingStatus(), OPEN, "sent nowhere"),
        (pb.BillingStatus(sink="file"), pb.BillingPart(attempts=3, note="HTTP 503"), "HTTP 503"),
    ],
)
def test_flush_does_not_wait_for_what_is_stuck(
    run: Any, service: Any, status: pb.BillingStatus, part: pb.BillingPart, told: str
) -> None:
    service.will("FlushUsage", pb.FlushUsageResponse())
    service.will("ListBillingParts", page(part))
    service.will("GetBillingStatus", status)
    # The first look is before the bar, the second finds it stuck.
    done = run("meter", "flush", "--wait")
    assert (done.exit_code, told in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "move"),
    [
        ((), pb.BILLING_MOVE_RETRY),
        (("--anew",), pb.BILLING_MOVE_RETRY_ANEW),
        (("--mark-sent",), pb.BILLING_MOVE_MARK_SENT),
    ],
)
def test_parts_are_retried(run: Any, service: Any, options: tuple[str, ...], move: int) -> None:
    service.will("MoveBillingParts", pb.MoveBillingPartsResponse(parts=1))
    assert run("meter", "retry", "7", "8", *options).exit_code == 0
    (request,) = service.requests
    assert (list(request.filter.part_ids), request.move) == ([7, 8], move)
    assert uuid.UUID(request.request_id)


@pytest.mark.parametrize(
    "args",
    [
        ("retry",),
        ("retry", "7", "--anew", "--mark-sent"),
        ("hold",),
        ("hold", "7", "--all"),
        ("release", "7", "--customer", "acme"),
        ("correct", "7", "--reason", "x"),
        ("correct", "7", "--reason", "x", "--units", "1", "--cancel"),
        ("windows", "--since", "soon"),
    ],
)
def test_wrong_usage_asks_nobody(run: Any, service: Any, args: tuple[str, ...]) -> None:
    assert run("meter", *args).exit_code == 2
    assert not service.calls


@pytest.mark.parametrize(
    ("verb", "move"), [("hold", pb.BILLING_MOVE_HOLD), ("release", pb.BILLING_MOVE_RELEASE)]
)
def test_a_customer_is_held_and_let_go(run: Any, service: Any, verb: str, move: int) -> None:
    service.will("HoldBilling", *[pb.HoldBillingResponse(changed=True)] * 2)
    service.will("MoveBillingParts", *[pb.MoveBillingPartsResponse(parts=2)] * 3)
    assert "2 parts" in run("meter", verb, "--customer", "acme").stdout
    assert run("meter", verb, "--all").exit_code == 0
    assert run("meter", verb, "7").exit_code == 0
    stop, moved, _, every, one = service.requests
    assert (stop.customer, stop.held, moved.move) == ("acme", verb == "hold", move)
    assert (moved.filter.customer, every.filter.HasField("since")) == ("acme", True)
    assert list(one.filter.part_ids) == [7]


def test_a_destination_goes_on(run: Any, service: Any) -> None:
    service.will("ResumeDestination", *[pb.ResumeDestinationResponse(resumed=each) for each in (True, False)])
    assert run("meter", "resume", "a/b").stdout == "a/b goes on\n"
    assert "was not paused" in run("meter", "resume", "a/b").stdout


def test_drift_is_exit_code_1(run: Any, service: Any) -> None:
    hour = pb.ReconciledHour(customer="acme", target=TARGET, ours="1", theirs="3", drift="2")
    untold = pb.ReconciledHour(customer="b", target=TARGET, ours="1")
    service.will("ReconcileBilling", pb.ReconcileBillingResponse(hours=[hour, untold], drifted=1))
    done = run("meter", "reconcile", "--since", "24h", "--output", "json")
    assert done.exit_code == 1
    assert "1 hours differ" in done.stderr
    document = json.loads(done.stdout)
    assert [each["drift"] for each in document["hours"]] == [2, None]
    service.will("ReconcileBilling", pb.ReconcileBillingResponse(hours=[untold]))
    done = run("meter", "reconcile")
    assert (done.exit_code, done.stderr) == (0, "1 hours; of 1 the destination does not tell\n")


def test_a_preview_is_a_bill_so_far(run: Any, service: Any) -> None:
    line = pb.BillLine(target=TARGET, sent="1", stuck="2", unit_amount="1.5", currency="eur", amount="1.5")
    service.will("GetBillPreview", pb.BillPreview(customer="acme", lines=[line], holds=[HOLD]))
    done = run("meter", "preview", "--customer", "acme")
    assert "1.5 eur (smallest unit)" in done.stdout
    assert "give acme a Stripe customer" in done.stdout
    assert "stuck units need somebody" in done.stderr


def test_a_correction_is_confirmed_and_audited(run: Any, service: Any) -> None:
    assert run("meter", "correct", "7", "--units", "-5", "--reason", "a loop").exit_code == 2
    assert not service.calls
    made = pb.BillingPart(part_id=9, units="-5")
    service.will(
        "CorrectUsage", pb.CorrectUsageResponse(correction=made), pb.CorrectUsageResponse(cancelled=True)
    )
    done = run("meter", "correct", "7", "--units", "-5", "--reason", "a loop", "--yes")
    assert done.stdout == "part 9 corrects part 7 by -5 units; it is on its way\n"
    done = run("meter", "correct", "7", "--cancel", "--reason", "a loop", "--yes", "--output", "json")
    assert json.loads(done.stdout) == {"cancelled": True, "correction": None}
    first, second = service.requests
    assert (first.part_id, first.units, first.reason, second.cancel) == (7, "-5", "a loop", True)

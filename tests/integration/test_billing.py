"""Billing through the whole service: what people see of it and do about it, over a real channel and database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from meter.sinks import Notice
from tests.integration.conftest import Running, serving
from tests.integration.scripted_sink import SIGNATURE, ScriptedSink
from tests.integration.test_overrides import apply
from usageflow.domain.billing import Outcome, Result
from usageflow.domain.errors import InvalidArgument
from usageflow.runtime.billing_settings import BillingSettings
from usageflow.v1 import audit_pb2, common_pb2, usage_pb2
from usageflow.v1 import billing_pb2 as pb

FILE = """
version: 1
application: demo
strategies:
  - {name: by-user, sources: [{in: header, name: X-User}]}
policies:
  - name: p
    match: {path: /a}
    strategy: by-user
    limits: [{limit: 1000, window: 1h}]
    metering: {trigger: stripe_usage, price: price_1, event_name: calls}
customers:
  - {name: acme, identities: [ann]}
"""
SETTINGS = BillingSettings(destination="file:unused.jsonl", webhook_secret="whsec_x")
AGO_S = 3 * 3600
SENT, CANCELLED = pb.BILLING_PART_STATE_SENT, pb.BILLING_PART_STATE_CANCELLED


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> ScriptedSink:
    made = ScriptedSink()
    monkeypatch.setattr("usageflow.runtime.billing.build_sink", lambda *_: made)
    return made


FAILING = FILE.replace("trigger: stripe_usage", "expression: metadata.tokens, trigger: stripe_usage")


async def test_what_an_expression_cannot_say_is_kept_and_listed(tmp_path: Path, sink: ScriptedSink) -> None:
    async with serving(tmp_path, billing=SETTINGS) as running:
        await apply(running, FAILING)
        for number in range(3):
            await use(running, f"event-{number}", 1.0)
        first = await call(running, pb.ListMeteringFailuresRequest(page_size=2))
        rest = await call(running, pb.ListMeteringFailuresRequest(page_token=first.next_page_token))
        with pytest.raises(grpc.aio.AioRpcError):
            await call(running, pb.ListMeteringFailuresRequest(page_token="x"))
    assert [each.record_id for each in (*first.failures, *rest.failures)] == ["event-2", "event-1", "event-0"]
    assert not rest.next_page_token
    assert {(each.policy, each.price) for each in first.failures} == {("p", "price_1")}
    assert "tokens" in first.failures[0].message
    assert running.embedded.decision.ingest is not None
    assert running.embedded.decision.ingest.unmetered == 3


@pytest.fixture
async def billed(tmp_path: Path, sink: ScriptedSink) -> AsyncIterator[Running]:
    async with serving(tmp_path, billing=SETTINGS) as running:
        await apply(running, FILE)
        yield running


async def use(
    service: Running, event_id: str, units: float, identity: str = "ann", ago_s: int = AGO_S
) -> None:
    """Reports a request that was made some hours ago."""
    event = usage_pb2.UsageEvent(
        event_id=event_id,
        status=200,
        endpoint=common_pb2.Endpoint(method="GET", template="/a"),
        identity=common_pb2.Identity(value=identity),
        quantity=units,
        time=Timestamp(seconds=int(time.time()) - ago_s),
    )
    answer = await service.decision.Report(usage_pb2.ReportRequest(events=[event]), metadata=service.as_app)
    assert answer.accepted == 1, answer


async def call(service: Running, request: Any) -> Any:
    name = type(request).__name__.removesuffix("Request")
    if "application" in request.DESCRIPTOR.fields_by_name:
        request.application = "demo"
    return await getattr(service.meter, name)(request, metadata=service.as_admin)


async def refused(service: Running, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(service, request)
    return raised.value.code().name, raised.value.details() or ""


async def parts(service: Running, *states: pb.BillingPartState.ValueType) -> list[pb.BillingPart]:
    wanted = pb.BillingPartFilter(states=states)
    return list((await call(service, pb.ListBillingPartsRequest(filter=wanted))).parts)


async def until(
    service: Running, state: pb.BillingPartState.ValueType, number: int = 1
) -> list[pb.BillingPart]:
    """Returns parts as soon as so many are in a state: the sender looks each second."""
    for _ in range(150):
        found = await parts(service, state)
        if len(found) >= number:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(await parts(service))


async def flushed(service: Running) -> pb.BillingPart:
    """Uses, freezes and sends 5 units of acme's; returns their part."""
    await use(service, "e1", 5)
    await call(service, pb.FlushUsageRequest())
    (part,) = await until(service, SENT)
    return part


async def paused(service: Running) -> pb.BillingPause:
    """Returns the pause as soon as there is one."""
    for _ in range(150):
        status: pb.BillingStatus = await call(service, pb.GetBillingStatusRequest())
        if status.pauses:
            return status.pauses[0]
        await asyncio.sleep(0.1)
    raise AssertionError(await parts(service))


async def audited(service: Running) -> list[str]:
    request = audit_pb2.ListAuditEntriesRequest(page_size=100)
    found = await service.admin.ListAuditEntries(request, metadata=service.as_admin)
    return [each.kind for each in found.entries]


async def test_what_was_used_is_flushed_and_shown(billed: Running) -> None:
    await use(billed, "e1", 2.5)
    await use(billed, "e2", 1, "nobody", ago_s=0)
    done = await call(billed, pb.FlushUsageRequest(customer="acme"))
    assert (done.parts, done.units) == (1, "2.5")
    (part,) = await until(billed, SENT)
    assert (part.customer, part.payee, part.value, part.method) == ("acme", "acme", "2.5", "meter_event")
    rest = await call(billed, pb.FlushUsageRequest())
    assert [(hold.reason, hold.units) for hold in rest.holds] == [("UNMAPPED", "1")]
    status = await call(billed, pb.GetBillingStatusRequest())
    assert (status.sink, status.account, status.sums[0].units) == ("scripted", "acct_1 (test)", "2.5")
    assert await refused(billed, pb.FlushUsageRequest(customer="x")) == (
        "NOT_FOUND",
        "there is no customer 'x'",
    )


async def test_drift_is_told_and_not_corrected(billed: Running, sink: ScriptedSink) -> None:
    part = await flushed(billed)
    request = pb.ReconcileBillingRequest(since=Timestamp(seconds=int(time.time()) - 86_400))
    same = await call(billed, request)
    assert [(each.ours, each.theirs, each.drift) for each in same.hours] == [("5", "5", "0")]
    (key,) = sink.counted
    sink.counted[key] += 2
    more = await call(billed, request)
    assert (more.drifted, more.hours[0].drift, more.hours[0].customer) == (1, "2", "acme")
    assert await parts(billed) == [part]
    request.since.seconds -= 40 * 86_400
    assert (await refused(billed, request))[0] == "INVALID_ARGUMENT"
    assert (await refused(billed, pb.ReconcileBillingRequest()))[0] == "INVALID_ARGUMENT"


async def test_a_preview_adds_up_what_will_be_billed(billed: Running) -> None:
    await flushed(billed)
    await use(billed, "e2", 3, ago_s=0)
    bill = await call(billed, pb.GetBillPreviewRequest(customer="acme"))
    (line,) = bill.lines
    assert (line.sent, line.sending, line.open, line.stuck) == ("5", "0", "3", "0")
    assert (line.unit_amount, line.amount, line.currency) == ("0.25", "2", "eur")
    assert (line.target.event_name, bill.customer) == ("calls", "acme")


async def test_a_young_part_is_taken_back_at_the_destination(billed: Running, sink: ScriptedSink) -> None:
    part = await flushed(billed)
    wanted = pb.CorrectUsageRequest(part_id=part.part_id, cancel=True, reason="a test of ours")
    sink.answer = Outcome(Result.UNKNOWN)
    assert (await refused(billed, wanted))[0] == "UNAVAILABLE"
    sink.answer = Outcome(Result.REFUSED, "too late")
    assert "too late" in (await refused(billed, wanted))[1]
    sink.answer = Outcome(Result.TAKEN)
    for _ in range(2):
        done = await call(billed, wanted)
        assert (done.cancelled, done.HasField("correction")) == (True, False)
    (found,) = await parts(billed)
    assert (found.state, found.note) == (CANCELLED, "taken back: a test of ours")
    assert list(sink.counted.values()) == [0]
    assert (sink.calls["cancel"], (await audited(billed)).count("billing_part")) == (3, 1)


async def test_a_correction_is_a_part_and_never_more_than_there_was(
    billed: Running, sink: ScriptedSink
) -> None:
    part = await flushed(billed)
    wanted = pb.CorrectUsageRequest(part_id=part.part_id, units="-2", reason="a loop", request_id="r-1")
    first = await call(billed, wanted)
    assert (first.correction.units, first.correction.correction) == ("-2", True)
    assert (await call(billed, wanted)).correction.part_id == first.correction.part_id
    await until(billed, SENT, 2)
    assert list(sink.counted.values()) == [3]
    again = pb.CorrectUsageRequest(part_id=part.part_id, units="-4", reason="a loop")
    assert (await refused(billed, again))[0] == "FAILED_PRECONDITION"
    again.units = "-6"
    assert "take back at most 5" in (await refused(billed, again))[1]
    assert (await audited(billed)).count("billing_correction") == 1


@pytest.mark.parametrize(
    "request_",
    [
        pb.CorrectUsageRequest(part_id=1, units="-1", cancel=True, reason="x"),
        pb.CorrectUsageRequest(part_id=1, reason="x"),
        pb.CorrectUsageRequest(units="1", reason="x"),
        pb.CorrectUsageRequest(part_id=1, units="1"),
        pb.CorrectUsageRequest(part_id=1, units="NaN", reason="x"),
        pb.MoveBillingPartsRequest(move=pb.BILLING_MOVE_RETRY),
        pb.MoveBillingPartsRequest(filter=pb.BillingPartFilter(customer="acme")),
        pb.MoveBillingPartsRequest(filter=pb.BillingPartFilter(part_ids=[0]), move=pb.BILLING_MOVE_RETRY),
        pb.MoveBillingPartsRequest(
            filter=pb.BillingPartFilter(part_ids=range(1, 1002)), move=pb.BILLING_MOVE_RETRY
        ),
        pb.ListBillingPartsRequest(page_token="x"),
        pb.ListBillingPartsRequest(filter=pb.BillingPartFilter(states=[pb.BILLING_PART_STATE_UNSPECIFIED])),
        pb.ResumeDestinationRequest(),
        pb.GetBillPreviewRequest(),
        pb.HoldBillingRequest(request_id="x" * 65),
    ],
)
async def test_bad_requests_are_told_what_to_do(service: Running, request_: Any) -> None:
    assert (await refused(service, request_))[0] == "INVALID_ARGUMENT"


async def test_what_is_sent_nowhere_can_be_looked_at(service: Running) -> None:
    assert (await call(service, pb.GetBillingStatusRequest())).sink == ""
    code, text = await refused(service, pb.FlushUsageRequest())
    assert (code, "STRIPE_API_KEY" in text) == ("FAILED_PRECONDITION", True)


async def test_a_held_customer_is_not_frozen(billed: Running) -> None:
    held = pb.HoldBillingRequest(customer="acme", held=True, request_id="r-1")
    assert (await call(billed, held)).changed
    await use(billed, "e1", 5)
    done = await call(billed, pb.FlushUsageRequest())
    assert (done.parts, [each.reason for each in done.holds]) == (0, ["ON_HOLD"])
    assert (await call(billed, pb.HoldBillingRequest(customer="acme"))).changed
    assert not (await call(billed, pb.HoldBillingRequest(customer="acme"))).changed
    assert (await call(billed, pb.FlushUsageRequest())).parts == 1
    assert (await audited(billed)).count("billing_hold") == 2


async def test_what_was_refused_afterwards_is_sent_anew(billed: Running, sink: ScriptedSink) -> None:
    part = await flushed(billed)
    sink.notice = Notice({part.identifier: "the meter is archived: reactivate it"})
    webhook = billed.embedded.webhook
    assert webhook is not None
    with pytest.raises(InvalidArgument):
        await webhook(b"{}", "forged")
    assert [await webhook(b"{}", SIGNATURE) for _ in range(2)] == [1, 0]
    (found,) = await until(billed, pb.BILLING_PART_STATE_REJECTED)
    assert found.note == "the meter is archived: reactivate it"
    wanted = pb.BillingPartFilter(part_ids=[part.part_id])
    move = pb.MoveBillingPartsRequest(filter=wanted, move=pb.BILLING_MOVE_RETRY_ANEW, request_id="r-1")
    assert (await call(billed, move)).parts == 1
    (anew,) = await until(billed, SENT)
    assert anew.identifier != part.identifier


async def test_refused_credentials_pause_until_somebody_resumes(billed: Running, sink: ScriptedSink) -> None:
    sink.answer = Outcome(Result.DENIED, "the key may not send meter events")
    await use(billed, "e1", 5)
    await call(billed, pb.FlushUsageRequest())
    pause = await paused(billed)
    assert pause.message == "the key may not send meter events"
    sink.answer = Outcome(Result.TAKEN)
    resume = pb.ResumeDestinationRequest(destination=pause.destination)
    assert [(await call(billed, resume)).resumed for _ in range(2)] == [True, False]
    await until(billed, SENT)
    assert (await audited(billed)).count("billing_destination") == 1


async def test_pages_of_parts_follow_one_another(billed: Running) -> None:
    for number in range(3):
        await use(billed, f"e{number}", 1, ago_s=AGO_S + number * 3600)
    await call(billed, pb.FlushUsageRequest())
    first = await call(billed, pb.ListBillingPartsRequest(page_size=2))
    rest = pb.ListBillingPartsRequest(page_size=2, page_token=first.next_page_token)
    second = await call(billed, rest)
    assert (len(first.parts), len(second.parts), second.next_page_token) == (2, 1, "")
    seen = [part.part_id for part in (*first.parts, *second.parts)]
    assert seen == sorted(seen, reverse=True)

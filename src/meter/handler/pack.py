"""From what use-cases return to the contract's messages."""

from __future__ import annotations

from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from meter.operating import Status
from meter.previewing import Preview
from meter.sinks.port import Finding
from usageflow.domain.billing import OPEN, Mode, Part, PartKind, Target
from usageflow.domain.previewing import Line
from usageflow.domain.reconciling import Compared
from usageflow.domain.units import format_units
from usageflow.domain.usage import ListedFailure, PendingRow
from usageflow.messages import timestamp_of
from usageflow.storage.billing import Hold, PartSum, Pause
from usageflow.v1 import billing_pb2, meter_pb2


def pending_row(row: PendingRow) -> meter_pb2.PendingUnits:
    """Returns units that wait."""
    message = meter_pb2.PendingUnits(
        policy=row.policy, price=row.price, requests=row.requests, units=format_units(row.units)
    )
    message.endpoint.method, message.endpoint.template = row.endpoint.method, row.endpoint.template
    message.oldest_time.seconds = row.oldest
    return message


def status(found: Status) -> billing_pb2.BillingStatus:
    """Returns how billing goes."""
    return billing_pb2.BillingStatus(
        sink=found.sink,
        account=found.account,
        sums=map(_sum, found.sums),
        holds=map(hold, found.holds),
        pauses=map(_pause, found.pauses),
        findings=map(_finding, found.findings),
    )


def part(found: Part) -> billing_pb2.BillingPart:
    """Returns a part."""
    return billing_pb2.BillingPart(
        part_id=found.part_id,
        customer=found.customer,
        target=_target(found.target),
        window_start=_at(found.window.start_s),
        window_end=_at(found.window.end_s),
        number=found.number,
        correction=found.kind is PartKind.CORRECTION,
        requests=found.requests,
        units=format_units(found.units),
        value=format_units(found.value),
        total=found.terms.mode is Mode.TOTAL,
        method=found.terms.method.value,
        payee=found.terms.payee,
        identifier=found.identifier,
        state=billing_pb2.BillingPartState.Value(f"BILLING_PART_STATE_{found.state}"),
        attempts=found.attempts,
        first_attempt_time=timestamp_of(found.first_attempt_us) if found.first_attempt_us else None,
        next_time=timestamp_of(found.next_us) if found.next_us and found.state in OPEN else None,
        note=found.note,
        stripe_id=found.stripe_id,
        stripe_request=found.stripe_request,
    )


def hold(found: Hold) -> billing_pb2.BillingHold:
    """Returns units that cannot be sent yet."""
    return billing_pb2.BillingHold(
        customer=found.customer,
        target=_target(found.target),
        reason=found.reason.value,
        message=found.message,
        requests=found.requests,
        units=format_units(found.units),
        oldest_time=_at(found.oldest_s),
        since=timestamp_of(found.since_us) if found.since_us else None,
    )


def compared(found: Compared) -> billing_pb2.ReconciledHour:
    """Returns an hour on both sides."""
    return billing_pb2.ReconciledHour(
        customer=found.customer,
        payee=found.place.payee,
        target=_target(found.place.target),
        hour=_at(found.place.hour_s),
        ours=format_units(found.ours),
        theirs=_text(found.theirs),
        drift=_text(found.drift),
        unsettled=found.unsettled,
    )


def preview(found: Preview) -> billing_pb2.BillPreview:
    """Returns a bill so far."""
    return billing_pb2.BillPreview(
        customer=found.payer.customer,
        stripe_customer=found.payer.stripe_customer,
        lines=map(_line, found.lines),
        holds=map(hold, found.holds),
    )


def _line(found: Line) -> billing_pb2.BillLine:
    return billing_pb2.BillLine(
        target=_target(found.target),
        period_start=_at(found.period.start_s),
        period_end=_at(found.period.end_s),
        sent=format_units(found.sent),
        sending=format_units(found.sending),
        open=format_units(found.open),
        stuck=format_units(found.stuck),
        unit_amount=_text(found.unit_amount),
        currency=found.currency,
        amount=_text(found.amount),
    )


def _sum(found: PartSum) -> billing_pb2.BillingSum:
    return billing_pb2.BillingSum(
        target=_target(found.target),
        state=billing_pb2.BillingPartState.Value(f"BILLING_PART_STATE_{found.state}"),
        parts=found.parts,
        requests=found.requests,
        units=format_units(found.units),
        oldest_time=_at(found.oldest_s),
    )


def _pause(found: Pause) -> billing_pb2.BillingPause:
    return billing_pb2.BillingPause(
        destination=found.destination, message=found.message, since=timestamp_of(found.since_us)
    )


def _finding(found: Finding) -> billing_pb2.BillingFinding:
    target = None if found.target is None else _target(found.target)
    return billing_pb2.BillingFinding(level=found.level.value, message=found.message, target=target)


def _target(target: Target) -> billing_pb2.BillingTarget:
    return billing_pb2.BillingTarget(
        trigger=target.trigger.value, price=target.price, event_name=target.event_name
    )


def _at(second: int) -> Timestamp:
    return Timestamp(seconds=second)


def _text(value: Decimal | None) -> str:
    return "" if value is None else format_units(value)


def failure(listed: ListedFailure) -> billing_pb2.MeteringFailure:
    """Returns the message of a metering expression that came to nothing."""
    found = listed.failure
    return billing_pb2.MeteringFailure(
        record_id=listed.record_id,
        policy=found.policy,
        price=found.price,
        revision=found.revision,
        message=found.message,
        time=timestamp_of(found.time_us),
    )

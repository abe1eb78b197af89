"""From the contract's messages to what use-cases take. Every function raises InvalidArgument for what it cannot read."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from meter.operating import MOST_PARTS
from usageflow.domain.billing import PartState
from usageflow.domain.errors import InvalidArgument
from usageflow.storage.billing import Move, PartFilter
from usageflow.v1 import billing_pb2

_STATE, _MOVE = "BILLING_PART_STATE_", "BILLING_MOVE_"
_MOST_S = 253_402_300_800
"""The year 10000: databases take no later second."""


def part_filter(message: billing_pb2.BillingPartFilter) -> PartFilter:
    """Returns the filter."""
    if len(message.part_ids) > MOST_PARTS:
        raise InvalidArgument.of(
            "filter.part_ids", f"has {len(message.part_ids)} ids", f"name at most {MOST_PARTS} at a time"
        )
    if any(not 0 < each < 2**63 for each in message.part_ids):
        raise InvalidArgument.of("filter.part_ids", "has a number that is no id", "send ids of parts")
    return PartFilter(
        frozenset(_state(each) for each in message.states),
        message.customer,
        message.price,
        _second(message.since) if message.HasField("since") else None,
        _second(message.until) if message.HasField("until") else None,
        tuple(message.part_ids),
    )


def _second(instant: Timestamp) -> int:
    return max(0, min(instant.seconds, _MOST_S))


def _state(number: int) -> PartState:
    name = billing_pb2.BillingPartState.DESCRIPTOR.values_by_number.get(number)
    if name is None or not number:
        raise InvalidArgument.of("filter.states", "has a state that is none", "send states of the contract")
    return PartState(name.name.removeprefix(_STATE))


def move(number: int) -> Move:
    """Returns what is to be done."""
    name = billing_pb2.BillingMove.DESCRIPTOR.values_by_number.get(number)
    if name is None or not number:
        raise InvalidArgument.of("move", "is not set", "say what to do with the parts")
    return Move(name.name.removeprefix(_MOVE))


def since(request: billing_pb2.ReconcileBillingRequest) -> int:
    """Returns the second from which on to compare."""
    if not request.HasField("since"):
        raise InvalidArgument.of("since", "is not set", "say from when on to compare")
    return _second(request.since)


def customer(request: billing_pb2.GetBillPreviewRequest) -> str:
    """Returns the customer's name."""
    if not request.customer:
        raise InvalidArgument.of("customer", "is empty", "name the customer")
    return request.customer


def destination(request: billing_pb2.ResumeDestinationRequest) -> str:
    """Returns the destination's name."""
    if not request.destination:
        fix = "name one that `usageflow meter status` shows as paused"
        raise InvalidArgument.of("destination", "is empty", fix)
    return request.destination


def ensure_one_correction(request: billing_pb2.CorrectUsageRequest) -> None:
    """Raises InvalidArgument where neither or both of units and cancel are set."""
    if request.cancel == bool(request.units):
        message = "is set together with cancel" if request.cancel else "is empty"
        raise InvalidArgument.of("units", message, "send either units, such as -5, or cancel")
    if not 0 < request.part_id < 2**63:
        raise InvalidArgument.of("part_id", "is no id", "send the id of a part")

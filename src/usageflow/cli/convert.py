"""Between the models, the contract's messages and what JSON shows."""

from __future__ import annotations

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration

from usageflow.messages import (
    block_message,
    customer_message,
    plan_message,
    policy_message,
    strategy_message,
)
from usageflow.policyfile import LoadedFile
from usageflow.v1 import admin_pb2, common_pb2


def apply_request(
    loaded: LoadedFile, *, prune: bool, dry_run: bool, message: str = ""
) -> admin_pb2.ApplyRequest:
    """Returns what makes the service equal to the file; items keep the file's order, so field paths fit both."""
    return admin_pb2.ApplyRequest(
        application=loaded.application,
        strategies=[strategy_message(each) for each in loaded.policy_set.strategies],
        policies=[policy_message(each) for each in loaded.policy_set.policies],
        plans=[plan_message(each) for each in loaded.policy_set.plans],
        blocks=[block_message(each) for each in loaded.blocks],
        customers=[customer_message(each) for each in loaded.customers],
        prune=prune,
        validate_only=dry_run,
        message=message,
    )


def seconds_of(duration: Duration) -> int | float:
    """Returns seconds: an int when whole."""
    return round(duration.seconds + duration.nanos / 1e9, 9) if duration.nanos else duration.seconds


def bare_name(enum: EnumDescriptor, value: int, prefix: str) -> str:
    """Returns an enum's name without its prefix; the number itself where a newer service sent a new value."""
    named = enum.values_by_number.get(value)
    return str(named.name).removeprefix(prefix) if named else str(value)


def endpoint_title(endpoint: common_pb2.Endpoint) -> str:
    """Returns how people name an endpoint: ``POST /api/transactions``."""
    return f"{endpoint.method} {endpoint.template}".strip()

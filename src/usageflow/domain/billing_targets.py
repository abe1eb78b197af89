"""Billing targets that policies share: a price and an event name are reached one way only. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from usageflow.domain.errors import Fault
from usageflow.domain.policies import Metering, Mode, Policy


def target_faults(policies: Sequence[Policy]) -> Iterator[Fault]:
    """Yields what reaches a target of an earlier policy another way. Disabled policies bill nothing."""
    seen: dict[tuple[str, str], tuple[str, Metering]] = {}
    for index, policy in enumerate(policies):
        metering = policy.metering
        if metering is None or policy.mode is Mode.DISABLED:
            continue
        for kind, target in _targets(metering):
            name, first = seen.setdefault((kind, target), (policy.name, metering))
            for field, message, fix in _conflicts(kind, target, name, first, metering):
                yield Fault(f"policies[{index}].metering.{field}", message, fix, "BILLING_TARGET_CONFLICT")


def _targets(metering: Metering) -> Iterator[tuple[str, str]]:
    yield "price", metering.price
    if metering.event_name:
        yield "event_name", metering.event_name


def _conflicts(
    kind: str, target: str, name: str, first: Metering, metering: Metering
) -> Iterator[tuple[str, str, str]]:
    if metering.trigger is not first.trigger:
        message = f"reaches {kind} {target!r} by {metering.trigger}, policy {name!r} by {first.trigger}"
        yield "trigger", message, "use one trigger for both, or another price"
    if kind == "price" and metering.event_name != first.event_name:
        own, other = metering.event_name or "none", first.event_name or "none"
        message = f"is {own!r} for price {target!r}, which policy {name!r} reaches as {other!r}"
        yield "event_name", message, "use one event name per price, or leave it out in both"

"""What bills in this process, where a destination is set up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meter.freezing import Frozen
from meter.sinks.port import Finding, Sink
from usageflow.domain.errors import FailedPrecondition
from usageflow.storage.billing import BillingBook, BillingStore


class Billed(BillingStore, BillingBook, Protocol):
    """Both ports of billing, over one database."""


class Flushes(Protocol):
    """Freezes at once what an application has."""

    async def flush(self, application_id: str, customer: str = "", price: str = "") -> Frozen:
        """Freezes what an application has, of a customer ("": of all) and a price ("": all), the present hour too."""


class Checks(Protocol):
    """Knows what the last check of the destination found."""

    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Works:
    """The destination, and what freezes and checks for it."""

    sink: Sink
    freezer: Flushes
    checking: Checks


def needed(works: Works | None) -> Works:
    """Returns what bills. Raises FailedPrecondition (BILLING_NOT_SET_UP) where units are sent nowhere."""
    if works is None:
        message = (
            "units are sent nowhere: set STRIPE_API_KEY, or USAGEFLOW_BILLING to another destination, "
            "and start the service again"
        )
        raise FailedPrecondition(message, reason="BILLING_NOT_SET_UP")
    return works

"""What a person may take back of a part or add to it, and how. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from usageflow.domain.billing import Method, Mode, Part, PartState
from usageflow.domain.billing_rules import OLDEST_US
from usageflow.domain.errors import FailedPrecondition, InvalidArgument
from usageflow.domain.units import format_units, parse_units

CANCEL_US = 24 * 3_600_000_000
"""For so long Stripe cancels a meter event."""

MOST_REASON = 200

_SIGNED = re.compile(r"([+-]?)(.*)", re.DOTALL)
_GO_ON = {
    PartState.FROZEN: "it was not sent yet: hold it with `usageflow meter hold`",
    PartState.SENDING: "its outcome is not known yet: wait until it is sent",
    PartState.HELD: "it is held and was not sent: nothing has to be taken back",
    PartState.REJECTED: "it was not taken: nothing has to be taken back",
    PartState.EXPIRED: "it was not taken: nothing has to be taken back",
    PartState.AMBIGUOUS: "nobody knows whether it was taken: settle that first, with `usageflow meter retry`",
    PartState.CANCELLED: "it was taken back already",
}


def read_units(text: str) -> Decimal:
    """Returns signed units. Raises InvalidArgument for 0 and for what is no decimal."""
    found = _SIGNED.fullmatch(text)
    sign, digits = found.groups() if found is not None else ("", text)
    try:
        units = parse_units(digits)
    except ValueError as error:
        raise InvalidArgument.of("units", str(error), "write units such as -5 or 2.5") from None
    if not units:
        raise InvalidArgument.of("units", "is 0", "write what to add; negative takes back")
    return -units if sign == "-" else units


def ensure_reason(reason: str) -> None:
    """Raises InvalidArgument where a reason is empty, too long or not printable."""
    if not reason.strip() or len(reason) > MOST_REASON or not reason.isprintable():
        fix = f"say why in one line of at most {MOST_REASON} characters"
        raise InvalidArgument.of("reason", "is empty, too long or not one line", fix)


def ensure_sent(part: Part) -> None:
    """Raises FailedPrecondition where a part does not count at its destination."""
    if part.state is not PartState.SENT:
        message = f"part {part.part_id} is {part.state}: {_GO_ON[part.state]}"
        raise FailedPrecondition(message, reason="PART_NOT_SENT")


def ensure_within(part: Part, units: Decimal, now_us: int) -> None:
    """Raises InvalidArgument where more is taken back than the part has, FailedPrecondition where its window is too old."""
    if units < -part.units:
        fix = f"take back at most {format_units(part.units)}"
        raise InvalidArgument.of("units", f"takes back more than part {part.part_id} has", fix)
    if part.terms.timestamp_s * 1_000_000 < now_us - OLDEST_US:
        message = f"part {part.part_id} is older than 35 days, and no destination takes units of then: correct the invoice by hand"
        raise FailedPrecondition(message, reason="TOO_OLD")


def can_cancel(part: Part, now_us: int) -> bool:
    """Tells whether the destination itself may take a part back. A total is lowered by a correction, whatever its age."""
    young = now_us - max(part.first_attempt_us, part.created_us) < CANCEL_US
    return young and part.terms.method is Method.METER_EVENT and part.terms.mode is Mode.DELTA

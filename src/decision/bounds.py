"""Bounds of reported usage. Every function raises InvalidArgument, whose faults name the field of the item."""

from __future__ import annotations

import math
from decimal import Decimal

from decision.reported import ReportedCount, ReportedEvent, Verdict
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.identity import MAX_VALUE_BYTES, size_of
from usageflow.domain.ids import DAY_S, ID_DAYS, day_of
from usageflow.domain.units import parse_units

LATE_S = 34 * DAY_S
EARLY_S = 300
_DAY_US = DAY_S * 1_000_000
MAX_QUANTITY = 1e15
MAX_METADATA_BYTES = 16 * 1024
MAX_PATH_BYTES = 8192
LAST_BUCKET = 1111
_MAX_COUNTED = 10**9
_MAX_SHADOW = 16
_MAX_BYTES = 2**62
MAX_REVISION = 2**62
_HASH_KEY_LENGTH = 66
_SHORT = MAX_VALUE_BYTES // 4
"""Characters of a key that cannot be too many bytes."""

OUT_OF_RANGE_REASONS = frozenset({"TIME_TOO_OLD", "TIME_IN_FUTURE", "ID_OUT_OF_RANGE"})


def day(field: str, record_id: str, now_us: int) -> int:
    """Returns the day of an id, 0 for one that is no UUIDv7."""
    day = day_of(record_id)
    if not day and not (1 <= len(record_id) <= 128 and record_id.isprintable()):
        raise InvalidArgument.of(
            field, "is not 1 to 128 printable characters", "make a UUIDv7 before the first send"
        )
    if day and not -ID_DAYS < day - now_us // _DAY_US <= 1:
        message = "is a UUIDv7 of a day for which ids are not kept"
        raise InvalidArgument.of(
            field, message, "report within 34 days, by a clock that is right", "ID_OUT_OF_RANGE"
        )
    return day


def second_in_range(field: str, second: int, now_us: int) -> int:
    """Returns the second where it is from 34 days back to 5 minutes ahead."""
    ahead_s = second - now_us // 1_000_000
    if -LATE_S <= ahead_s <= EARLY_S:
        return second
    if ahead_s < 0:
        raise InvalidArgument.of(
            field, "is more than 34 days ago", "report sooner: it can no longer be billed", "TIME_TOO_OLD"
        )
    message = "is more than 5 minutes ahead"
    raise InvalidArgument.of(field, message, "set the reporter's clock, or send sent_at", "TIME_IN_FUTURE")


def check_status(status: int) -> None:
    """Checks an HTTP status."""
    if not 100 <= status <= 599:
        raise InvalidArgument.of("status", f"{status} is not an HTTP status", "send 100 to 599")


def check_verdict(verdict: Verdict) -> None:
    """Checks what the reporter says of the decision."""
    if not verdict.understood:
        raise InvalidArgument.of("decision", "is not a decision", "send ALLOW, DENY, or leave it unset")
    if verdict.revision > MAX_REVISION:
        raise InvalidArgument.of("revision", "is over 2^62", "send the one that the answer named, or 0")
    if len(verdict.shadow) > _MAX_SHADOW:
        message = f"names {len(verdict.shadow)} policies"
        raise InvalidArgument.of("shadow_denials", message, f"send at most {_MAX_SHADOW}")


def check_identity(identity: str) -> None:
    """Checks an identity's key: a hash has one length, a plain value at most 256 bytes (never cut: two would be one)."""
    if len(identity) <= _SHORT and identity[:2] != "h:" and "\0" not in identity:
        return
    if identity.startswith("h:") and len(identity) != _HASH_KEY_LENGTH:
        raise InvalidArgument.of("identity.hash", "is not 32 bytes", "send HMAC-SHA256, 32 bytes")
    if identity.startswith("v:") and size_of(identity) > MAX_VALUE_BYTES + 2:
        raise InvalidArgument.of("identity.value", "is over 256 bytes", "send the value's keyed hash instead")
    _check_text("identity.value", identity)


def _check_text(field: str, text: str) -> None:
    """Refuses what one of the databases cannot hold."""
    if "\0" in text:
        raise InvalidArgument.of(field, "holds a NUL character", "leave it out")


def check_event(event: ReportedEvent) -> None:
    """Checks sizes and durations of an event."""
    path = event.path
    if path:
        _check_text("path", path)
    if not 0 <= event.latency_us <= _DAY_US:
        raise InvalidArgument.of("latency", "is negative or over 24 h", "send the time the request took")
    if path and _is_over(path, MAX_PATH_BYTES):
        raise InvalidArgument.of("path", f"is over {MAX_PATH_BYTES} bytes", "cut it or leave it empty")
    if event.detail_json and _is_over(event.detail_json, MAX_METADATA_BYTES):
        message = f"is over {MAX_METADATA_BYTES} bytes"
        raise InvalidArgument.of("metadata", message, "send less, or references to it", "METADATA_TOO_LARGE")
    _check_bytes(event.request_bytes, event.response_bytes)


def _is_over(text: str, most: int) -> bool:
    """Tells whether a text has more than ``most`` bytes. A character has four at most, so short texts need no look."""
    return len(text) * 4 > most and len(text.encode()) > most


def _check_bytes(request_bytes: int, response_bytes: int) -> None:
    if request_bytes <= _MAX_BYTES and response_bytes <= _MAX_BYTES:
        return
    for field, size in (("request_bytes", request_bytes), ("response_bytes", response_bytes)):
        if size > _MAX_BYTES:
            raise InvalidArgument.of(field, "is over 2^62", "send the bytes of the request")


def quantity_of(quantity: float | None) -> float:
    """Returns the quantity, 1 where none was said."""
    if quantity is None:
        return 1.0
    if not math.isfinite(quantity) or not 0 <= quantity <= MAX_QUANTITY:
        raise InvalidArgument.of("quantity", f"{quantity} is out of bounds", "send a number from 0 to 1e15")
    return quantity


def units_of(count: ReportedCount) -> Decimal:
    """Returns the units of a count, its requests where none were said."""
    if not count.units:
        return Decimal(count.requests)
    try:
        return parse_units(count.units)
    except ValueError as error:
        raise InvalidArgument.of("units", str(error), "send a decimal such as 12.5") from None


def histogram_of(count: ReportedCount) -> tuple[tuple[int, int], ...]:
    """Returns the latency histogram: rising indices, adding up to the requests; or none."""
    if count.latency is None:
        message = "has another length than latency_buckets"
        raise InvalidArgument.of("latency_counts", message, "send one count per bucket index")
    indices = [index for index, _ in count.latency]
    if indices != sorted(set(indices)) or any(index > LAST_BUCKET for index in indices):
        message = "are not rising indices from 0 to 1111"
        raise InvalidArgument.of("latency_buckets", message, "send each bucket of spec/vectors/latency once")
    if count.latency and sum(number for _, number in count.latency) != count.requests:
        raise InvalidArgument.of(
            "latency_counts", "do not add up to requests", "count every request once, or send none"
        )
    return count.latency


def check_count(count: ReportedCount) -> None:
    """Checks the numbers of a count."""
    if not 1 <= count.requests <= _MAX_COUNTED:
        raise InvalidArgument.of(
            "requests", f"{count.requests} is out of bounds", "send 1 to 1e9 requests per count"
        )
    _check_bytes(count.request_bytes, count.response_bytes)

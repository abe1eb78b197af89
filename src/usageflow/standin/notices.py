"""Thin events that tell of meter errors afterwards (https://docs.stripe.com/api/v2/core/events), signed as Stripe signs them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import defaultdict
from datetime import UTC, datetime

from usageflow.standin.book import Book, Object
from usageflow.standin.errors import missing

_TOLD = {
    "meter_event_customer_not_found": "Customer mapping key references a customer that does not exist",
    "meter_event_no_customer_defined": "Customer mapping key not found in payload",
    "archived_meter": "The meter is inactive",
    "no_meter": "No meter found for the event name",
    "meter_event_invalid_value": "The value is not a number",
    "meter_event_value_too_many_digits": "The value has too many significant digits",
    "timestamp_in_future": "The timestamp is too far in the future",
    "timestamp_too_far_in_past": "The timestamp is too far in the past",
    "parameter_missing": "A field of the event is missing",
}
_SAMPLES = 3
"""How many failing events a report names, whatever their number."""


def collect(book: Book) -> list[Object]:
    """Makes a thin event per meter of what failed since the last call; returns them as they are posted."""
    failed, book.notices = book.notices, []
    by_meter: dict[str, list[Object]] = defaultdict(list)
    for each in failed:
        by_meter[each["meter"]["id"] if each["meter"] else ""].append(each)
    return [_made(book, meter, some) for meter, some in sorted(by_meter.items())]


def _made(book: Book, meter: str, failed: list[Object]) -> Object:
    kind = "v1.billing.meter.error_report_triggered" if meter else "v1.billing.meter.no_meter_found"
    now_s = book.clock.now_s()
    thin: Object = {
        "id": book.new_id("evt"),
        "object": "v2.core.event",
        "type": kind,
        "created": rfc3339(now_s),
        "livemode": False,
        "context": None,
    }
    if meter:
        related = {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"}
        thin["related_object"] = related
    starts = [each["event"]["created"] for each in failed]
    data = {
        "developer_message_summary": f"There are {len(failed)} invalid events",
        "validation_start": rfc3339(min(starts) // 60 * 60),
        "validation_end": rfc3339(max(starts) // 60 * 60 + 60),
        "reason": {"error_count": len(failed), "error_types": _types(failed)},
    }
    book.all("event")[thin["id"]] = {**thin, "data": data}
    return thin


def _types(failed: list[Object]) -> list[Object]:
    by_code: dict[str, list[Object]] = defaultdict(list)
    for each in failed:
        by_code[each["code"]].append(each["event"])
    return [
        {
            "code": code,
            "error_count": len(events),
            "sample_errors": [
                {"error_message": _TOLD[code], "request": {"identifier": each["identifier"]}}
                for each in events[:_SAMPLES]
            ],
        }
        for code, events in sorted(by_code.items())
    ]


def rfc3339(second: int) -> str:
    """Returns a time as v2 of the API writes it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def get(book: Book, params: Object) -> Object:
    """GET /v2/core/events/{id}."""
    found = book.all("event").get(params["id"])
    if found is None:
        raise missing("event", params["id"])
    return found


def signed(body: bytes, secret: str, now_s: int) -> str:
    """Returns the header Stripe-Signature of a body."""
    text = f"{now_s}.".encode() + body
    return f"t={now_s},v1={hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}"


def encoded(thin: Object) -> bytes:
    """Returns a thin event as it is posted."""
    return json.dumps(thin, separators=(",", ":")).encode()

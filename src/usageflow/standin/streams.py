"""Streams of meter events: a session's token takes up to 100 events a call, and all of them are looked at afterwards
(https://docs.stripe.com/api/v2/billing/meter-event-stream).
"""

from __future__ import annotations

import secrets

from usageflow.standin.book import Book, Object
from usageflow.standin.errors import StripeError, invalid
from usageflow.standin.metering import create_event_v2, meter_of
from usageflow.standin.notices import rfc3339

SESSION_S = 900
MOST_EVENTS = 100


def create_session(book: Book, _: Object) -> Object:
    """POST /v2/billing/meter_event_session."""
    now_s = book.clock.now_s()
    token = f"mes_test_{secrets.token_urlsafe(24)}"
    book.sessions[token] = now_s + SESSION_S
    return {
        "id": book.new_id("mes"),
        "object": "v2.billing.meter_event_session",
        "authentication_token": token,
        "created": rfc3339(now_s),
        "expires_at": rfc3339(now_s + SESSION_S),
        "livemode": False,
    }


def create_events(book: Book, params: Object) -> Object:
    """POST /v2/billing/meter_event_stream: takes all or, where it cannot be read, none."""
    events = params.get("events")
    if not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        raise invalid("events must be a list of meter events.", "events")
    if not 0 < len(events) <= MOST_EVENTS:
        raise invalid(f"events must have 1 to {MOST_EVENTS} meter events.", "events")
    for each in events:
        _take(book, each)
    return {}


def _take(book: Book, event: Object) -> None:
    """Counts an event; what is wrong with it is told by a notice, and one that is there already is passed by."""
    try:
        create_event_v2(book, event)
    except StripeError as error:
        if error.code:
            named = {"identifier": str(event.get("identifier") or ""), "created": book.clock.now_s()}
            meter = meter_of(book, str(event.get("event_name")))
            book.notices.append({"code": error.code, "event": named, "meter": meter})

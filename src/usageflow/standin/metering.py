"""Meter events, what becomes of them later, and what they add up to.

An answer of 200 means accepted: whether the customer and the value are right is looked at afterwards, and told by a notice
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from usageflow.standin.book import Book, Object, required, table, whole
from usageflow.standin.errors import StripeError, invalid, missing

HOUR_S, DAY_S = 3_600, 86_400
UNIQUE_FOR_S = DAY_S
OLDEST_S = 35 * DAY_S
NEWEST_S = 300
CANCEL_WITHIN_S = DAY_S
_LONGEST_ID = 100
_MOST_DIGITS = 15
_STEPS = {"hour": HOUR_S, "day": DAY_S}


def create_event(book: Book, params: Object) -> Object:
    """POST /v1/billing/meter_events."""
    now_s = book.clock.now_s()
    name, payload = required(params, "event_name"), table(params, "payload")
    at_s = whole(params, "timestamp", now_s)
    return _accept(book, name, payload, at_s, str(params.get("identifier") or ""), now_s)


def create_event_v2(book: Book, params: Object) -> Object:
    """POST /v2/billing/meter_events; its timestamp is RFC 3339."""
    now_s = book.clock.now_s()
    text = params.get("timestamp")
    try:
        at_s = now_s if text is None else int(datetime.fromisoformat(str(text)).timestamp())
    except ValueError:
        raise invalid("Invalid timestamp.", "timestamp") from None
    name, payload = required(params, "event_name"), table(params, "payload")
    return _accept(book, name, payload, at_s, str(params.get("identifier") or ""), now_s)


def _accept(
    book: Book, name: str, payload: Mapping[str, Any], at_s: int, identifier: str, now_s: int
) -> Object:
    if len(identifier) > _LONGEST_ID:
        raise invalid("identifier must be at most 100 characters.", "identifier")
    if at_s < now_s - OLDEST_S:
        raise invalid(
            "The timestamp cannot be more than 35 days in the past.", "timestamp", "timestamp_too_far_in_past"
        )
    if at_s > now_s + NEWEST_S:
        raise invalid(
            "The timestamp cannot be more than 5 minutes in the future.", "timestamp", "timestamp_in_future"
        )
    meter = meter_of(book, name)
    value = _value(meter, payload)
    known = book.identifiers.get(identifier) if identifier else None
    if known is not None and now_s - known["created"] < UNIQUE_FOR_S:
        raise StripeError(
            400,
            f"An event already exists with identifier {identifier}.",
            headers={"stripe-should-retry": "false"},
        )
    event: Object = {
        "object": "billing.meter_event",
        "identifier": identifier or book.new_id("mev"),
        "event_name": name,
        "payload": dict(payload),
        "timestamp": at_s,
        "created": now_s,
        "livemode": False,
    }
    event["_value"], event["_state"] = value, "counted"
    book.events.append(event)
    book.identifiers[event["identifier"]] = event
    _look_later(book, meter, event)
    return shown(event)


def shown(event: Object) -> Object:
    """Returns an event without what only the stand-in knows."""
    return {name: value for name, value in event.items() if not name.startswith("_")}


def meter_of(book: Book, name: str) -> Object | None:
    """Returns the meter that counts events of a name, an active one first; None where there is none."""
    named = [each for each in book.all("billing.meter").values() if each["event_name"] == name]
    return next((each for each in named if each["status"] == "active"), named[0] if named else None)


def _value(meter: Object | None, payload: Mapping[str, Any]) -> Decimal:
    """Returns the value of a payload. Raises StripeError where it is none, or has too many digits."""
    key = meter["value_settings"]["event_payload_key"] if meter else "value"
    text = str(payload.get(key, ""))
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or "e" in text.lower():
        raise invalid(
            f"The payload's {key} must be a number.", f"payload[{key}]", "meter_event_invalid_value"
        )
    if len(value.normalize().as_tuple().digits) > _MOST_DIGITS:
        message = f"The payload's {key} has more than {_MOST_DIGITS} significant digits."
        raise invalid(message, f"payload[{key}]", "meter_event_value_too_many_digits")
    return value


def _look_later(book: Book, meter: Object | None, event: Object) -> None:
    """Finds what Stripe tells only by a notice, and counts such an event for nobody."""
    code = ""
    if meter is None:
        code = "no_meter"
    elif meter["status"] != "active":
        code = "archived_meter"
    else:
        name = event["payload"].get(meter["customer_mapping"]["event_payload_key"])
        if not name:
            code = "meter_event_no_customer_defined"
        elif name not in book.all("customer"):
            code = "meter_event_customer_not_found"
    if code:
        event["_state"] = code
        book.notices.append({"code": code, "event": event, "meter": meter})


def cancel_event(book: Book, params: Object) -> Object:
    """POST /v1/billing/meter_event_adjustments."""
    name, identifier = required(params, "event_name"), str(required(table(params, "cancel"), "identifier"))
    if params.get("type") != "cancel":
        raise invalid("Invalid type: must be cancel", "type")
    event = book.identifiers.get(identifier)
    if event is None or event["event_name"] != name:
        raise missing("meter event", identifier)
    if book.clock.now_s() - event["created"] > CANCEL_WITHIN_S:
        raise invalid("The meter event was received more than 24 hours ago.", "cancel[identifier]")
    if event["_state"] == "cancelled":
        raise invalid("The meter event was cancelled already.", "cancel[identifier]")
    event["_state"] = "cancelled"
    return {
        "object": "billing.meter_event_adjustment",
        "event_name": name,
        "livemode": False,
        "status": "complete",
        "type": "cancel",
        "cancel": {"identifier": identifier},
    }


def summaries(book: Book, params: Object) -> Object:
    """GET /v1/billing/meters/{id}/event_summaries."""
    meter = book.get("billing.meter", params["id"])
    customer = required(params, "customer")
    start, end = whole(params, "start_time"), whole(params, "end_time")
    step = _step(params, start, end)
    counted = [event for event in _visible(book, meter) if _customer(meter, event) == customer]
    data = []
    for first in range(start, end, step):
        last = min(first + step, end)
        within = [event for event in counted if first <= event["timestamp"] < last]
        if within or step == end - start:
            data.append(_summary(meter, first, last, aggregated(meter, within)))
    data.reverse()
    limit = whole(params, "limit", 10, most=100)
    after = params.get("starting_after")
    ids = [each["id"] for each in data]
    data = data[ids.index(after) + 1 :] if after in ids else data
    url = f"/v1/billing/meters/{meter['id']}/event_summaries"
    return {"object": "list", "url": url, "has_more": len(data) > limit, "data": data[:limit]}


def _step(params: Object, start: int, end: int) -> int:
    grouping = params.get("value_grouping_window")
    step = _STEPS.get(str(grouping), 60)
    if start % step or end % step:
        raise invalid(
            f"start_time and end_time must be aligned with {grouping or 'minute'} boundaries.", "start_time"
        )
    if end <= start:
        raise invalid("end_time must be after start_time.", "end_time")
    return step if grouping else end - start


def _summary(meter: Object, start: int, end: int, value: Decimal) -> Object:
    return {
        "id": f"mtrusg_{meter['id']}_{start}",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(value),
        "start_time": start,
        "end_time": end,
        "livemode": False,
        "meter": meter["id"],
    }


def _visible(book: Book, meter: Object) -> Iterable[Object]:
    """Yields the events that a meter counts and summaries know of already."""
    known_s = book.clock.now_s() - book.lag_s
    for event in book.events:
        if (
            event["event_name"] == meter["event_name"]
            and event["_state"] == "counted"
            and event["created"] <= known_s
        ):
            yield event


def _customer(meter: Object, event: Object) -> str:
    return str(event["payload"].get(meter["customer_mapping"]["event_payload_key"], ""))


def aggregated(meter: Object, events: Iterable[Object]) -> Decimal:
    """Returns what events of one customer add up to under a meter: of a meter with a window only the newest of each counts."""
    counting = sorted(events, key=lambda each: (each["timestamp"], each["created"]))
    window = meter["event_time_window"]
    if window is not None:
        newest = {each["timestamp"] // _STEPS[window]: each for each in counting}
        counting = list(newest.values())
    match meter["default_aggregation"]["formula"]:
        case "count":
            return Decimal(len(counting))
        case "last":
            return counting[-1]["_value"] if counting else Decimal(0)
        case _:
            return sum((each["_value"] for each in counting), Decimal(0))


def by_hour(book: Book) -> list[Object]:
    """Returns what every meter counts by customer and hour: exact, whatever summaries show by now."""
    rows: list[Object] = []
    for meter in book.all("billing.meter").values():
        groups: dict[tuple[str, int], list[Object]] = defaultdict(list)
        for event in book.events:
            if event["event_name"] == meter["event_name"] and event["_state"] == "counted":
                groups[_customer(meter, event), event["timestamp"] // HOUR_S * HOUR_S].append(event)
        rows += [
            {
                "event_name": meter["event_name"],
                "meter": meter["id"],
                "customer": customer,
                "hour": hour,
                "units": format(aggregated(meter, events), "f"),
                "identifiers": len(events),
            }
            for (customer, hour), events in sorted(groups.items())
        ]
    return rows


def total(book: Book, meter: Object, customer: str, start_s: int = 0, end_s: int = 2**62) -> Decimal:
    """Returns what a meter counts for a customer within a span."""
    return aggregated(
        meter,
        [
            event
            for event in book.events
            if event["event_name"] == meter["event_name"]
            and event["_state"] == "counted"
            and _customer(meter, event) == customer
            and start_s <= event["timestamp"] < end_s
        ],
    )

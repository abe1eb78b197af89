"""Options that verbs of `usageflow meter` share, and what they show of parts and holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli.output import Column, print_table
from usageflow.cli.times import format_instant, parse_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from google.protobuf.timestamp_pb2 import Timestamp

    from usageflow.cli.connection import Connection
    from usageflow.v1.billing_pb2 import BillingHold, BillingPart, BillingPartFilter, BillingTarget

PREFIX = "BILLING_PART_STATE_"
_PAGE = 1_000


class State(StrEnum):
    """How far a part has come."""

    FROZEN = "frozen"
    SENDING = "sending"
    SENT = "sent"
    REJECTED = "rejected"
    HELD = "held"
    AMBIGUOUS = "ambiguous"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", min=1, help="Ids of parts.")]
States = Annotated[
    list[State] | None,
    typer.Option("--state", case_sensitive=False, help="Only these states; may be repeated."),
]
Customer = Annotated[str, typer.Option("--customer", help="Only of this customer.")]
Price = Annotated[str, typer.Option("--price", help="Only of this Stripe Price.")]
Since = Annotated[
    str, typer.Option("--since", help="Windows from then on: 30m, 24h, 7d ago, or an RFC 3339 time.")
]
Until = Annotated[str, typer.Option("--until", help="Windows before then, as --since.")]


def part_filter(
    ids: list[int] | None = None,
    states: list[State] | None = None,
    customer: str = "",
    price: str = "",
    since: str = "",
    until: str = "",
) -> BillingPartFilter:
    """Returns the filter. Raises typer.BadParameter for what is no time."""
    from usageflow.v1.billing_pb2 import BillingPartFilter, BillingPartState

    return BillingPartFilter(
        states=[BillingPartState.Value(f"{PREFIX}{each.name}") for each in states or ()],
        customer=customer,
        price=price,
        since=instant_of(since, "--since") if since else None,
        until=instant_of(until, "--until") if until else None,
        part_ids=ids,
    )


def instant_of(text: str, option: str) -> Timestamp:
    """Returns the instant. Raises typer.BadParameter for what is none."""
    from google.protobuf.timestamp_pb2 import Timestamp

    try:
        us = max(parse_instant(text, now_us=time.time_ns() // 1000), 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
    return Timestamp(seconds=us // 1_000_000)


def read_parts(
    connection: Connection, application: str, wanted: BillingPartFilter, limit: int
) -> Iterator[BillingPart]:
    """Yields parts, newest first, at most ``limit`` (0: all)."""
    from usageflow.v1.billing_pb2 import ListBillingPartsRequest

    left, token = limit, ""
    while True:
        size = min(left, _PAGE) if limit else _PAGE
        request = ListBillingPartsRequest(
            application=application, filter=wanted, page_size=size, page_token=token
        )
        page = connection.as_admin(connection.meter.ListBillingParts, request)
        yield from page.parts
        left, token = left - len(page.parts), page.next_page_token
        if not token or (limit and left <= 0):
            return


def state_name(number: int) -> str:
    """Returns the bare name of a state."""
    from usageflow.cli.convert import bare_name
    from usageflow.v1 import billing_pb2

    return bare_name(billing_pb2.BillingPartState.DESCRIPTOR, number, PREFIX)


def part_document(part: BillingPart) -> dict[str, Any]:
    """Returns what programs read of a part."""
    return {
        "part": part.part_id,
        "customer": part.customer,
        **target_document(part.target),
        "window_start": format_instant(part.window_start.seconds),
        "window_end": format_instant(part.window_end.seconds),
        "number": part.number,
        "correction": part.correction,
        "requests": part.requests,
        "units": number_of(part.units),
        "value": number_of(part.value),
        "total": part.total,
        "method": part.method,
        "payee": part.payee,
        "identifier": part.identifier,
        "state": state_name(part.state),
        "attempts": part.attempts,
        "first_attempt": _instant(part, "first_attempt_time"),
        "next": _instant(part, "next_time"),
        "note": part.note,
        "stripe_id": part.stripe_id,
        "stripe_request": part.stripe_request,
    }


def target_document(target: BillingTarget) -> dict[str, str]:
    """Returns where units are billed."""
    return {"trigger": target.trigger, "price": target.price, "event_name": target.event_name}


def hold_document(hold: BillingHold) -> dict[str, Any]:
    """Returns units that cannot be sent yet."""
    return {
        "customer": hold.customer,
        **target_document(hold.target),
        "reason": hold.reason,
        "requests": hold.requests,
        "units": number_of(hold.units),
        "oldest": format_instant(hold.oldest_time.seconds),
        "message": hold.message,
    }


def print_holds(rows: list[dict[str, Any]]) -> None:
    """Prints units that cannot be sent yet, with the sentence what to do."""
    columns = [Column("customer"), Column("price"), Column("reason"), Column("units", right=True)]
    columns += [Column("oldest"), Column("why, and what to do")]
    keys = ("customer", "price", "reason", "units", "oldest", "message")
    print_table(columns, [[row[key] for key in keys] for row in rows])


def number_of(text: str) -> Decimal | None:
    """Returns a decimal, None for an empty text."""
    return Decimal(text) if text else None


def _instant(message: Any, field: str) -> str | None:
    return format_instant(getattr(message, field).seconds) if message.HasField(field) else None

"""`usageflow meter flush`: freezes and sends now what would wait for its hour to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from usageflow.cli import options
from usageflow.cli.failure import Failure
from usageflow.cli.meter_rows import (
    Customer,
    Price,
    State,
    hold_document,
    number_of,
    part_filter,
    print_holds,
    read_parts,
)
from usageflow.cli.output import Output, print_json, print_line
from usageflow.cli.progress import counting

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.cli.connection import Connection
    from usageflow.v1.billing_pb2 import BillingPart, BillingPartFilter

EXAMPLES = (
    "usageflow meter flush",
    "usageflow meter flush --customer acme --wait",
    "usageflow meter flush --price price_1PqK8 --wait",
)
_EVERY_S = 0.5
_STUCK = 3
"""Attempts after which nobody should sit and wait for the next one."""

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until all is sent; exit code 1 where something is stuck.")
]


def flush(
    customer: Customer = "",
    price: Price = "",
    wait: Wait = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 60.0,
) -> None:
    """Freeze and send now what would wait for its hour to end: before a subscription ends, or a price changes."""
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import FlushUsageRequest

    with connect(timeout) as connection:
        request = FlushUsageRequest(application=application, customer=customer, price=price)
        done = connection.as_admin(connection.meter.FlushUsage, request)
        holds = [hold_document(each) for each in done.holds]
        if output is Output.JSON:
            print_json({"parts": done.parts, "units": number_of(done.units), "holds": holds})
        else:
            print_line(f"{done.parts} parts with {done.units or 0} units are on their way")
            if holds:
                print_holds(holds)
        if wait:
            states = [State.FROZEN, State.SENDING]
            _wait(connection, application, part_filter(None, states, customer, price))


def _wait(connection: Connection, application: str, wanted: BillingPartFilter) -> None:
    """Returns when nothing is on its way. Raises Failure where it is stuck."""
    rounds = _rounds(connection, application, wanted)
    waiting = len(next(rounds))
    with counting("sending", waiting) as progress:
        for parts in rounds:
            progress.advance(waiting - len(parts))
            waiting = len(parts)
    from usageflow.cli.output import say

    say("nothing is on its way any more")


def _rounds(
    connection: Connection, application: str, wanted: BillingPartFilter
) -> Iterator[list[BillingPart]]:
    """Yields what is still on its way, again and again, until that is nothing."""
    while True:
        parts = list(read_parts(connection, application, wanted, 0))
        yield parts
        if not parts:
            return
        _ensure_goes_on(connection, application, parts)
        time.sleep(_EVERY_S)


def _ensure_goes_on(connection: Connection, application: str, parts: list[BillingPart]) -> None:
    """Raises Failure where a destination is paused, or has not taken any of these for a while."""
    from usageflow.v1.billing_pb2 import GetBillingStatusRequest

    request = GetBillingStatusRequest(application=application)
    found = connection.as_admin(connection.meter.GetBillingStatus, request)
    for pause in found.pauses:
        raise Failure(
            f"{pause.destination} is paused: {pause.message}; then `usageflow meter resume {pause.destination}`"
        )
    if not found.sink:
        raise Failure("units are sent nowhere: set STRIPE_API_KEY, or USAGEFLOW_BILLING")
    if all(part.attempts >= _STUCK for part in parts):
        told = parts[0].note or "the destination does not answer"
        raise Failure(f"{len(parts)} parts are not taken yet and are tried again by themselves: {told}")

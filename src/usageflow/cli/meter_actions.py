"""`usageflow meter retry|hold|release|resume`: what people do about parts and destinations."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from usageflow.cli import options
from usageflow.cli.meter_rows import Customer, Ids, Price, Since, States, Until, part_filter
from usageflow.cli.output import Output, print_json, print_line, say

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.cli.connection import Connection
    from usageflow.v1.billing_pb2 import BillingPartFilter

RETRY_EXAMPLES = (
    "usageflow meter retry 4711 4712",
    "usageflow meter retry --state ambiguous --customer acme",
    "usageflow meter retry 4711 --anew",
    "usageflow meter retry 4711 --mark-sent",
)
HOLD_EXAMPLES = (
    "usageflow meter hold --customer acme",
    "usageflow meter hold --price price_1PqK8",
    "usageflow meter hold 4711",
)
RELEASE_EXAMPLES = ("usageflow meter release --customer acme", "usageflow meter release 4711")
RESUME_EXAMPLES = ("usageflow meter resume acct_1PqK8/meter_event",)

_Anew = Annotated[
    bool,
    typer.Option("--anew", help="Under another identifier: for what was refused after it had been taken."),
]
_MarkSent = Annotated[
    bool, typer.Option("--mark-sent", help="Send nothing: ambiguous parts were found at the destination.")
]
_All = Annotated[bool, typer.Option("--all", help="Everything of the application.")]
_Destination = Annotated[
    str, typer.Argument(metavar="DESTINATION", help="As `usageflow meter status` names it.")
]


def retry(
    ids: Ids = None,
    state: States = None,
    customer: Customer = "",
    price: Price = "",
    since: Since = "",
    until: Until = "",
    anew: _Anew = False,
    mark_sent: _MarkSent = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Send rejected and ambiguous parts again, and waiting ones at once. Look at the destination first: it may have them."""
    from usageflow.cli.connection import connect

    if anew and mark_sent:
        raise typer.BadParameter("give either --anew or --mark-sent", param_hint="--anew")
    wanted = _named(part_filter(ids, state, customer, price, since, until))
    move = "RETRY_ANEW" if anew else "MARK_SENT" if mark_sent else "RETRY"
    with connect(timeout) as connection:
        moved = _move(connection, application, wanted, move)
    _tell({"parts": moved}, f"{moved} parts {'are marked sent' if mark_sent else 'are due now'}", output)


def hold(
    ids: Ids = None,
    customer: Customer = "",
    price: Price = "",
    everything: _All = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Keep units from being sent: parts by id, or all that a customer or a price has and will have."""
    _stop(ids, customer, price, everything, application, output, timeout, held=True)


def release(
    ids: Ids = None,
    customer: Customer = "",
    price: Price = "",
    everything: _All = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Let go on what was held: parts by id, or what was held of a customer or a price."""
    _stop(ids, customer, price, everything, application, output, timeout, held=False)


def resume(
    destination: _Destination,
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Let a paused destination go on, after its credentials were mended."""
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import ResumeDestinationRequest

    with connect(timeout) as connection:
        request = ResumeDestinationRequest(destination=destination)
        done = connection.as_admin(connection.meter.ResumeDestination, request)
    told = "goes on" if done.resumed else "was not paused; `usageflow meter status` shows what is"
    _tell({"resumed": done.resumed}, f"{destination} {told}", output)


def _stop(
    ids: list[int] | None,
    customer: str,
    price: str,
    everything: bool,
    application: str,
    output: Output,
    timeout: float,
    *,
    held: bool,
) -> None:
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import HoldBillingRequest

    if ids and (customer or price or everything):
        raise typer.BadParameter("give ids alone, or --customer, --price or --all", param_hint="[ID]...")
    if not (ids or customer or price or everything):
        raise typer.BadParameter("name parts, or give --customer, --price or --all", param_hint="[ID]...")
    changed = False
    with connect(timeout) as connection:
        if not ids:
            request = HoldBillingRequest(
                application=application,
                customer=customer,
                price=price,
                held=held,
                request_id=str(uuid.uuid4()),
            )
            changed = connection.as_admin(connection.meter.HoldBilling, request).changed
        wanted = part_filter(
            ids, None, customer, price, since="" if not everything else "1970-01-01T00:00:00Z"
        )
        moved = _move(connection, application, wanted, "HOLD" if held else "RELEASE")
    _tell(
        {"changed": changed, "parts": moved},
        _told(held=held, changed=changed, by_id=bool(ids), moved=moved),
        output,
    )


def _told(*, held: bool, changed: bool, by_id: bool, moved: int) -> str:
    parts = f"{moved} parts {'wait' if held else 'go on'}"
    if by_id:
        return parts
    future = "nothing more is frozen" if held else "units are frozen again"
    return f"{parts}; {future}" if changed else f"{parts}; it was {'held' if held else 'not held'} already"


def _named(wanted: BillingPartFilter) -> BillingPartFilter:
    if not wanted.ByteSize():
        message = "name parts, or give --state, --customer, --price, --since or --until"
        raise typer.BadParameter(message, param_hint="[ID]...")
    return wanted


def _move(connection: Connection, application: str, wanted: BillingPartFilter, move: str) -> int:
    from usageflow.v1.billing_pb2 import BillingMove, MoveBillingPartsRequest

    request = MoveBillingPartsRequest(
        application=application,
        filter=wanted,
        move=BillingMove.Value(f"BILLING_MOVE_{move}"),
        request_id=str(uuid.uuid4()),
    )
    return connection.as_admin(connection.meter.MoveBillingParts, request).parts


def _tell(document: dict[str, object], sentence: str, output: Output) -> None:
    if output is Output.JSON:
        print_json(document)
    else:
        print_line(sentence)
    if document.get("parts") == 0 and not document.get("changed"):
        say("no part changed: `usageflow meter windows` shows their states")

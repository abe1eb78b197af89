"""`usageflow meter status`: what waits, what is on its way, and what needs a person."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from usageflow.cli import options
from usageflow.cli.meter_rows import hold_document, number_of, print_holds, state_name, target_document
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say
from usageflow.cli.times import format_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.billing_pb2 import BillingStatus
    from usageflow.v1.meter_pb2 import ListPendingResponse

EXAMPLES = ("usageflow meter status", "usageflow meter status --output json")


def status(
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show metered units that wait, parts by state, what is held and paused, and what to do about each."""
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import GetBillingStatusRequest
    from usageflow.v1.meter_pb2 import ListPendingRequest

    with connect(timeout) as connection:
        asked = ListPendingRequest(application=application)
        pending = connection.as_admin(connection.meter.ListPending, asked)
        request = GetBillingStatusRequest(application=application)
        found = connection.as_admin(connection.meter.GetBillingStatus, request)
    document = _document(pending, found)
    if output is Output.JSON:
        print_json(document)
    else:
        _print(document)


def _document(pending: ListPendingResponse, found: BillingStatus) -> dict[str, Any]:
    return {
        "destination": found.sink,
        "account": found.account,
        "waiting": _waiting(pending),
        "parts": [
            {
                **target_document(each.target),
                "state": state_name(each.state),
                "parts": each.parts,
                "requests": each.requests,
                "units": number_of(each.units),
                "oldest": format_instant(each.oldest_time.seconds),
            }
            for each in found.sums
        ],
        "holds": [hold_document(each) for each in found.holds],
        "paused": [
            {
                "destination": each.destination,
                "since": format_instant(each.since.seconds),
                "message": each.message,
            }
            for each in found.pauses
        ],
        "findings": [
            {"level": each.level, "price": each.target.price, "message": each.message}
            for each in found.findings
        ],
    }


def _waiting(pending: ListPendingResponse) -> list[dict[str, Any]]:
    from usageflow.cli.convert import endpoint_title

    return [
        {
            "endpoint": endpoint_title(each.endpoint),
            "policy": each.policy,
            "price": each.price,
            "requests": each.requests,
            "units": Decimal(each.units or 0),
            "oldest": format_instant(each.oldest_time.seconds) if each.HasField("oldest_time") else None,
        }
        for each in pending.pending
    ]


def _print(document: dict[str, Any]) -> None:
    columns = [Column("endpoint"), Column("policy"), Column("price")]
    columns += [Column("requests", right=True), Column("units", right=True), Column("oldest")]
    print_table(columns, [list(row.values()) for row in document["waiting"]])
    if not document["waiting"]:
        say("no units wait")
    if not document["destination"]:
        say("units are sent nowhere: set STRIPE_API_KEY, or USAGEFLOW_BILLING to another destination")
    else:
        account = f", {document['account']}" if document["account"] else ""
        print_line("")
        print_line(f"sent to {document['destination']}{account}")
    _parts(document["parts"])
    _needs_somebody(document)


def _parts(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    print_line("")
    print_line("parts")
    keys = ("price", "event_name", "state", "parts", "requests", "units", "oldest")
    titles = ("price", "event", *keys[2:])
    columns = [Column(title, right=title in ("parts", "requests", "units")) for title in titles]
    print_table(columns, [[row[key] for key in keys] for row in rows])


def _needs_somebody(document: dict[str, Any]) -> None:
    if document["holds"]:
        print_line("")
        print_line("cannot be sent yet")
        print_holds(document["holds"])
    for each in document["paused"]:
        print_line("")
        print_line(f"paused: {each['destination']} since {each['since']}: {each['message']}")
        print_line(f"when it is mended: usageflow meter resume {each['destination']}")
    for each in document["findings"]:
        if each["level"] != "OK":
            print_line("")
            print_line(f"{each['level']} {each['price']}: {each['message']}")

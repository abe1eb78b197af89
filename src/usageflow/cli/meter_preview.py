"""`usageflow meter preview`: what a customer's open period would bill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.meter_rows import hold_document, number_of, print_holds, target_document
from usageflow.cli.output import Column, Output, cell_text, print_json, print_line, print_table, say
from usageflow.cli.times import format_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.cli.connection import Connection
    from usageflow.v1.billing_pb2 import BillLine

EXAMPLES = (
    "usageflow meter preview --customer acme",
    "usageflow meter preview --customer acme --output json",
)

Name = Annotated[str, typer.Option("--customer", help="Name of the customer.")]


def preview(
    customer: Name,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show what a customer's open period would bill: units sent, on their way, open and stuck, and what they come to."""
    from usageflow.cli.connection import connect

    with connect(timeout) as connection:
        found = read_preview(connection, application, customer)
    if output is Output.JSON:
        print_json(found)
        return
    print_line(f"{found['customer']}   Stripe {found['stripe_customer'] or '-'}")
    print_bill(found)


def read_preview(connection: Connection, application: str, customer: str) -> dict[str, Any]:
    """Returns a customer's bill so far, as programs read it. Raises Failure."""
    from usageflow.v1.billing_pb2 import GetBillPreviewRequest

    request = GetBillPreviewRequest(application=application, customer=customer)
    found = connection.as_admin(connection.meter.GetBillPreview, request)
    return {
        "customer": found.customer,
        "stripe_customer": found.stripe_customer,
        "lines": [_line(each) for each in found.lines],
        "holds": [hold_document(each) for each in found.holds],
    }


def print_bill(found: dict[str, Any]) -> None:
    """Prints the lines of a bill, and what cannot be sent yet."""
    keys = ("price", "sent", "sending", "open", "stuck")
    columns = [Column(key, right=key != "price") for key in keys]
    columns += [Column("amount", right=True), Column("period")]
    rows = [
        [
            *(line[key] for key in keys),
            _money(line),
            f"{line['period_start'][:10]} to {line['period_end'][:10]}",
        ]
        for line in found["lines"]
    ]
    if rows:
        print_table(columns, rows)
    else:
        print_line("none")
    if found["holds"]:
        print_holds(found["holds"])
    if any(line["stuck"] for line in found["lines"]):
        say("stuck units need somebody: `usageflow meter windows --state rejected` and so on")


def _line(line: BillLine) -> dict[str, Any]:
    numbers = ("sent", "sending", "open", "stuck", "unit_amount", "amount")
    return {
        **target_document(line.target),
        "period_start": format_instant(line.period_start.seconds),
        "period_end": format_instant(line.period_end.seconds),
        **{key: number_of(getattr(line, key)) for key in numbers},
        "currency": line.currency,
    }


def _money(line: dict[str, Any]) -> str | None:
    """Returns an amount in the currency's smallest unit: how many of them make a whole differs by currency."""
    if line["amount"] is None:
        return None
    return f"{cell_text(line['amount'])} {line['currency']} (smallest unit)"

"""`usageflow meter`: units on their way to an invoice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_table, say
from usageflow.cli.times import format_instant

EXAMPLES = ("usageflow meter status",)

app = typer.Typer(help="Units on their way to an invoice.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `status` a verb of its own while it is the only one."""


@app.command(epilog=options.examples(EXAMPLES))
def status(
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show metered units that wait for their invoice, per endpoint and price."""
    from usageflow.cli.connection import connect
    from usageflow.cli.convert import endpoint_title
    from usageflow.v1.meter_pb2 import ListPendingRequest

    with connect(timeout) as connection:
        request = ListPendingRequest(application=application)
        response = connection.as_admin(connection.meter.ListPending, request)
    rows: list[dict[str, Any]] = [
        {
            "endpoint": endpoint_title(each.endpoint),
            "policy": each.policy,
            "price": each.price,
            "requests": each.requests,
            "units": Decimal(each.units or 0),
            "oldest": format_instant(each.oldest_time.seconds) if each.HasField("oldest_time") else None,
        }
        for each in response.pending
    ]
    _print(rows, output)


def _print(rows: list[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        print_json(rows)
        return
    columns = [Column("endpoint"), Column("policy"), Column("price")]
    columns += [Column("requests", right=True), Column("units", right=True), Column("oldest")]
    print_table(columns, [list(row.values()) for row in rows])
    if not rows:
        say("no units wait")

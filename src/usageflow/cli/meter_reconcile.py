"""`usageflow meter reconcile`: what was sent beside what its destination counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.failure import Failure
from usageflow.cli.meter_rows import Customer, instant_of, number_of, target_document
from usageflow.cli.output import Column, Output, print_json, print_table, say
from usageflow.cli.times import format_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.billing_pb2 import ReconciledHour

EXAMPLES = (
    "usageflow meter reconcile",
    "usageflow meter reconcile --since 7d --customer acme",
    "usageflow meter reconcile --since 24h --output json",
)

Since = Annotated[
    str, typer.Option("--since", help="From when on: 24h, 7d ago (at most 35d), or an RFC 3339 time.")
]
Until = Annotated[str, typer.Option("--until", help="Up to when, as --since; left out, the last whole hour.")]


def reconcile(
    since: Since = "24h",
    until: Until = "",
    customer: Customer = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 120.0,
) -> None:
    """Compare what was sent with what the destination counts, hour by hour. Exit code 1 where they differ; nothing is corrected."""
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import ReconcileBillingRequest

    with connect(timeout) as connection:
        request = ReconcileBillingRequest(
            application=application,
            since=instant_of(since, "--since"),
            until=instant_of(until, "--until") if until else None,
            customer=customer,
        )
        found = connection.as_admin(connection.meter.ReconcileBilling, request)
    rows = [_document(each) for each in found.hours]
    if output is Output.JSON:
        print_json({"drifted": found.drifted, "hours": rows})
    else:
        _print(rows)
    if found.drifted:
        raise Failure(
            f"{found.drifted} hours differ: look at their parts with `usageflow meter windows`, then correct what is wrong "
            "with `usageflow meter correct`"
        )


def _document(hour: ReconciledHour) -> dict[str, Any]:
    return {
        "customer": hour.customer,
        "payee": hour.payee,
        **target_document(hour.target),
        "hour": format_instant(hour.hour.seconds),
        "ours": number_of(hour.ours),
        "theirs": number_of(hour.theirs),
        "drift": number_of(hour.drift),
        "unsettled": hour.unsettled,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    keys = ("customer", "price", "hour", "ours", "theirs", "drift", "unsettled")
    columns = [Column(key, right=key in keys[3:]) for key in keys]
    print_table(columns, [[row[key] for key in keys] for row in rows])
    if not rows:
        say("nothing was sent in this time")
        return
    untold = sum(row["theirs"] is None for row in rows)
    told = f"; of {untold} the destination does not tell" if untold else ""
    say(f"{len(rows)} hours{told}")

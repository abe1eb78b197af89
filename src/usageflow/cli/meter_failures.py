"""`usageflow meter failures`: what metering expressions could not say."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_table, say
from usageflow.cli.times import format_instant

EXAMPLES = ("usageflow meter failures", "usageflow meter failures --limit 1000 --output json")
_PAGE = 1_000

Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="The most failures.")]


def failures(
    limit: Limit = 100,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """List requests whose metering expression failed, newest first: they were stored, and bill nothing for that policy."""
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import ListMeteringFailuresRequest

    rows: list[dict[str, Any]] = []
    with connect(timeout) as connection:
        request = ListMeteringFailuresRequest(application=application)
        while len(rows) < limit:
            request.page_size = min(limit - len(rows), _PAGE)
            page = connection.as_admin(connection.meter.ListMeteringFailures, request)
            rows += [
                {
                    "time": format_instant(each.time.seconds),
                    "record": each.record_id,
                    "policy": each.policy,
                    "price": each.price,
                    "revision": each.revision,
                    "why": each.message,
                }
                for each in page.failures
            ]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
    if output is Output.JSON:
        print_json(rows)
        return
    columns = [
        Column(name, right=name == "revision")
        for name in ("time", "record", "policy", "price", "revision", "why")
    ]
    print_table(columns, [list(row.values()) for row in rows])
    if not rows:
        say("every request could be metered")

"""`usageflow meter windows`: parts of windows, and how far each has come."""

from __future__ import annotations

from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.meter_rows import (
    Customer,
    Ids,
    Price,
    Since,
    States,
    Until,
    part_document,
    part_filter,
    read_parts,
)
from usageflow.cli.output import Column, Output, print_json, print_table, say

EXAMPLES = (
    "usageflow meter windows",
    "usageflow meter windows --state rejected --state ambiguous",
    "usageflow meter windows --customer acme --since 7d --output json",
    "usageflow meter windows 4711",
)
_SHOWN = (
    "part",
    "customer",
    "price",
    "window_start",
    "number",
    "units",
    "value",
    "state",
    "attempts",
    "note",
)
_TITLES = {"window_start": "window", "number": "no."}
_RIGHT = {"part", "number", "units", "value", "attempts"}

Limit = Annotated[int, typer.Option("--limit", min=0, max=1_000_000, help="The most parts; 0 for all.")]


def windows(
    ids: Ids = None,
    state: States = None,
    customer: Customer = "",
    price: Price = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = 100,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """List parts of windows, newest first: units, what is sent of them, state, attempts, and what was told last."""
    from usageflow.cli.connection import connect

    wanted = part_filter(ids, state, customer, price, since, until)
    with connect(timeout) as connection:
        rows = [part_document(each) for each in read_parts(connection, application, wanted, limit)]
    if output is Output.JSON:
        print_json(rows)
        return
    columns = [Column(_TITLES.get(key, key), right=key in _RIGHT) for key in _SHOWN]
    print_table(columns, [[str(row[key]) if key == "part" else row[key] for key in _SHOWN] for row in rows])
    if not rows:
        say("there are no such parts; `usageflow meter status` shows what waits for its hour to end")

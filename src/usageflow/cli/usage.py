"""`usageflow usage`: sums of what was reported."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usageflow.cli import filters, options
from usageflow.cli.output import Output, print_json, print_table, say
from usageflow.cli.usage_rows import (
    SUMS,
    By,
    Every,
    Grouping,
    Order,
    Question,
    cells_of,
    columns_of,
    sum_cells,
)

EXAMPLES = (
    "usageflow usage",
    "usageflow usage --by endpoint --by status --status 5xx --since 1h",
    "usageflow usage --every hour --customer acme --since 7d",
    "usageflow usage --by identity --denied --top 10",
    "usageflow usage --by minute --since 1h --output json",
)

ByOption = Annotated[list[By] | None, typer.Option("--by", help="By what to group; may be repeated.")]
EveryOption = Annotated[Every | None, typer.Option("--every", help="Makes a time series of each group.")]
Top = Annotated[int, typer.Option("--top", min=0, max=1_000_000, help="The most rows; 0 for all.")]
OrderOption = Annotated[Order | None, typer.Option("--order", help="By what to order, most first.")]
Latency = Annotated[bool, typer.Option("--latency/--no-latency", help="Show p50, p95 and p99.")]


def usage(
    by: ByOption = None,
    every: EveryOption = None,
    since: filters.Since = "24h",
    until: filters.Until = "",
    endpoint: filters.Endpoints = None,
    customer: filters.Customers = None,
    identity: filters.Identities = None,
    status: filters.Statuses = None,
    policy: filters.Policies = None,
    reason: filters.Reasons = None,
    denied: filters.Denied = None,
    degraded: filters.Degraded = None,
    shadow: filters.Shadow = None,
    top: Top = 0,
    order: OrderOption = None,
    latency: Latency = True,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show usage: requests, errors (5xx), denied requests, units and latency."""
    from usageflow.cli.connection import connect

    grouping = Grouping.of(by, every)
    start_us, end_us = filters.span_of(since, until)
    wanted = filters.filter_of(endpoint, customer, identity, status, policy, reason, denied, degraded, shadow)
    question = Question(application, grouping, start_us, end_us, wanted, order, top)
    with connect(timeout) as connection:
        response = connection.as_admin(connection.admin.QueryUsage, question.request())
    rows = [grouping.document(each) for each in response.rows]
    if output is Output.JSON:
        print_json(rows)
        return
    total = Grouping((), None).document(response.total) if response.HasField("total") else _total(rows)
    _print(grouping, rows, total, latency=latency)


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {title: sum(row[title] for row in rows) for title in SUMS}


def _print(grouping: Grouping, rows: list[dict[str, Any]], total: dict[str, Any], *, latency: bool) -> None:
    keys = len(grouping.keys)
    last = ["total", *[""] * (keys - 1), *sum_cells(total, latency=latency)]
    print_table(
        columns_of(grouping, latency=latency),
        [cells_of(grouping, row, latency=latency) for row in rows],
        last,
    )
    if not rows:
        say("nothing was reported in this time")

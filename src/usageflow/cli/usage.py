"""`usageflow usage`: sums of what was reported."""

from __future__ import annotations

import time
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_table, say
from usageflow.cli.times import format_instant, parse_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import, and only this verb needs them
    from usageflow.v1.analytics_pb2 import QueryUsageRequest, UsageRow


EXAMPLES = (
    "usageflow usage",
    "usageflow usage --by minute --since 1h --output json",
)


class By(StrEnum):
    """By what rows are grouped."""

    ENDPOINT = "endpoint"
    STATUS = "status"
    MINUTE = "minute"


ByOption = Annotated[By, typer.Option("--by", help="By what to group.")]
Since = Annotated[str, typer.Option("--since", help="How long ago (30m, 24h, 7d), or an RFC 3339 time.")]
Until = Annotated[
    str, typer.Option("--until", help="Where to stop, as --since; left out, all that was reported.")
]


def usage(
    by: ByOption = By.ENDPOINT,
    since: Since = "24h",
    until: Until = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show usage: requests, errors (5xx), denied requests and units."""
    from usageflow.cli.connection import connect

    request = _request(by, since, until, application)
    with connect(timeout) as connection:
        response = connection.as_admin(connection.admin.QueryUsage, request)
    rows = [_row(by, each) for each in response.rows]
    if output is Output.JSON:
        print_json(rows)
    else:
        _print(by, rows)


def _request(by: By, since: str, until: str, application: str) -> QueryUsageRequest:
    from usageflow.messages import timestamp_of
    from usageflow.v1 import analytics_pb2

    now_us = time.time_ns() // 1000
    start_us = _instant(since, now_us, "--since")
    end_us = _instant(until, now_us, "--until") if until else None
    if end_us is not None and end_us <= start_us:
        raise typer.BadParameter("it must be later than --since", param_hint="--until")
    return analytics_pb2.QueryUsageRequest(
        application=application,
        start_time=timestamp_of(start_us),
        end_time=timestamp_of(end_us) if end_us is not None else None,
        group_by=[] if by is By.MINUTE else [analytics_pb2.UsageGroup.Value(f"USAGE_GROUP_{by.name}")],
        interval=analytics_pb2.USAGE_INTERVAL_MINUTE
        if by is By.MINUTE
        else analytics_pb2.USAGE_INTERVAL_UNSPECIFIED,
    )


def _instant(text: str, now_us: int, option: str) -> int:
    try:
        return max(parse_instant(text, now_us=now_us), 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _row(by: By, row: UsageRow) -> dict[str, Any]:
    return {
        by.value: _key(row),
        "requests": row.requests,
        "errors": row.errors,
        "denied": row.denied,
        "units": Decimal(row.units or 0),
    }


def _key(row: UsageRow) -> str | int:
    from usageflow.cli.convert import endpoint_title

    if row.HasField("time"):
        return format_instant(row.time.seconds)
    return row.status if row.HasField("status") else endpoint_title(row.endpoint)


def _print(by: By, rows: list[dict[str, Any]]) -> None:
    sums = ("requests", "errors", "denied", "units")
    columns = [Column(by.value), *(Column(title, right=True) for title in sums)]
    total = ["total", *(sum(row[title] for row in rows) for title in sums)]
    # A status is a name, not a number: no thousands separator, no sum.
    print_table(columns, [[str(row[by.value]), *(row[title] for title in sums)] for row in rows], total)
    if not rows:
        say("nothing was reported in this time")

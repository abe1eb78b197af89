"""`usageflow top`: what is going on just now."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import filters, options
from usageflow.cli.output import Column, Output, print_line, print_table, say
from usageflow.cli.times import format_instant
from usageflow.cli.usage_rows import By, Grouping, Order, Question, latency_text, percent_text

if TYPE_CHECKING:
    from rich.console import Group

    from usageflow.v1.analytics_pb2 import QueryUsageResponse

EXAMPLES = (
    "usageflow top",
    "usageflow top --by policy --order denied",
    "usageflow top --once --rows 5",
    "usageflow top --output json --interval 10",
)

SPAN_US = 60_000_000
"""What a frame looks back on; the service adds what is missing to a whole minute."""

_AGAIN = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

ByOption = Annotated[
    list[By] | None, typer.Option("--by", help="By what to group; may be repeated. Left out: endpoint.")
]
Interval = Annotated[float, typer.Option("--interval", min=0.1, max=3600, help="Seconds between frames.")]
Once = Annotated[bool, typer.Option("--once", help="Print one frame; so it is where output is no terminal.")]
Rows = Annotated[int, typer.Option("--rows", min=1, max=1000, help="The most rows.")]
OrderOption = Annotated[Order, typer.Option("--order", help="By what to order, most first.")]


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown at an instant; rows as usage_rows makes them, with ``rate`` in requests per second."""

    at: int
    span_s: float
    keys: tuple[str, ...]
    rows: list[dict[str, Any]]
    total: dict[str, Any] | None

    @property
    def columns(self) -> list[Column]:
        """Returns the columns of its table."""
        numbers = ("req/s", "requests", "errors", "denied", "p95")
        return [*(Column(name) for name in self.keys), *(Column(name, right=True) for name in numbers)]

    def cells(self) -> list[list[object]]:
        """Returns the rows of its table."""
        return [[*(str(row[name]) or "-" for name in self.keys), *_numbers(row)] for row in self.rows]

    def last(self) -> list[object]:
        """Returns the row below the table."""
        if self.total is None:
            return []
        return ["total", *[""] * (len(self.keys) - 1), *_numbers(self.total)]

    def title(self, application: str) -> str:
        """Returns the line above the table."""
        return f"{application}, the last {self.span_s:.0f} s until {format_instant(self.at)}"

    def document(self) -> dict[str, Any]:
        """Returns what programs read."""
        rows = [{**row, "units": str(row["units"])} for row in self.rows]
        return {"time": format_instant(self.at), "span_s": round(self.span_s, 3), "rows": rows}


def top(
    by: ByOption = None,
    interval: Interval = 2.0,
    once: Once = False,
    rows: Rows = 20,
    order: OrderOption = Order.REQUESTS,
    endpoint: filters.Endpoints = None,
    status: filters.Statuses = None,
    policy: filters.Policies = None,
    denied: filters.Denied = None,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show live which endpoints are asked most, what fails and what is denied, until Ctrl-C."""
    from usageflow.cli.connection import connect

    grouping = Grouping.of(by, None)
    if grouping.every is not None:
        raise typer.BadParameter(
            "a frame has no time series: use `usageflow usage --every`", param_hint="--by"
        )
    wanted = filters.filter_of(endpoints=endpoint, statuses=status, policies=policy, denied=denied)
    with connect(timeout) as connection:

        def look() -> Frame:
            now_us = time.time_ns() // 1000
            question = Question(application, grouping, now_us - SPAN_US, None, wanted, order, rows)
            answer = connection.as_admin(connection.admin.QueryUsage, question.request())
            return _frame(grouping, answer, now_us)

        try:
            _show(look, application, interval, once, output)
        except KeyboardInterrupt:
            return


def _show(look: Callable[[], Frame], application: str, interval: float, once: bool, output: Output) -> None:
    if output is Output.JSON:
        _lines(look, interval, once)
    elif once or not sys.stdout.isatty():
        frame = look()
        print_line(frame.title(application))
        print_table(frame.columns, frame.cells(), frame.last())
    else:
        _live(look, application, interval)


def _lines(look: Callable[[], Frame], interval: float, once: bool) -> None:
    frame: Frame | None = look()
    while True:
        if frame is not None:
            typer.echo(json.dumps(frame.document()))
            sys.stdout.flush()
        if once:
            return
        time.sleep(interval)
        frame = _try(look)


def _live(look: Callable[[], Frame], application: str, interval: float) -> None:
    from rich.live import Live

    frame = look()
    with Live(_screen(frame, application), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(interval)
            newer = _try(look)
            frame = newer or frame
            note = "" if newer else "the service does not answer; trying again"
            live.update(_screen(frame, application, note), refresh=True)


def _try(look: Callable[[], Frame]) -> Frame | None:
    """Returns a frame; None, and a word on stderr, where the service does not answer just now."""
    from usageflow.cli.rpc_errors import RpcFailure

    try:
        return look()
    except RpcFailure as failure:
        if failure.code not in _AGAIN:
            raise
        if not sys.stdout.isatty():
            say("the service does not answer; trying again")
        return None


def _screen(frame: Frame, application: str, note: str = "") -> Group:
    from rich.console import Group
    from rich.text import Text

    from usageflow.cli.output import table_of

    title = f"{frame.title(application)}   Ctrl-C ends"
    lines = [Text(title), *([Text(note, style="bold")] if note else [])]
    return Group(*lines, table_of(frame.columns, frame.cells(), frame.last()))


def _frame(grouping: Grouping, answer: QueryUsageResponse, now_us: int) -> Frame:
    asked_us = (now_us - SPAN_US) // 60_000_000 * 60_000_000
    start_us = answer.start_time.ToMicroseconds() if answer.HasField("start_time") else asked_us
    span_s = max((now_us - start_us) / 1e6, 1.0)
    rows = [_rated(grouping.document(row), span_s) for row in answer.rows]
    total = None
    if answer.HasField("total"):
        total = _rated(Grouping((), None).document(answer.total), span_s)
    return Frame(now_us // 1_000_000, span_s, grouping.keys, rows, total)


def _rated(document: dict[str, Any], span_s: float) -> dict[str, Any]:
    return {**document, "rate": round(document["requests"] / span_s, 3)}


def _numbers(row: dict[str, Any]) -> list[object]:
    requests = row["requests"]
    return [
        f"{row['rate']:.1f}",
        requests,
        percent_text(row["errors"], requests),
        percent_text(row["denied"], requests),
        latency_text(row["p95_ms"]),
    ]

"""`usageflow report`: sends usage from a file of JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.failure import Failure
from usageflow.cli.output import Output, print_json, print_line

if TYPE_CHECKING:  # the contract's messages are heavy to import, and only this verb needs them
    from usageflow.cli.reporting import Reporter, Sums

EXAMPLES = (
    "usageflow report -f events.jsonl",
    'echo \'{"method": "GET", "path": "/api/users", "status": 200}\' | usageflow report -f -',
)

FileOption = Annotated[str, typer.Option("--file", "-f", help="JSON lines, one event each; - for stdin.")]


def report(
    file: FileOption,
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Report usage from JSON lines: method, path and status, and what else is known.

    Keys: event_id, time (RFC 3339 or Unix seconds), method, path, route, identity, status,
    latency_ms, quantity, metadata, decision, reason.
    An event_id that was stored before is not counted again.
    Exit code 1: at least one line was rejected, or not all could be sent.
    """
    from usageflow.cli.connection import connect
    from usageflow.cli.files import opened
    from usageflow.cli.progress import progress_of
    from usageflow.cli.reporting import Reporter

    with connect(timeout) as connection, opened(file) as stream, progress_of(stream) as progress:
        reporter = Reporter(
            lambda request: connection.as_client(connection.decision.Report, request),
            tell=lambda rejected: progress.tell(str(rejected)),
        )
        failure = _feed(reporter, stream, progress.advance)
    _print(reporter.sums, output)
    if failure:
        raise failure
    if reporter.sums.rejected:
        raise typer.Exit(1)


def _feed(reporter: Reporter, stream: Any, advance: Any) -> Failure | None:
    """Sends the whole stream. Returns what stopped it, so that the sums so far are printed first."""
    from usageflow.cli.reporting import lines_of
    from usageflow.cli.rpc_errors import RpcFailure

    try:
        for line in lines_of(stream):
            reporter.add(line)
            advance(line.size)
        reporter.flush()
    except RpcFailure as failure:
        return Failure(
            f"{failure}\nlines from {reporter.first_waiting} on may not be stored: send the file again, "
            "lines with an event_id count once"
        )
    return None


def _print(sums: Sums, output: Output) -> None:
    from dataclasses import asdict

    if output is Output.JSON:
        print_json(asdict(sums))
    else:
        print_line(f"accepted {sums.accepted:,}, duplicates {sums.duplicates:,}, rejected {sums.rejected:,}")

"""`usageflow export`: a revision as a policy file; events or sums as CSV or JSON Lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import filters, options
from usageflow.cli.export_usage import Format
from usageflow.cli.output import say
from usageflow.cli.usage_rows import FURTHER, LATENCIES, SUMS, By, Every, Grouping, Question

if TYPE_CHECKING:
    from usageflow.v1.analytics_pb2 import UsageFilter

EXAMPLES = (
    "usageflow export -o usageflow.yaml",
    "usageflow export --revision 12 | usageflow plan -f -",
    "usageflow export --what events --since 7d --format jsonl --file events.jsonl",
    "usageflow export --what events --customer acme --denied > denied.csv",
    "usageflow export --what usage --by customer --every day --since 30d --file usage.csv",
)

_STREAM_S = 3_600.0
"""How long the events of an export may take."""


class What(StrEnum):
    """What is exported."""

    POLICIES = "policies"
    EVENTS = "events"
    USAGE = "usage"


WhatOption = Annotated[What, typer.Option("--what", help="What to export.")]
Revision = Annotated[
    str, typer.Option("--revision", help="Number or tag, of policies; the one in force if left out.")
]
To = Annotated[
    str, typer.Option("--to", "--file", "-o", metavar="FILE", help="File to write; else standard output.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How events and usage are written.")]
ByOption = Annotated[list[By] | None, typer.Option("--by", help="By what usage is grouped; may be repeated.")]
EveryOption = Annotated[Every | None, typer.Option("--every", help="Makes a time series of usage.")]


def export(
    what: WhatOption = What.POLICIES,
    revision: Revision = "",
    to: To = "",
    format_: FormatOption = Format.CSV,
    since: filters.Since = "24h",
    until: filters.Until = "",
    by: ByOption = None,
    every: EveryOption = None,
    endpoint: filters.Endpoints = None,
    customer: filters.Customers = None,
    identity: filters.Identities = None,
    status: filters.Statuses = None,
    policy: filters.Policies = None,
    reason: filters.Reasons = None,
    denied: filters.Denied = None,
    degraded: filters.Degraded = None,
    shadow: filters.Shadow = None,
    application: options.Application = "demo",
    timeout: options.Timeout = 60.0,
) -> None:
    """Write strategies, policies and plans as a policy file, which `apply` reads back to no change; or events or usage as rows.

    Customers and blocks stay where they are: their identities are kept as hashes, which no file can turn back. In CSV, text that a
    spreadsheet would take for a formula stands behind an apostrophe. A file is whole or not there, and its owner's alone.
    """
    if what is What.POLICIES:
        _export_policies(application, revision, to, timeout)
        return
    if revision:
        raise typer.BadParameter("it goes with policies only", param_hint="--revision")
    wanted = filters.filter_of(endpoint, customer, identity, status, policy, reason, denied, degraded, shadow)
    start_us, end_us = filters.span_of(since, until)
    if what is What.EVENTS:
        _export_events(application, wanted, start_us, end_us, to, format_)
    else:
        question = Question(application, Grouping.of(by, every), start_us, end_us, wanted)
        _export_usage(question, to, format_, timeout)


def _export_policies(application: str, revision: str, to: str, timeout_s: float) -> None:
    from usageflow.cli.live import live_policies
    from usageflow.policyfile.writing import write

    text = write(application, live_policies(application, revision=revision, timeout_s=timeout_s))
    if to in ("", "-"):
        typer.echo(text, nl=False)
    else:
        _write(to, text)
        say(f"wrote {to}")


def _write(to: str, text: str) -> None:
    from usageflow.cli.failure import Failure

    try:
        Path(to).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {to}: {error.strerror}; name a file in a folder that exists") from error


def _export_events(
    application: str, wanted: UsageFilter, start_us: int, end_us: int | None, to: str, format_: Format
) -> None:
    from usageflow.cli.event_rows import COLUMNS
    from usageflow.cli.export_usage import pieces_of, write_pieces
    from usageflow.messages import timestamp_of
    from usageflow.v1.analytics_pb2 import ListEventsRequest

    request = ListEventsRequest(
        application=application,
        filter=wanted,
        start_time=timestamp_of(start_us),
        end_time=timestamp_of(end_us) if end_us is not None else None,
    )
    write_pieces(to, pieces_of(_events(request), COLUMNS, format_))


def _events(request: Any) -> Iterator[Mapping[str, Any]]:
    """Yields events, with a progress bar on a terminal."""
    from usageflow.cli.connection import connect
    from usageflow.cli.event_rows import event_document
    from usageflow.cli.progress import counting

    with connect(_STREAM_S) as connection:
        answers = connection.stream_as_admin(connection.admin.ListEvents, request)
        first = next(answers, None)
        if first is None:
            say("no events in this time")
            return
        with counting("events", first.total or None) as progress:
            for answer in itertools.chain((first,), answers):
                yield from map(event_document, answer.events)
                progress.advance(len(answer.events))


def _export_usage(question: Question, to: str, format_: Format, timeout_s: float) -> None:
    from usageflow.cli.connection import connect
    from usageflow.cli.export_usage import pieces_of, write_pieces

    with connect(timeout_s) as connection:
        answer = connection.as_admin(connection.admin.QueryUsage, question.request())
    columns = (*question.grouping.keys, *SUMS, *FURTHER, *(f"{name}_ms" for name in LATENCIES))
    rows = (question.grouping.document(row) for row in answer.rows)
    write_pieces(to, pieces_of(rows, columns, format_))

"""`usageflow audit`: who changed what, and the proof that nobody changed the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say
from usageflow.cli.progress import counting
from usageflow.cli.times import format_instant, parse_instant

if TYPE_CHECKING:
    from usageflow.cli.audit_chain import ChainFollower
    from usageflow.cli.connection import Connection
    from usageflow.domain.audit import ChainBreak
    from usageflow.v1.audit_pb2 import AuditEntry, ListAuditEntriesRequest, ListAuditEntriesResponse

app = typer.Typer(
    help="Who changed what, and the proof that nobody changed the log.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

EXAMPLES = {
    "list": (
        "usageflow audit list --since 7d --kind api_key",
        "usageflow audit list --actor owner --output json",
    ),
    "verify": (
        "usageflow audit verify",
        "usageflow audit verify --expect 1042:9f...",
        "usageflow audit verify --from audit.jsonl",
    ),
    "export": ("usageflow audit export > audit.jsonl",),
}
_PAGE = 1_000

OfApplication = Annotated[
    str, typer.Option("--application", help="Name of an application; left out, the whole installation.")
]


@app.command("list", epilog=options.examples(EXAMPLES["list"]))
def list_entries(
    since: Annotated[
        str, typer.Option("--since", help="How long ago (30m, 24h, 7d), or an RFC 3339 time.")
    ] = "24h",
    actor: Annotated[
        str, typer.Option("--actor", help="Name of an admin token, or id of a credential.")
    ] = "",
    application: OfApplication = "",
    kind: Annotated[str, typer.Option("--kind", help="Kind of resource, such as policy or api_key.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 1_000,
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """List changes: when, who, from where, what."""
    from usageflow.cli.connection import connect
    from usageflow.messages.writing import timestamp_of
    from usageflow.v1.audit_pb2 import ListAuditEntriesRequest

    request = ListAuditEntriesRequest(
        application=application, actor=actor, kind=kind, start_time=timestamp_of(_instant(since))
    )
    rows: list[dict[str, Any]] = []
    with connect(timeout) as connection:
        for page in _pages(connection, request):
            rows += map(_row, page.entries[: limit - len(rows)])
            if len(rows) == limit:
                say(f"these are the first {limit:,}: there may be more, see --limit")
                break
    _print(rows, output)


@app.command(epilog=options.examples(EXAMPLES["verify"]))
def verify(
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", help="SEQUENCE:HASH that an earlier verify printed; may be repeated."),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Lines of `audit export` instead of the service."),
    ] = None,
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Compute the log's chain anew and print its head; exit code 1 where an entry was changed, removed or put in.

    Keep the head elsewhere: --expect then shows that the log still holds everything up to it.
    """
    from usageflow.cli.audit_chain import ChainFollower, Head

    follower = ChainFollower()
    try:
        follower.expect(map(Head.parse, expect or []))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expect") from error
    if from_file is None:
        _follow_service(follower, timeout)
    else:
        _follow_file(follower, from_file)
    _tell(follower, follower.end(), output)


@app.command(epilog=options.examples(EXAMPLES["export"]))
def export(timeout: options.Timeout = 10.0) -> None:
    """Print the whole log, a line of JSON per entry, as `audit verify --from` reads it."""
    from usageflow.cli.audit_chain import of_message, to_line
    from usageflow.cli.connection import connect

    with connect(timeout) as connection:
        for page in _pages(connection, _everything()):
            for entry in page.entries:
                typer.echo(to_line(of_message(entry)))


def _follow_service(follower: ChainFollower, timeout: float) -> None:
    from usageflow.cli.audit_chain import Head, of_message
    from usageflow.cli.connection import connect

    with connect(timeout) as connection:
        pages = _pages(connection, _everything())
        first = next(pages)
        if first.head_sequence:
            # What the log itself says that it holds; it goes on growing meanwhile.
            follower.expect([Head(first.head_sequence, first.head_digest)])
        with counting("verifying", first.head_sequence) as progress:
            page: ListAuditEntriesResponse | None = first
            while page is not None and follower.follow(map(of_message, page.entries)):
                progress.advance(len(page.entries))
                page = next(pages, None)


def _follow_file(follower: ChainFollower, path: Path) -> None:
    from usageflow.cli.audit_chain import from_line
    from usageflow.cli.failure import Failure

    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    link = from_line(line)
                except ValueError as error:
                    raise Failure(f"line {number} of {path} {error}: export the log again") from error
                if not follower.follow([link]):
                    return
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failure(f"cannot read {path}: {why}; name a file of `usageflow audit export`") from error


def _tell(follower: ChainFollower, broken: ChainBreak | None, output: Output) -> None:
    from usageflow.cli.failure import Failure

    head = follower.head
    if output is Output.JSON:
        found = {"broken_at": broken.sequence, "problem": broken.problem} if broken else {}
        print_json({"whole": broken is None, "entries": head.sequence, "head": str(head), **found})
    if broken is not None:
        raise Failure(f"the audit log is not whole: entry {broken.sequence} {broken.problem}")
    if output is Output.TABLE:
        print_line(f"{head.sequence:,} entries, none changed, removed or put in between; head {head}")


def _pages(connection: Connection, request: ListAuditEntriesRequest) -> Iterator[ListAuditEntriesResponse]:
    request.page_size = _PAGE
    while True:
        page = connection.as_admin(connection.admin.ListAuditEntries, request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _everything() -> ListAuditEntriesRequest:
    from usageflow.v1.audit_pb2 import ListAuditEntriesRequest

    return ListAuditEntriesRequest()


def _instant(text: str) -> int:
    try:
        return max(parse_instant(text, now_us=time.time_ns() // 1000), 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "time": format_instant(entry.at_us // 1_000_000),
        "actor": entry.actor or entry.actor_id or None,
        "peer": entry.peer or None,
        "method": entry.method,
        "application": entry.application or entry.application_id or None,
        "action": entry.action,
        "kind": entry.kind,
        "resource": entry.resource_id,
        "revision": entry.revision or None,
        "request_id": entry.request_id or None,
    }


def _print(rows: list[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        print_json(rows)
        return
    titles = [title for title in (rows[0] if rows else {}) if title != "request_id"]
    print_table([Column(title) for title in titles], [[row[title] for title in titles] for row in rows])
    if not rows:
        say("nothing was changed in this time")

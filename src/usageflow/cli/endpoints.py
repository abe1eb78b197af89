"""`usageflow endpoints`: which endpoints there are, and which of them are in use, gone, unknown or without a policy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_table, say
from usageflow.cli.times import format_instant, parse_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import, and only this verb needs them
    from google.protobuf.timestamp_pb2 import Timestamp

    from usageflow.cli.connection import Connection
    from usageflow.v1.inventory_pb2 import InventoryEndpoint, ListEndpointInventoryRequest, ServiceRelease

EXAMPLES = (
    "usageflow endpoints",
    "usageflow endpoints --active --without-policy --since 7d",
    "usageflow endpoints --gone --all --output json",
    "usageflow endpoints list --filter 'method = POST'",
)

_PAGE = 1_000

Active = Annotated[bool, typer.Option("--active", help="Only those that were called since --since.")]
NeverCalled = Annotated[bool, typer.Option("--never-called", help="Only those that were never called.")]
Gone = Annotated[bool, typer.Option("--gone", help="Only those that their newest release does not have.")]
Unregistered = Annotated[bool, typer.Option("--unregistered", help="Only those that only reports told of.")]
WithoutPolicy = Annotated[
    bool, typer.Option("--without-policy", help="Only those that no policy could match.")
]
Unmatched = Annotated[bool, typer.Option("--unmatched", help="Only requests that no route matched.")]
Since = Annotated[
    str, typer.Option("--since", help="From when on requests count (24h, 7d), or an RFC 3339 time.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="The most endpoints to show.")]
All = Annotated[bool, typer.Option("--all", help="Show all, however many there are.")]


def add_to(app: typer.Typer) -> None:
    """Makes the inventory what a group of verbs shows where no verb is named."""
    app.info.no_args_is_help = False
    app.callback(
        invoke_without_command=True,
        no_args_is_help=False,
        help=endpoints.__doc__,
        epilog=options.examples(EXAMPLES),
    )(endpoints)


def endpoints(
    context: typer.Context,
    active: Active = False,
    never_called: NeverCalled = False,
    gone: Gone = False,
    unregistered: Unregistered = False,
    without_policy: WithoutPolicy = False,
    unmatched: Unmatched = False,
    since: Since = "24h",
    limit: Limit = 100,
    every: All = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show which endpoints there are, who has them, and which are in use. Several conditions hold together; or manage endpoints."""
    if context.invoked_subcommand is not None:
        return
    from usageflow.cli.connection import connect

    flags = {
        "ACTIVE": active,
        "NEVER_CALLED": never_called,
        "GONE": gone,
        "UNREGISTERED": unregistered,
        "WITHOUT_POLICY": without_policy,
        "UNMATCHED": unmatched,
    }
    request = _request(application, flags, since)
    with connect(timeout) as connection:
        found, releases, more = _pages(connection, request, None if every else limit)
    if output is Output.JSON:
        print_json([_row(each) for each in found])
    else:
        _print([_row(each) for each in found], releases)
    if more:
        say(f"these are the first {len(found)}: see more with --limit or --all")


def _request(application: str, flags: Mapping[str, bool], since: str) -> ListEndpointInventoryRequest:
    from usageflow.messages import timestamp_of
    from usageflow.v1 import inventory_pb2

    try:
        start_us = max(parse_instant(since, now_us=time.time_ns() // 1000), 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    return inventory_pb2.ListEndpointInventoryRequest(
        application=application,
        states=[
            inventory_pb2.EndpointState.Value(f"ENDPOINT_STATE_{name}") for name, on in flags.items() if on
        ],
        start_time=timestamp_of(start_us),
    )


def _pages(
    connection: Connection, request: ListEndpointInventoryRequest, most: int | None
) -> tuple[list[InventoryEndpoint], list[ServiceRelease], bool]:
    """Returns endpoints, at most so many, the newest releases, and whether there are more endpoints."""
    found: list[InventoryEndpoint] = []
    releases: list[ServiceRelease] = []
    while True:
        request.page_size = _PAGE if most is None else min(_PAGE, most - len(found))
        page = connection.as_admin(connection.admin.ListEndpointInventory, request)
        found += page.endpoints
        releases += page.releases
        request.page_token = page.next_page_token
        if not page.next_page_token or (most is not None and len(found) >= most):
            return found, releases, bool(page.next_page_token)


def _row(item: InventoryEndpoint) -> dict[str, Any]:
    from usageflow.v1 import inventory_pb2

    return {
        "method": item.endpoint.method,
        "template": item.endpoint.template,
        "number": item.number,
        "states": [
            inventory_pb2.EndpointState.Name(each).removeprefix("ENDPOINT_STATE_") for each in item.states
        ],
        "services": [
            {"service": each.service, "release": each.release, "gone": each.gone} for each in item.services
        ],
        "first_registered": _instant(item, "first_registered_time"),
        "last_registered": _instant(item, "last_registered_time"),
        "first_called": _instant(item, "first_called_time"),
        "last_called": _instant(item, "last_called_time"),
        "requests": item.requests,
        "errors": item.errors,
        "denied": item.denied,
        "policies": list(item.policies),
    }


def _instant(item: InventoryEndpoint, field: str) -> str | None:
    time_of: Timestamp = getattr(item, field)
    return format_instant(time_of.seconds) if item.HasField(field) else None  # type: ignore[arg-type]


def _print(rows: Sequence[Mapping[str, Any]], releases: Sequence[ServiceRelease]) -> None:
    columns = (
        Column("endpoint"),
        Column("state"),
        Column("release"),
        Column("first registered"),
        Column("last called"),
        *(Column(title, right=True) for title in ("requests", "errors", "denied")),
        Column("policies"),
    )
    print_table(columns, [_cells(row) for row in rows])
    for each in releases:
        of = f" of {each.service}" if each.service else ""
        say(
            f"the newest release{of} is {each.release}, first seen {format_instant(each.first_seen_time.seconds)}"
        )
    if not rows:
        say("there are no such endpoints")


def _cells(row: Mapping[str, Any]) -> list[object]:
    return [
        f"{row['method']} {row['template']}",
        ", ".join(state.lower().replace("_", " ") for state in row["states"]),
        ", ".join(_release(each) for each in row["services"]),
        row["first_registered"],
        row["last_called"],
        row["requests"],
        row["errors"],
        row["denied"],
        ", ".join(row["policies"]),
    ]


def _release(service: Mapping[str, Any]) -> str:
    named = f"{service['service']} {service['release']}".strip()
    return f"until {named}" if service["gone"] else named

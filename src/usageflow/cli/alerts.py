"""`usageflow alerts`: what fires, rules, destinations, and what became of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.confirming import Yes, confirm
from usageflow.cli.failure import Failure
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say
from usageflow.cli.resources import app_of
from usageflow.cli.resources.alert_kinds import DESTINATIONS, RULES

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.alerts_pb2 import Alert, AlertEvent

EXAMPLES = {
    "alerts": (
        "usageflow alerts",
        "usageflow alerts --output json",
        "usageflow alerts rules create errors --kind ERROR_RATE --threshold 5 --to ops",
    ),
    "history": ("usageflow alerts history", "usageflow alerts history --limit 500 --output json"),
    "test": ("usageflow alerts test ops",),
    "secret": ("usageflow alerts secret ops",),
    "rotate": ("usageflow alerts rotate ops --yes",),
}

app = typer.Typer(
    help="What fires, alert rules and where messages go.", rich_markup_mode=None, invoke_without_command=True
)
app.add_typer(app_of(RULES), name="rules")
app.add_typer(app_of(DESTINATIONS), name="destinations")

_Name = Annotated[str, typer.Argument(metavar="DESTINATION", help="The destination.")]


@app.callback(epilog=options.examples(EXAMPLES["alerts"]))
def alerts(
    context: typer.Context,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show what fires: since when, what was measured, and the threshold. Rules and destinations have verbs of their own."""
    if context.invoked_subcommand is not None:
        return
    from usageflow.cli.connection import connect
    from usageflow.v1.alerts_pb2 import ListAlertsRequest

    with connect(timeout) as connection:
        request = ListAlertsRequest(application=application)
        found = connection.as_admin(connection.admin.ListAlerts, request)
    rows = [_alert(each) for each in found.alerts]
    if output is Output.JSON:
        print_json(rows)
        return
    columns = [Column(title, right=title in ("value", "threshold")) for title in _SHOWN]
    print_table(columns, [[_cell(row[title]) for title in _SHOWN] for row in rows])
    if not rows:
        say("nothing fires")


_SHOWN = ("rule", "phase", "since", "value", "threshold", "about")


def _cell(value: Any) -> object:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else value


def _alert(alert: Alert) -> dict[str, Any]:
    from usageflow.cli.times import format_instant
    from usageflow.v1.alerts_pb2 import AlertPhase

    return {
        "rule": alert.rule,
        "phase": AlertPhase.Name(alert.phase).removeprefix("ALERT_PHASE_"),
        "since": format_instant(alert.since_time.seconds),
        "value": alert.value,
        "threshold": alert.threshold,
        "about": dict(alert.about),
        "alert_id": alert.alert_id,
    }


@app.command(epilog=options.examples(EXAMPLES["history"]))
def history(
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most events to show.")] = 100,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show what fired and was resolved in the last 36 days, newest first, and what became of the messages."""
    from usageflow.cli.connection import connect
    from usageflow.v1.alerts_pb2 import ListAlertEventsRequest

    events: list[AlertEvent] = []
    with connect(timeout) as connection:
        request = ListAlertEventsRequest(application=application)
        while len(events) < limit:
            request.page_size = min(limit - len(events), 1000)
            page = connection.as_admin(connection.admin.ListAlertEvents, request)
            events += page.events
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
    rows = [_event(each) for each in events]
    if output is Output.JSON:
        print_json(rows)
        return
    titles = ("time", "rule", "transition", "severity", "summary", "sent to")
    cells = [[*(row[title] for title in titles[:-1]), _sent(row["deliveries"])] for row in rows]
    print_table([Column(title) for title in titles], cells)


def _event(event: AlertEvent) -> dict[str, Any]:
    from usageflow.cli.times import format_instant

    return {
        "event_id": event.event_id,
        "alert_id": event.alert_id,
        "time": format_instant(event.time.seconds),
        "rule": event.rule,
        "transition": event.transition,
        "severity": event.severity,
        "summary": event.summary,
        "deliveries": [
            {
                "destination": each.destination,
                "status": each.status,
                "attempts": each.attempts,
                "told": each.told,
                "next": format_instant(each.next_time.seconds) if each.HasField("next_time") else "",
            }
            for each in event.deliveries
        ],
    }


def _sent(deliveries: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['destination']} {each['status']} ({each['told'] or '-'})" for each in deliveries)


@app.command("test", epilog=options.examples(EXAMPLES["test"]))
def send_test(
    name: _Name,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 15.0,
) -> None:
    """Send a test message now and say what the receiver answered. Exit code 1 where it was not taken."""
    from usageflow.cli.connection import connect
    from usageflow.v1.alerts_pb2 import TestAlertDestinationRequest

    with connect(timeout) as connection:
        request = TestAlertDestinationRequest(application=application, name=name)
        done = connection.as_admin(connection.admin.TestAlertDestination, request)
    if output is Output.JSON:
        print_json({"sent": done.sent, "status": done.status, "told": done.told})
    elif done.sent:
        print_line(f"{name} took it: {done.told}")
    if not done.sent:
        raise Failure(f"{name} did not take it: {done.told}")


@app.command(epilog=options.examples(EXAMPLES["secret"]))
def secret(
    name: _Name,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Print the signing secret of a destination; needs an owner's token."""
    from usageflow.cli.connection import connect
    from usageflow.v1.alerts_pb2 import RevealAlertDestinationSecretRequest

    with connect(timeout) as connection:
        request = RevealAlertDestinationSecretRequest(application=application, name=name)
        found = connection.as_admin(connection.admin.RevealAlertDestinationSecret, request)
    _print_secret(name, found, output)


@app.command(epilog=options.examples(EXAMPLES["rotate"]))
def rotate(
    name: _Name,
    yes: Yes = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Make a new signing secret and print it; for a day messages are signed by the old one too. Needs an owner's token."""
    from usageflow.cli.connection import connect
    from usageflow.v1.alerts_pb2 import RotateAlertDestinationSecretRequest

    confirm(f"Make a new signing secret for {name} of {application}?", yes=yes)
    with connect(timeout) as connection:
        request = RotateAlertDestinationSecretRequest(application=application, name=name)
        found = connection.as_admin(connection.admin.RotateAlertDestinationSecret, request)
    _print_secret(name, found, output)


def _print_secret(name: str, found: Any, output: Output) -> None:
    if output is Output.JSON:
        print_json({"name": name, "version": found.secret_version, "secret": found.signing_secret})
    elif found.signing_secret:
        print_line(found.signing_secret)
    else:
        say(f"{name} takes no signatures")

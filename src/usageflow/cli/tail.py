"""`usageflow tail`: requests as they are reported."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from usageflow.cli import filters, options
from usageflow.cli.output import Output, print_line, say

if TYPE_CHECKING:
    from usageflow.cli.connection import Connection
    from usageflow.v1.analytics_pb2 import StoredEvent, TailEventsRequest

EXAMPLES = (
    "usageflow tail",
    "usageflow tail --denied --customer acme",
    "usageflow tail -n 100 --status 5xx --output json",
)

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_GONE = ("UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN")
_CATCH_UP = 1_000
"""How many of the latest are asked for after a break, to find what came in meanwhile."""

_PAGE = 500
"""The most events of one message."""

Recent = Annotated[int, typer.Option("-n", "--recent", min=0, max=1000, help="So many of the latest first.")]
Count = Annotated[int, typer.Option("--count", min=0, help="End after so many events; 0: at Ctrl-C.")]


def tail(
    recent: Recent = 10,
    count: Count = 0,
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
    output: options.OutputOption = Output.TABLE,
) -> None:
    """Show requests as they are reported, a line each (times in UTC), until Ctrl-C."""
    from usageflow.cli.connection import connect
    from usageflow.v1.analytics_pb2 import TailEventsRequest

    wanted = filters.filter_of(endpoint, customer, identity, status, policy, reason, denied, degraded, shadow)
    request = TailEventsRequest(application=application, filter=wanted, recent=recent)
    left = count
    try:
        with connect(10.0) as connection:
            for event in _Tail(connection, request).events():
                _print(event, output)
                left -= 1
                if left == 0:
                    return
    except KeyboardInterrupt:
        return


def _print(event: StoredEvent, output: Output) -> None:
    from usageflow.cli.event_rows import event_document, event_line

    if output is Output.JSON:
        typer.echo(json.dumps(event_document(event)))
    else:
        print_line(event_line(event))
    sys.stdout.flush()


class _Tail:
    """Follows events over restarts of the service: what came in during a break is found among the latest, once."""

    def __init__(self, connection: Connection, request: TailEventsRequest) -> None:
        self._connection = connection
        self._request = request
        self._began_s = time.time()
        self._last = ""
        self._connected = False

    def events(self) -> Iterator[StoredEvent]:
        """Yields events. Raises Failure where the service says no, or was never reached."""
        from usageflow.cli.rpc_errors import RpcFailure

        failures = 0
        while True:
            try:
                for event in self._one_stream(again=self._connected):
                    failures = 0
                    yield event
            except RpcFailure as failure:
                if not self._connected or failure.code not in _GONE:
                    raise
            if failures == 0:
                say("the service has ended the stream; connecting again")
            time.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            failures += 1

    def _one_stream(self, *, again: bool) -> Iterator[StoredEvent]:
        if again:
            self._request.recent = _CATCH_UP
        stream = self._connection.watch_as_admin(self._connection.admin.TailEvents, self._request)
        latest: list[StoredEvent] | None = [] if again else None
        for answer in stream:
            if answer.skipped:
                say(f"{answer.skipped} events left out: they come in faster than they are read")
            events = list(answer.events)
            if latest is not None:
                latest += events
                if len(events) == _PAGE and len(latest) < _CATCH_UP:
                    continue  # the latest come in several messages
                say("connected again")
                events, latest = self._missed(latest), None
            self._connected = True
            for event in events:
                self._last = event.event_id
                yield event

    def _missed(self, latest: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Returns what came in since the last event that was shown, or since the beginning where none was."""
        if not self._last:
            return [each for each in latest if each.time.ToSeconds() >= int(self._began_s)]
        ids = [each.event_id for each in latest]
        if self._last in ids:
            return list(latest[len(ids) - ids[::-1].index(self._last) :])
        if len(latest) >= _CATCH_UP:
            say("some events may be missing here: more came in during the break than are asked for")
        return list(latest)

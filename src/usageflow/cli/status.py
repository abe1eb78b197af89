"""`usageflow status`: what each decision process enforces, and who lags."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.failure import Failure
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from rich.table import Table

    from usageflow.v1.status_pb2 import EnforcedStatus, GetStatusResponse, ReplicaStatus

EXAMPLES = (
    "usageflow status",
    "usageflow status --watch",
    "usageflow apply -f usageflow.yaml && usageflow status --wait --timeout 30",
)

_REFRESH_S = 1.0
_ASK_AGAIN_S = 0.1
_CALL_S = 10.0

All = Annotated[str, typer.Option("--application", help="Name of the application; left out, all of them.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show it live until Ctrl-C.")]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait", help="Return once every live decision process enforces what is newest; exit 1 otherwise."
    ),
]
WaitTimeout = Annotated[
    float, typer.Option("--timeout", min=0.001, max=3600, help="Seconds that --wait, or the call, may take.")
]


def status(
    application: All = "",
    watch: Watch = False,
    wait: Wait = False,
    output: options.OutputOption = Output.TABLE,
    timeout: WaitTimeout = 30.0,
) -> None:
    """Show what each decision process enforces, and who lags behind what is stored."""
    from usageflow.cli.connection import connect
    from usageflow.v1.status_pb2 import GetStatusRequest

    if watch and (wait or output is Output.JSON):
        raise typer.BadParameter("it goes with neither --wait nor --output json", param_hint="--watch")
    with connect(min(timeout, _CALL_S)) as connection:

        def ask() -> GetStatusResponse:
            return connection.as_admin(connection.admin.GetStatus, GetStatusRequest(application=application))

        if watch:
            _watch(ask)
        elif wait:
            _show(_settled(ask, timeout), output)
        else:
            _show(ask(), output)


def _settled(ask: Callable[[], GetStatusResponse], timeout_s: float) -> GetStatusResponse:
    """Returns the status once nobody lags. What was newest at the start counts, so that others' later changes make nobody wait."""
    deadline = time.monotonic() + timeout_s
    first = ask()
    wanted = {item.application: item for item in first.applications}
    response = first
    while True:
        behind = _behind(response, wanted)
        if not behind:
            return response
        if time.monotonic() > deadline:
            raise Failure(
                f"after {timeout_s:g} s the newest is not enforced everywhere: {'; '.join(behind[:5])}; "
                "see the logs of these processes"
            )
        time.sleep(_ASK_AGAIN_S)
        response = ask()


def _behind(response: GetStatusResponse, wanted: Any) -> list[str]:
    """Returns who lags behind the versions that are wanted, in words; somebody must be there."""
    live = [replica for replica in response.replicas if replica.live]
    if not live:
        return ["no decision process is running"]
    return [
        f"{_title(replica)} is at revision {state.revision} of {state.application}"
        for replica in live
        for state in replica.enforced
        if state.application in wanted and _lacks(state, wanted[state.application])
    ]


def _lacks(state: EnforcedStatus, wanted: Any) -> bool:
    behind = state.plan_version < wanted.plan_version or state.directory_version < wanted.directory_version
    return behind and not state.current


def _show(response: GetStatusResponse, output: Output) -> None:
    if output is Output.JSON:
        print_json(_document(response))
        return
    for item in response.applications:
        print_line(
            f"{item.application}: revision {item.revision}, plan version {item.plan_version}, "
            f"directory version {item.directory_version}"
        )
    print_table(_COLUMNS, _rows(response))
    if not response.replicas:
        say("no decision process was heard of in the last hour")


_COLUMNS = (
    Column("process"),
    Column("address"),
    Column("application"),
    Column("revision", right=True),
    Column("plan", right=True),
    Column("directory", right=True),
    Column("state"),
    Column("heard of", right=True),
)


def _rows(response: GetStatusResponse) -> list[list[object]]:
    return [
        [
            _title(replica),
            replica.address,
            state.application,
            state.revision,
            state.plan_version,
            state.directory_version,
            _state(replica, state),
            f"{_seconds(replica.age):.0f} s ago",
        ]
        for replica in response.replicas
        for state in replica.enforced
    ]


def _title(replica: ReplicaStatus) -> str:
    return f"{replica.host}/{replica.pid}"


def _state(replica: ReplicaStatus, state: EnforcedStatus) -> str:
    if not replica.live:
        return "gone"
    cached = ", from its cache" if replica.from_cache else ""
    if state.current:
        return "current" + cached
    if not state.plan_version:
        return "not loaded" + cached
    return f"{state.versions_behind} behind for {_seconds(state.lag):.1f} s" + cached


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)


def _document(response: GetStatusResponse) -> dict[str, Any]:
    """Returns what programs read."""
    return {
        "applications": [
            {
                "application": item.application,
                "revision": item.revision,
                "plan_version": item.plan_version,
                "directory_version": item.directory_version,
            }
            for item in response.applications
        ],
        "replicas": [
            {
                "replica_id": replica.replica_id,
                "host": replica.host,
                "pid": replica.pid,
                "address": replica.address,
                "live": replica.live,
                "from_cache": replica.from_cache,
                "age_s": round(_seconds(replica.age), 3),
                "enforced": [_enforced_document(state) for state in replica.enforced],
            }
            for replica in response.replicas
        ],
    }


def _enforced_document(state: EnforcedStatus) -> dict[str, Any]:
    return {
        "application": state.application,
        "revision": state.revision,
        "plan_version": state.plan_version,
        "directory_version": state.directory_version,
        "current": state.current,
        "versions_behind": state.versions_behind,
        "lag_s": round(_seconds(state.lag), 3) if state.HasField("lag") else None,
    }


def _watch(ask: Callable[[], GetStatusResponse]) -> None:
    """Shows it until Ctrl-C, which is no failure."""
    from rich.live import Live

    try:
        with Live(_table(ask()), auto_refresh=False, screen=sys.stdout.isatty()) as live:
            while True:
                time.sleep(_REFRESH_S)
                live.update(_table(ask()), refresh=True)
    except KeyboardInterrupt:
        return


def _table(response: GetStatusResponse) -> Table:
    from usageflow.cli.output import table_of

    return table_of(_COLUMNS, _rows(response))

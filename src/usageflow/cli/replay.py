"""`usageflow replay`: what another revision would have made of the requests in the decision log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_line, print_table
from usageflow.cli.times import parse_instant

if TYPE_CHECKING:  # the engine is heavy to import, and only this verb and test need it
    from usageflow.domain.decision_log import LoggedDecision
    from usageflow.domain.snapshot import Snapshot
    from usageflow.runtime.replay import Changed, Replayed
    from usageflow.v1 import decision_log_pb2

EXAMPLES = (
    "usageflow replay --policies usageflow.yaml --since 24h",
    "usageflow replay --revision 12 --since 7d --fail-on-new-denials",
)

_US = 1_000_000

Revision = Annotated[
    int | None, typer.Option("--revision", min=0, help="Revision to decide by; 0 is the one in force.")
]
Policies = Annotated[
    str,
    typer.Option("--policies", metavar="FILE", help="Policy file to decide by, as if it had been applied."),
]
Since = Annotated[str, typer.Option("--since", help="How long ago (24h) or an RFC 3339 time.")]
Until = Annotated[str, typer.Option("--until", help="How long ago, or an RFC 3339 time; now if left out.")]
Top = Annotated[int, typer.Option("--top", min=1, max=10_000, help="Groups to show.")]
Each = Annotated[bool, typer.Option("--each", help="List every request that would be decided otherwise.")]
Fail = Annotated[
    bool, typer.Option("--fail-on-new-denials", help="Exit code 1 where a request would newly be denied.")
]


def replay(
    revision: Revision = None,
    policies: Policies = "",
    since: Since = "24h",
    until: Until = "",
    top: Top = 10,
    each: Each = False,
    fail_on_new_denials: Fail = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 600.0,
) -> None:
    """Decide logged requests again by another revision, and tell which would newly be denied or allowed.

    Needs a decision log, which an application opts in to. Takes nothing: counters are this command's own, and begin empty.
    """
    import asyncio

    if bool(policies) == (revision is not None):
        raise typer.BadParameter("name --revision N or --policies FILE", param_hint="--revision")
    now_us = time.time_ns() // 1000
    span = (_instant(since, "--since", now_us), _instant(until or "0s", "--until", now_us))
    if span[1] <= span[0]:
        raise typer.BadParameter("the span ends before it begins", param_hint="--until")
    snapshot = _snapshot(policies, revision, application, timeout)
    replayed = asyncio.run(_replayed(snapshot, _logged(application, span, timeout), span))
    result = _result(replayed, top=top, each=each)
    (print_json if output is Output.JSON else _print)(result)
    if fail_on_new_denials and replayed.newly_denied:
        raise typer.Exit(1)


def _instant(text: str, option: str, now_us: int) -> int:
    try:
        return parse_instant(text, now_us=now_us)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _snapshot(policies: str, revision: int | None, application: str, timeout: float) -> Snapshot:
    from usageflow.cli.apply import read_policies
    from usageflow.cli.live import exported
    from usageflow.runtime.rehearsal import snapshot_of_export, snapshot_of_file

    loaded = read_policies(policies) if policies else None
    live = exported(application, revision=revision or 0, timeout_s=timeout)
    return snapshot_of_file(loaded, live) if loaded else snapshot_of_export(live)


async def _replayed(snapshot: Snapshot, log: Iterator[LoggedDecision], span: tuple[int, int]) -> Replayed:
    from usageflow.cli.progress import counting
    from usageflow.runtime.replay import Replay

    run, since_us = Replay(snapshot), span[0]
    with counting("replaying", span[1] - span[0]) as progress:
        for logged in log:
            await run.decide(logged)
            progress.advance(logged.at_us - since_us)
            since_us = logged.at_us
    return run.replayed


def _logged(application: str, span: tuple[int, int], timeout: float) -> Iterator[LoggedDecision]:
    from usageflow.cli.connection import connect
    from usageflow.messages import timestamp_of
    from usageflow.v1.decision_log_pb2 import ListDecisionsRequest

    request = ListDecisionsRequest(
        application=application, start_time=timestamp_of(span[0]), end_time=timestamp_of(span[1])
    )
    with connect(timeout) as connection:
        for page in connection.stream_as_admin(connection.admin.ListDecisions, request):
            yield from map(_decision, page.decisions)


def _decision(message: decision_log_pb2.LoggedDecision) -> LoggedDecision:
    from usageflow.cli.convert import bare_name
    from usageflow.domain.decision_log import LoggedDecision
    from usageflow.domain.usage import EndpointName
    from usageflow.v1 import common_pb2

    return LoggedDecision(
        at_us=message.time.seconds * _US + message.time.nanos // 1000,
        revision=message.revision,
        endpoint=EndpointName(message.endpoint.method, message.endpoint.template),
        path=message.path,
        parameters=dict(message.path_parameters),
        hidden=tuple(message.hidden_parameters),
        asked=tuple((each.location, each.name) for each in message.asked),
        values=tuple(
            (
                (each.attribute.location, each.attribute.name),
                each.hash if each.WhichOneof("value") == "hash" else each.plain,
            )
            for each in message.values
        ),
        client_ip=message.client_ip,
        cost=message.cost,
        percent=message.percent,
        leased=message.leased,
        allowed=message.decision == common_pb2.DECISION_ALLOW,
        reason=bare_name(common_pb2.Reason.DESCRIPTOR, message.reason, "REASON_"),
        identity=message.identity,
        policies=tuple(message.policies),
        decided_by=message.decided_by,
        degraded=message.degraded,
    )


def _result(replayed: Replayed, *, top: int, each: bool) -> dict[str, Any]:
    return {
        "requests": replayed.requests,
        "decided": replayed.decided,
        "newly_denied": _changes(replayed.newly_denied, top, each=each),
        "newly_allowed": _changes(replayed.newly_allowed, top, each=each),
        "undecidable": [
            {"requests": number, "because": reason} for reason, number in replayed.undecidable.most_common()
        ],
        "logged_percent": replayed.percent,
        "leased": replayed.leased,
    }


def _changes(changed: Sequence[Changed], top: int, *, each: bool) -> dict[str, Any]:
    groups = Counter((item.group, item.reason) for item in changed).most_common(top)
    shown: dict[str, Any] = {
        "requests": len(changed),
        "groups": [
            {"requests": number, **group._asdict(), "reason": reason} for (group, reason), number in groups
        ],
    }
    if each:
        shown["each"] = [
            {"time_us": item.at_us, **item.group._asdict(), "reason": item.reason} for item in changed
        ]
    return shown


def _print(result: dict[str, Any]) -> None:
    print_line(f"{result['requests']:,} requests in the log, {result['decided']:,} decided again")
    for title, key in (("newly denied", "newly_denied"), ("newly allowed", "newly_allowed")):
        print_line(f"{title}: {result[key]['requests']:,}")
        _print_groups(result[key]["groups"])
        for item in result[key].get("each", ()):
            print_line(f"  {_time(item['time_us'])} {item['endpoint']} {item['identity']} ({item['policy']})")
    undecided = sum(item["requests"] for item in result["undecidable"])
    print_line(f"not decidable: {undecided:,}")
    for item in result["undecidable"]:
        print_line(f"  {item['requests']:,}: {item['because']}")
    if result["logged_percent"] < 100:
        print_line(
            f"{result['logged_percent']} of 100 callers were logged: limits that callers share deny later here than they would"
        )
    if result["leased"]:
        print_line(f"up to {result['leased']:,} requests passed by leased tokens, and are not in the log")


def _print_groups(groups: list[dict[str, Any]]) -> None:
    if groups:
        titles = ("requests", "policy", "endpoint", "identity", "reason")
        columns = [Column(title, right=title == "requests") for title in titles]
        print_table(columns, [[group[title] for title in titles] for group in groups])
        print_line("")


def _time(at_us: int) -> str:
    from usageflow.cli.times import format_instant

    return format_instant(at_us // _US)

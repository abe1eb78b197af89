"""Options that choose usage and events, and the contract's filter that they make."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from usageflow.cli.times import parse_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.analytics_pb2 import UsageFilter
    from usageflow.v1.common_pb2 import Endpoint

_STATUS = re.compile(r"[1-5](xx|\d\d)", re.ASCII)

Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint", help="'GET /users/{id}', a template or a method alone; all of these may be repeated."
    ),
]
Customers = Annotated[list[str] | None, typer.Option("--customer", help="Name of a customer.")]
Identities = Annotated[
    list[str] | None, typer.Option("--identity", help="An identity: user-1, or hash: and 12 hex digits.")
]
Statuses = Annotated[list[str] | None, typer.Option("--status", help="HTTP status, 404, or class, 5xx.")]
Policies = Annotated[list[str] | None, typer.Option("--policy", help="Name of the policy that decided.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Why, such as LIMIT_EXCEEDED.")]
Denied = Annotated[
    bool | None, typer.Option("--denied/--allowed", help="Only what was denied, or only what was not.")
]
Degraded = Annotated[
    bool | None, typer.Option("--degraded/--not-degraded", help="Only what a fail mode decided, or not.")
]
Shadow = Annotated[
    bool | None,
    typer.Option("--shadow/--no-shadow", help="Only what a policy in SHADOW would have denied, or not."),
]
Since = Annotated[str, typer.Option("--since", help="How long ago (30m, 24h, 7d), or an RFC 3339 time.")]
Until = Annotated[
    str, typer.Option("--until", help="Where to stop, as --since; left out, all that was reported.")
]


def filter_of(
    endpoints: list[str] | None = None,
    customers: list[str] | None = None,
    identities: list[str] | None = None,
    statuses: list[str] | None = None,
    policies: list[str] | None = None,
    reasons: list[str] | None = None,
    denied: bool | None = None,
    degraded: bool | None = None,
    shadow: bool | None = None,
) -> UsageFilter:
    """Returns the filter. Raises typer.BadParameter for what is none."""
    from usageflow.v1.analytics_pb2 import UsageFilter

    return UsageFilter(
        endpoints=[_endpoint(each) for each in endpoints or ()],
        customers=customers,
        identities=identities,
        statuses=[_status(each) for each in statuses or ()],
        policies=policies,
        reasons=[each.upper() for each in reasons or ()],
        denied=denied,
        degraded=degraded,
        shadow_denied=shadow,
    )


def span_of(since: str, until: str) -> tuple[int, int | None]:
    """Returns both ends in Unix microseconds; None: no end. Raises typer.BadParameter."""
    now_us = time.time_ns() // 1000
    start_us = _instant(since, now_us, "--since")
    end_us = _instant(until, now_us, "--until") if until else None
    if end_us is not None and end_us <= start_us:
        raise typer.BadParameter("it must be later than --since", param_hint="--until")
    return start_us, end_us


def _instant(text: str, now_us: int, option: str) -> int:
    try:
        return max(parse_instant(text, now_us=now_us), 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _endpoint(text: str) -> Endpoint:
    from usageflow.v1.common_pb2 import Endpoint

    method, _, template = text.strip().partition(" ")
    if method.startswith(("/", "{")):
        method, template = "", text.strip()
    return Endpoint(method=method.upper(), template=template.strip())


def _status(text: str) -> int:
    if not _STATUS.fullmatch(text.lower()):
        raise typer.BadParameter(f"{text!r} is no status: write 404 or 5xx", param_hint="--status")
    return int(text[0]) if text.lower().endswith("xx") else int(text)

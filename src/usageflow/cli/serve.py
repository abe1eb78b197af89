"""`usageflow serve`: runs the service in this process."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = (
    "usageflow serve",
    "USAGEFLOW_LISTEN=127.0.0.1:6000 usageflow serve all",
    "usageflow serve decision --snapshot demo.snapshot.json",
    "USAGEFLOW_DATABASE_URL=postgresql://usageflow@db/usageflow usageflow serve decision --workers 4",
)


class Role(StrEnum):
    """What a process serves."""

    ALL = "all"
    DECISION = "decision"
    ADMIN = "admin"
    METER = "meter"


RoleArgument = Annotated[Role, typer.Argument(help="What to serve.")]
Snapshot = Annotated[
    Path | None,
    typer.Option(
        "--snapshot",
        metavar="FILE",
        help="Decide from a file of `usageflow snapshot`, without a database; it is followed when it is replaced.",
    ),
]


Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        max=256,
        help="Processes that serve decisions on one port; needs USAGEFLOW_REDIS_URL.",
    ),
]


def serve(role: RoleArgument = Role.ALL, snapshot: Snapshot = None, workers: Workers = 1) -> None:
    """Serve decisions, administration and metering until SIGTERM or Ctrl-C."""
    if snapshot is not None and role is not Role.DECISION:
        raise typer.BadParameter(
            "only decisions can be made from a file: write `usageflow serve decision --snapshot FILE`",
            param_hint="--snapshot",
        )
    if workers > 1 and role is not Role.DECISION:
        raise typer.BadParameter(
            "only decisions are served by several processes: write `usageflow serve decision --workers N`",
            param_hint="--workers",
        )
    # The transport would tell of a refused address in lines of its own, beside our one sentence; set it to see them.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # The runtime pulls in servers and databases, which no other verb needs.
    from usageflow.runtime.serve import run

    raise typer.Exit(run(role.value, snapshot, workers))

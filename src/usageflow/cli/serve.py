"""`usageflow serve`: runs the service in this process."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

EXAMPLES = (
    "usageflow serve",
    "USAGEFLOW_LISTEN=127.0.0.1:6000 usageflow serve all",
)


class Role(StrEnum):
    """What a process serves."""

    ALL = "all"
    DECISION = "decision"
    ADMIN = "admin"
    METER = "meter"


RoleArgument = Annotated[Role, typer.Argument(help="What to serve.")]


def serve(role: RoleArgument = Role.ALL) -> None:
    """Serve decisions, administration and metering until SIGTERM or Ctrl-C."""
    # The transport would tell of a refused address in lines of its own, beside our one sentence; set it to see them.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # The runtime pulls in servers and databases, which no other verb needs.
    from usageflow.runtime.serve import run

    raise typer.Exit(run(role.value))

"""Questions before something is destroyed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from usageflow.cli.output import say

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def confirm(question: str, *, yes: bool) -> None:
    """Returns where the user agrees. Ends the command with exit code 1 where not, and with 2 where there is nobody to ask."""
    if yes:
        return
    if not _somebody_is_there():
        say(f"{question} There is no terminal to ask on: add --yes to do it")
        raise typer.Exit(2)
    if not typer.confirm(question, err=True):
        say("nothing was done")
        raise typer.Exit(1)


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()

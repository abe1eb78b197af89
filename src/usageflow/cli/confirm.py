"""Asks before what cannot be undone."""

from __future__ import annotations

import sys

import typer

from usageflow.cli.failure import Failure

Yes = typer.Option("--yes", "-y", help="Do it without being asked.")


def ensure_meant(question: str, *, yes: bool) -> None:
    """Returns where a person says yes, or ``yes`` did. Raises Failure where they do not, and BadParameter where nobody can be asked."""
    if yes:
        return
    if not _somebody_is_there():
        raise typer.BadParameter(
            "this cannot be undone, and nobody is here to ask: add --yes", param_hint="--yes"
        )
    if not typer.confirm(question, err=True):
        raise Failure("nothing was done")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()

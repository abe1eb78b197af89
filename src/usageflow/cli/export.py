"""`usageflow export`: a revision as a policy file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.output import say

EXAMPLES = (
    "usageflow export -o usageflow.yaml",
    "usageflow export --revision 12 | usageflow plan -f -",
)

Revision = Annotated[str, typer.Option("--revision", help="Number or tag; the one in force if left out.")]
To = Annotated[str, typer.Option("--to", "-o", metavar="FILE", help="File to write; else standard output.")]


def export(
    revision: Revision = "",
    to: To = "",
    application: options.Application = "demo",
    timeout: options.Timeout = 60.0,
) -> None:
    """Write strategies, policies and plans as a policy file, which `apply` reads back to no change.

    Customers and blocks stay where they are: their identities are kept as hashes, which no file can turn back.
    """
    from usageflow.cli.live import live_policies
    from usageflow.policyfile.writing import write

    text = write(application, live_policies(application, revision=revision, timeout_s=timeout))
    if to in ("", "-"):
        typer.echo(text, nl=False)
    else:
        _write(to, text)
        say(f"wrote {to}")


def _write(to: str, text: str) -> None:
    from usageflow.cli.failure import Failure

    try:
        Path(to).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {to}: {error.strerror}; name a file in a folder that exists") from error

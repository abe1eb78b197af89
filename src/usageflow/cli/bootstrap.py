"""`usageflow bootstrap`: the first application and admin token of an installation on PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.output import Output, print_json, print_line, say

EXAMPLES = (
    "USAGEFLOW_DATABASE_URL=postgresql://usageflow@db/usageflow usageflow bootstrap",
    "usageflow bootstrap --application shop --output json",
)

Name = Annotated[str, typer.Option("--application", help="Name of the first application.")]


def bootstrap(application: Name = "demo", output: options.OutputOption = Output.TABLE) -> None:
    """Prepare a new database: make its tables, the first application with an API key, and the first admin token.

    It runs where USAGEFLOW_DATABASE_URL and USAGEFLOW_HASH_KEY are set as for the services, once: the secrets are shown now and
    never again. The embedded form needs none of this.
    """
    # The runtime pulls in databases, which most verbs do not need.
    from usageflow.runtime.bootstrap import run

    made = run(application)
    if made is None:
        raise typer.Exit(1)
    secrets = {"application": application, "api_key": made.api_key, "admin_token": made.admin_token}
    if output is Output.JSON:
        print_json(secrets)
        return
    print_line(f"USAGEFLOW_API_KEY={made.api_key}")
    print_line(f"USAGEFLOW_ADMIN_TOKEN={made.admin_token}")
    say("keep them: only their hashes are stored, so nobody can show them again")

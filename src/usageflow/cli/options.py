"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from usageflow.cli.output import Output

MAX_COST = 10**12

OutputOption = Annotated[Output, typer.Option("--output", help="How to print the result.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, max=3600, help="Seconds that a call may take.")
]
Application = Annotated[str, typer.Option("--application", help="Name of the application.")]

Method = Annotated[str, typer.Option("--method", help="HTTP method, such as POST.")]
Path = Annotated[str, typer.Option("--path", help="Path of the request; a query after ? counts as --query.")]
Route = Annotated[
    str, typer.Option("--route", help="Template that the framework chose, such as /users/{id}.")
]
Header = Annotated[
    list[str] | None, typer.Option("--header", help="A header, 'Name: value'; may be repeated.")
]
Query = Annotated[
    list[str] | None, typer.Option("--query", help="A query parameter, 'name=value'; may be repeated.")
]
ClientIp = Annotated[str, typer.Option("--client-ip", help="Address of the caller.")]
Cost = Annotated[
    int, typer.Option("--cost", min=0, max=MAX_COST, help="Units; 0 means what the policies say.")
]


def examples(lines: tuple[str, ...]) -> str:
    """Returns what stands below a verb's help: a line for each example, never wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

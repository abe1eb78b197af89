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
Cookie = Annotated[
    list[str] | None, typer.Option("--cookie", help="A cookie, 'name=value'; may be repeated.")
]
Body = Annotated[
    list[str] | None,
    typer.Option("--body", help="A field of the JSON body, 'user.id=value'; may be repeated."),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context", help="What the application knows of the caller, 'name=value'; may be repeated."
    ),
]
PathParam = Annotated[
    list[str] | None,
    typer.Option("--path-param", help="A parameter of the route, 'name=value'; may be repeated."),
]
Bearer = Annotated[
    str, typer.Option("--bearer", help="A bearer token; it is sent to the service, never stored.")
]
ClientIp = Annotated[str, typer.Option("--client-ip", help="Address of the caller.")]
Cost = Annotated[
    int, typer.Option("--cost", min=0, max=MAX_COST, help="Units; 0 means what the policies say.")
]


def examples(lines: tuple[str, ...]) -> str:
    """Returns what stands below a verb's help: a line for each example, never wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

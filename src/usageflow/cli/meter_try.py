"""`usageflow meter try`: what a metering expression makes of one event."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.failure import Failure
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say

if TYPE_CHECKING:  # expressions are heavy to import
    from usageflow.runtime.trying import Trial

EXAMPLES = (
    "usageflow meter try --policy answers --event event.json",
    "usageflow meter try --expression 'metadata.tokens * units(\"0.001\")' --event - < event.json",
)

Policy = Annotated[str, typer.Option("--policy", help="Name of the policy whose expression is tried.")]
Expression = Annotated[
    str, typer.Option("--expression", metavar="CEL", help="An expression, instead of a policy's.")
]
Event = Annotated[
    str,
    typer.Option(
        "--event", metavar="FILE", help="JSON of one event, as `usageflow report` reads it; - for stdin."
    ),
]


def try_(
    event: Event,
    policy: Policy = "",
    expression: Expression = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show what a metering expression makes of an event: what it reads, and the units, or why there are none. Nothing is stored."""
    from usageflow.domain.errors import InvalidArgument

    if bool(policy) == bool(expression):
        raise typer.BadParameter("name a policy or write an expression, one of them", param_hint="--policy")
    document = _document(event)
    text = expression or _expression_of(application, policy, timeout)
    from usageflow.runtime.trying import try_expression

    try:
        trial = try_expression(text, document)
    except InvalidArgument as error:
        raise Failure("; ".join(f"{each.message}: {each.fix}" for each in error.faults)) from None
    _print(trial, output)
    if trial.units is None:
        raise typer.Exit(1)


def _document(place: str) -> Any:
    """Returns the event. Raises Failure."""
    try:
        return json.loads(sys.stdin.read() if place == "-" else Path(place).read_text("utf-8"))
    except OSError as error:
        raise Failure(f"cannot read {place}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{place} is no JSON: {error}") from None


def _expression_of(application: str, policy: str, timeout: float) -> str:
    """Returns a policy's expression. Raises Failure where it meters nothing."""
    from usageflow.cli.connection import connect
    from usageflow.v1.policy_methods_pb2 import GetPolicyRequest

    with connect(timeout) as connection:
        found = connection.as_admin(
            connection.admin.GetPolicy, GetPolicyRequest(application=application, name=policy)
        )
    if not found.HasField("metering"):
        raise Failure(f"policy {policy} meters nothing: give it `metering`, or try --expression")
    return str(found.metering.expression) or "usage_record.quantity"


def _print(trial: Trial, output: Output) -> None:
    read = dict(trial.read)
    if output is Output.JSON:
        document = {"expression": trial.expression, "read": read, "units": trial.units}
        print_json(document | {"failure": trial.failure, "linear": trial.linear})
        return
    print_line(trial.expression)
    rows = [
        [name, "missing" if value is None else json.dumps(value, ensure_ascii=False)]
        for name, value in read.items()
    ]
    print_table([Column("reads"), Column("value")], rows)
    if trial.units is None:
        say(f"no units: {trial.failure}")
    else:
        from usageflow.domain.units import format_units

        told = "counts tell enough" if trial.linear else "each request needs its event"
        print_line(f"{format_units(trial.units)} units   ({told})")

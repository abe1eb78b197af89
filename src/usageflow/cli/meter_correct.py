"""`usageflow meter correct`: takes back or adds units of a part."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.confirming import Yes, confirm
from usageflow.cli.meter_rows import part_document
from usageflow.cli.output import Output, cell_text, print_json, print_line

EXAMPLES = (
    "usageflow meter correct 4711 --units -5 --reason 'a loop of our own called it'",
    "usageflow meter correct 4711 --cancel --reason 'billed to the wrong customer' --yes",
)

Part = Annotated[
    int, typer.Argument(metavar="PART", min=1, help="Id of the part, as `meter windows` shows it.")
]
Units = Annotated[str, typer.Option("--units", help="What to add; negative takes back: -5 or 2.5.")]
Cancel = Annotated[bool, typer.Option("--cancel", help="Take the whole part back.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit log and the part's note.")]


def correct(
    part: Part,
    reason: Reason,
    units: Units = "",
    cancel: Cancel = False,
    yes: Yes = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 20.0,
) -> None:
    """Take back or add units that were sent; needs an owner's token. A correction is a part of its own, and is audited."""
    from usageflow.cli.connection import connect
    from usageflow.v1.billing_pb2 import CorrectUsageRequest

    if cancel == bool(units):
        raise typer.BadParameter("give either --units or --cancel", param_hint="--units")
    what = "Take back all units" if cancel else f"Add {units} units"
    confirm(f"{what} of part {part} of {application}?", yes=yes)
    with connect(timeout) as connection:
        request = CorrectUsageRequest(
            application=application,
            part_id=part,
            units=units,
            cancel=cancel,
            reason=reason,
            request_id=str(uuid.uuid4()),
        )
        done = connection.as_admin(connection.meter.CorrectUsage, request)
    made = part_document(done.correction) if done.HasField("correction") else None
    if output is Output.JSON:
        print_json({"cancelled": done.cancelled, "correction": made})
    elif made is None:
        print_line(f"part {part} was taken back at the destination")
    else:
        print_line(
            f"part {made['part']} corrects part {part} by {cell_text(made['units'])} units; it is on its way"
        )

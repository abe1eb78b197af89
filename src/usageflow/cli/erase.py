"""`usageflow customers erase`: forgets a customer, or one identity, for good."""

from __future__ import annotations

from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.confirming import Yes, confirm
from usageflow.cli.output import Column, Output, print_json, print_table

EXAMPLES = (
    "usageflow customers erase acme",
    "usageflow customers erase --identity user-1 --yes",
    "usageflow customers erase --identity user-1 --discard-unbilled --output json",
)

_Customer = Annotated[str, typer.Argument(help="The customer's name.")]
_Identity = Annotated[str, typer.Option("--identity", help="Forget only this identity: its raw value.")]
_Discard = Annotated[
    bool,
    typer.Option("--discard-unbilled", help="Delete units of an identity without a customer, never billed."),
]
_FIELDS = ("identities", "events", "decisions", "blocks", "windows", "bound_units", "discarded_units")


def erase(
    customer: _Customer = "",
    identity: _Identity = "",
    discard_unbilled: _Discard = False,
    yes: Yes = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 600.0,
) -> None:
    """Forget a customer and all of its identities, or one identity, for good. Sums stay; what is not billed yet stays with the customer."""
    if bool(customer) == bool(identity):
        raise typer.BadParameter("name a customer, or one --identity")
    if customer and discard_unbilled:
        raise typer.BadParameter(
            "--discard-unbilled goes with --identity: a customer's units are kept for its bill"
        )
    who = f"the customer {customer} and all of its identities" if customer else "this identity"
    confirm(f"Forget {who} in {application} for ever?", yes=yes)
    from usageflow.cli.connection import connect
    from usageflow.v1 import erasing_pb2

    with connect(timeout) as connection:
        if customer:
            by_name = erasing_pb2.EraseCustomerRequest(application=application, name=customer)
            erased = connection.as_admin(connection.admin.EraseCustomer, by_name)
        else:
            by_value = erasing_pb2.EraseIdentityRequest(
                application=application, identity=identity, discard_unbilled=discard_unbilled
            )
            erased = connection.as_admin(connection.admin.EraseIdentity, by_value)
    removed = {name: getattr(erased, name) for name in _FIELDS}
    if output is Output.JSON:
        print_json(removed)
    else:
        print_table(
            [Column(name.replace("_", " "), right=True) for name in _FIELDS], [list(removed.values())]
        )

"""`usageflow tokens`: admin tokens of the installation."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from usageflow.cli import options
from usageflow.cli.confirming import Yes, confirm
from usageflow.cli.credentials import (
    All,
    Etag,
    Expires,
    Filter,
    Name,
    NewName,
    OrderBy,
    Overlap,
    instant_of,
    overlap_of,
    print_issued,
    print_row,
    print_rows,
    token_row,
)
from usageflow.cli.output import Output, say

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.keys_pb2 import AdminToken

app = typer.Typer(help="Admin tokens of the installation.", rich_markup_mode=None, no_args_is_help=True)

EXAMPLES = {
    "list": ("usageflow tokens list",),
    "create": (
        "usageflow tokens create ann --role EDITOR --expires 90d",
        "usageflow tokens create shop-ops --role VIEWER --bound-to shop",
    ),
    "get": ("usageflow tokens get ann",),
    "update": ("usageflow tokens update ann --role VIEWER",),
    "rotate": ("usageflow tokens rotate ann --overlap 1h",),
    "revoke": ("usageflow tokens revoke ann --yes",),
}


class AdminRole(StrEnum):
    """What a token may do."""

    VIEWER = "VIEWER"
    EDITOR = "EDITOR"
    OWNER = "OWNER"


@app.command("list", epilog=options.examples(EXAMPLES["list"]))
def list_tokens(
    show_all: All = False,
    filter_text: Filter = "",
    order_by: OrderBy = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """List admin tokens: their roles, until when, and when they were last used."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import ListAdminTokensRequest

    tokens: list[AdminToken] = []
    request = ListAdminTokensRequest(
        page_size=1000, show_deleted=show_all, filter=filter_text, order_by=order_by
    )
    with connect(timeout) as connection:
        while True:
            page = connection.as_admin(connection.admin.ListAdminTokens, request)
            tokens += page.admin_tokens
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    print_rows(map(token_row, tokens), output, "there is no admin token that is not revoked")


@app.command(epilog=options.examples(EXAMPLES["create"]))
def create(
    name: Name,
    role: Annotated[AdminRole, typer.Option("--role", help="What it may do.")],
    bound_to: Annotated[
        str, typer.Option("--bound-to", help="The one application that it sees; left out, all.")
    ] = "",
    expires: Expires = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Make an admin token and print its secret, which is shown this once."""
    from usageflow.cli.connection import connect
    from usageflow.v1 import keys_pb2

    token = keys_pb2.AdminToken(
        name=name,
        role=keys_pb2.AdminRole.Value(f"ADMIN_ROLE_{role}"),
        application=bound_to,
        expire_time=instant_of(expires),
    )
    with connect(timeout) as connection:
        request = keys_pb2.CreateAdminTokenRequest(admin_token=token)
        issued = connection.as_admin(connection.admin.CreateAdminToken, request)
    print_issued(token_row(issued.admin_token), issued.secret, output, withheld=issued.secret_withheld)


@app.command(epilog=options.examples(EXAMPLES["get"]))
def get(name: Name, output: options.OutputOption = Output.TABLE, timeout: options.Timeout = 10.0) -> None:
    """Show an admin token."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import GetAdminTokenRequest

    with connect(timeout) as connection:
        token = connection.as_admin(connection.admin.GetAdminToken, GetAdminTokenRequest(name=name))
    print_row(token_row(token), output)


@app.command(epilog=options.examples(EXAMPLES["update"]))
def update(
    name: Name,
    role: Annotated[AdminRole | None, typer.Option("--role", help="What it may do.")] = None,
    expires: Annotated[str, typer.Option("--expires", help="As for create, or never.")] = "",
    etag: Etag = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Change what an admin token may do, or when it ends."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from usageflow.cli.connection import connect
    from usageflow.v1 import keys_pb2

    paths = [path for path, given in (("role", role), ("expire_time", expires)) if given]
    if not paths:
        raise typer.BadParameter("say what to change: --role or --expires")
    wanted = keys_pb2.AdminRole.Value(f"ADMIN_ROLE_{role or 'UNSPECIFIED'}")
    request = keys_pb2.UpdateAdminTokenRequest(
        admin_token=keys_pb2.AdminToken(name=name, role=wanted, expire_time=instant_of(expires)),
        update_mask=FieldMask(paths=paths),
        etag=etag,
    )
    with connect(timeout) as connection:
        token = connection.as_admin(connection.admin.UpdateAdminToken, request)
    print_row(token_row(token), output)


@app.command(epilog=options.examples(EXAMPLES["rotate"]))
def rotate(
    name: Name,
    new_name: NewName = "",
    overlap: Overlap = "24h",
    expires: Expires = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Make a successor of an admin token and print its secret; the old one ends after the overlap."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import RotateAdminTokenRequest

    request = RotateAdminTokenRequest(
        name=name, new_name=new_name, overlap=overlap_of(overlap), expire_time=instant_of(expires)
    )
    with connect(timeout) as connection:
        issued = connection.as_admin(connection.admin.RotateAdminToken, request)
    print_issued(token_row(issued.admin_token), issued.secret, output, withheld=issued.secret_withheld)
    say(f"{name} ends in {overlap}")


@app.command(epilog=options.examples(EXAMPLES["revoke"]))
def revoke(
    name: Name,
    yes: Yes = False,
    etag: Etag = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """End an admin token for ever: within a second nobody accepts it."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import RevokeAdminTokenRequest

    confirm(f"Revoke the admin token {name} for ever?", yes=yes)
    with connect(timeout) as connection:
        request = RevokeAdminTokenRequest(name=name, etag=etag)
        token = connection.as_admin(connection.admin.RevokeAdminToken, request)
    print_row(token_row(token), output)

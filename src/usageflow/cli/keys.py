"""`usageflow keys`: API keys of an application."""

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
    key_row,
    overlap_of,
    print_issued,
    print_row,
    print_rows,
)
from usageflow.cli.output import Output, say

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.keys_pb2 import ApiKey
    from usageflow.v1.keys_pb2 import KeyScope as WireScope

app = typer.Typer(help="API keys of an application.", rich_markup_mode=None, no_args_is_help=True)

EXAMPLES = {
    "list": (
        "usageflow keys list --all",
        "usageflow keys list --filter 'scopes : \"READ\"' --order-by 'last_use_time desc'",
    ),
    "create": (
        "usageflow keys create web --live",
        "usageflow keys create batch --scope REPORT --expires 90d",
    ),
    "get": ("usageflow keys get web",),
    "update": ("usageflow keys update batch --scope REPORT --scope READ --expires never",),
    "rotate": ("usageflow keys rotate web --overlap 7d",),
    "revoke": ("usageflow keys revoke web --yes",),
}


class KeyScope(StrEnum):
    """What a key may do."""

    AGENT = "AGENT"
    REPORT = "REPORT"
    READ = "READ"


ScopeOption = Annotated[
    list[KeyScope] | None, typer.Option("--scope", help="What it may do; may be repeated.")
]


@app.command("list", epilog=options.examples(EXAMPLES["list"]))
def list_keys(
    show_all: All = False,
    filter_text: Filter = "",
    order_by: OrderBy = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """List API keys: what they may do, until when, and when they were last used."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import ListApiKeysRequest

    keys: list[ApiKey] = []
    request = ListApiKeysRequest(
        application=application, page_size=1000, show_deleted=show_all, filter=filter_text, order_by=order_by
    )
    with connect(timeout) as connection:
        while True:
            page = connection.as_admin(connection.admin.ListApiKeys, request)
            keys += page.api_keys
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    print_rows(map(key_row, keys), output, f"{application} has no API key that is not revoked")


@app.command(epilog=options.examples(EXAMPLES["create"]))
def create(
    name: Name,
    scope: ScopeOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="For real traffic: uf_live_..., else uf_test_...")
    ] = False,
    expires: Expires = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Make an API key and print its secret, which is shown this once. Without --scope it is an AGENT's."""
    from usageflow.cli.connection import connect
    from usageflow.v1 import keys_pb2

    key = keys_pb2.ApiKey(
        name=name,
        scopes=_scopes(scope or [KeyScope.AGENT]),
        environment=keys_pb2.KEY_ENVIRONMENT_LIVE if live else keys_pb2.KEY_ENVIRONMENT_TEST,
        expire_time=instant_of(expires),
    )
    with connect(timeout) as connection:
        request = keys_pb2.CreateApiKeyRequest(application=application, api_key=key)
        issued = connection.as_admin(connection.admin.CreateApiKey, request)
    print_issued(key_row(issued.api_key), issued.secret, output, withheld=issued.secret_withheld)


@app.command(epilog=options.examples(EXAMPLES["get"]))
def get(
    name: Name,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show an API key."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import GetApiKeyRequest

    with connect(timeout) as connection:
        request = GetApiKeyRequest(application=application, name=name)
        key = connection.as_admin(connection.admin.GetApiKey, request)
    print_row(key_row(key), output)


@app.command(epilog=options.examples(EXAMPLES["update"]))
def update(
    name: Name,
    scope: ScopeOption = None,
    expires: Annotated[str, typer.Option("--expires", help="As for create, or never.")] = "",
    etag: Etag = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Change what an API key may do (all scopes anew), or when it ends."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from usageflow.cli.connection import connect
    from usageflow.v1 import keys_pb2

    paths = [path for path, given in (("scopes", scope), ("expire_time", expires)) if given]
    if not paths:
        raise typer.BadParameter("say what to change: --scope or --expires")
    request = keys_pb2.UpdateApiKeyRequest(
        application=application,
        api_key=keys_pb2.ApiKey(name=name, scopes=_scopes(scope or []), expire_time=instant_of(expires)),
        update_mask=FieldMask(paths=paths),
        etag=etag,
    )
    with connect(timeout) as connection:
        key = connection.as_admin(connection.admin.UpdateApiKey, request)
    print_row(key_row(key), output)


@app.command(epilog=options.examples(EXAMPLES["rotate"]))
def rotate(
    name: Name,
    new_name: NewName = "",
    overlap: Overlap = "24h",
    expires: Expires = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Make a successor of an API key and print its secret; the old one ends after the overlap."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import RotateApiKeyRequest

    request = RotateApiKeyRequest(
        application=application,
        name=name,
        new_name=new_name,
        overlap=overlap_of(overlap),
        expire_time=instant_of(expires),
    )
    with connect(timeout) as connection:
        issued = connection.as_admin(connection.admin.RotateApiKey, request)
    print_issued(key_row(issued.api_key), issued.secret, output, withheld=issued.secret_withheld)
    say(f"{name} ends in {overlap}")


@app.command(epilog=options.examples(EXAMPLES["revoke"]))
def revoke(
    name: Name,
    yes: Yes = False,
    etag: Etag = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """End an API key for ever: within a second nobody accepts it."""
    from usageflow.cli.connection import connect
    from usageflow.v1.keys_pb2 import RevokeApiKeyRequest

    confirm(f"Revoke the API key {name} of {application} for ever?", yes=yes)
    with connect(timeout) as connection:
        request = RevokeApiKeyRequest(application=application, name=name, etag=etag)
        key = connection.as_admin(connection.admin.RevokeApiKey, request)
    print_row(key_row(key), output)


def _scopes(scopes: list[KeyScope]) -> list[WireScope.ValueType]:
    from usageflow.v1 import keys_pb2

    return [keys_pb2.KeyScope.Value(f"KEY_SCOPE_{scope}") for scope in dict.fromkeys(scopes)]

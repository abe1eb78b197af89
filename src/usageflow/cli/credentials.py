"""What `keys` and `tokens` have in common: how credentials are shown, and secrets told once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say
from usageflow.cli.times import format_instant, parse_coming
from usageflow.domain.durations import parse_window

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from usageflow.v1.keys_pb2 import AdminToken, ApiKey

NEVER = "never"

Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]
Expires = Annotated[
    str, typer.Option("--expires", help="When it ends: in 90d, or at an RFC 3339 time; left out, never.")
]
Overlap = Annotated[str, typer.Option("--overlap", help="How long the old one goes on, such as 24h or 7d.")]
NewName = Annotated[str, typer.Option("--new-name", help="Name of the new one; left out, NAME-2 and so on.")]
All = Annotated[bool, typer.Option("--all", "--show-deleted", help="Revoked ones too.")]
Filter = Annotated[str, typer.Option("--filter", help="Such as 'name = \"a*\" AND last_use_time < ...'.")]
OrderBy = Annotated[str, typer.Option("--order-by", help="Such as 'last_use_time desc, name'.")]
Etag = Annotated[str, typer.Option("--etag", help="Do it only if this is still its version.")]


def instant_of(text: str, option: str = "--expires") -> Timestamp | None:
    """Returns a coming instant; None for "" and ``never``."""
    from usageflow.messages.writing import timestamp_of

    if text in ("", NEVER):
        return None
    try:
        return timestamp_of(parse_coming(text, now_us=time.time_ns() // 1000))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def overlap_of(text: str) -> Duration:
    """Returns a span; ``0s`` ends the old one at once."""
    from usageflow.messages.writing import duration_of

    try:
        return duration_of(parse_window(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from error


def key_row(key: ApiKey) -> dict[str, Any]:
    """Returns what is shown of a key."""
    from usageflow.cli.convert import bare_name
    from usageflow.v1 import keys_pb2

    scopes = [bare_name(keys_pb2.KeyScope.DESCRIPTOR, scope, "KEY_SCOPE_") for scope in key.scopes]
    return {"name": key.name, "prefix": key.prefix, "scopes": scopes, **_common(key)}


def token_row(token: AdminToken) -> dict[str, Any]:
    """Returns what is shown of a token."""
    from usageflow.cli.convert import bare_name
    from usageflow.v1 import keys_pb2

    role = bare_name(keys_pb2.AdminRole.DESCRIPTOR, token.role, "ADMIN_ROLE_")
    row = {"name": token.name, "prefix": token.prefix, "role": role, "application": token.application or None}
    return {**row, **_common(token)}


def _common(credential: ApiKey | AdminToken) -> dict[str, Any]:
    from usageflow.cli.convert import bare_name
    from usageflow.v1 import keys_pb2

    def instant(field: str) -> str | None:
        return format_instant(getattr(credential, field).seconds) if credential.HasField(field) else None  # type: ignore[arg-type]

    return {
        "state": bare_name(keys_pb2.CredentialState.DESCRIPTOR, credential.state, "CREDENTIAL_STATE_"),
        "created": instant("create_time"),
        "last_used": instant("last_use_time"),
        "expires": instant("expire_time"),
        "revoked": instant("revoke_time"),
        "uid": credential.uid,
        "etag": credential.etag,
    }


_IN_TABLE = ("name", "prefix", "scopes", "role", "application", "state", "created", "last_used", "expires")


def print_rows(rows: Iterable[dict[str, Any]], output: Output, nothing: str) -> None:
    """Prints credentials; ``nothing`` says that there are none."""
    shown = list(rows)
    if output is Output.JSON:
        print_json(shown)
        return
    titles = [title for title in _IN_TABLE if shown and title in shown[0]]
    print_table(
        [Column(title) for title in titles], [[_cell(row[title]) for title in titles] for row in shown]
    )
    if not shown:
        say(nothing)


def print_row(row: dict[str, Any], output: Output) -> None:
    """Prints one credential."""
    if output is Output.JSON:
        print_json(row)
        return
    print_table([Column("field"), Column("value")], [[title, _cell(value)] for title, value in row.items()])


def print_issued(row: dict[str, Any], secret: str, output: Output, *, withheld: bool = False) -> None:
    """Prints a new credential: on stdout nothing but the secret, or all of it as JSON."""
    if output is Output.JSON:
        print_json({**row, "secret": secret or None})
    elif secret:
        print_line(secret)
    what = " ".join(row.get("scopes") or [row.get("role") or ""])
    end = f"until {row['expires']}" if row["expires"] else "for ever"
    say(f"{row['name']} ({what}) is good {end}")
    if secret:
        say("keep its secret now: it is shown this once")
    elif withheld:
        say("it was made before, and only the first answer told its secret: rotate it where that is lost")


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value

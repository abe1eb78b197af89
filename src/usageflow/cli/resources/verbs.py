"""The verbs: a typer command for each of a kind, with the options that its table names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.confirming import Yes
from usageflow.cli.output import Output
from usageflow.cli.resources.kinds import Flag, Kind

Arguments = Mapping[str, Any]

_File = Annotated[str, typer.Option("--file", "-f", help="YAML of the resource; - for stdin.")]
_Filter = Annotated[str, typer.Option("--filter", help="Such as 'name = \"a*\" AND update_time > ...'.")]
_OrderBy = Annotated[str, typer.Option("--order-by", help="Such as 'update_time desc, name'.")]
_PageSize = Annotated[int, typer.Option("--page-size", min=1, max=1000, help="Items that one call fetches.")]
_Limit = Annotated[int, typer.Option("--limit", min=1, help="The most items to show.")]
_All = Annotated[bool, typer.Option("--all", help="Show all, however many there are.")]
_Deleted = Annotated[bool, typer.Option("--show-deleted", help="Show deleted ones too.")]
_Etag = Annotated[str, typer.Option("--etag", help="Do it only if this is the present etag.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything; save nothing.")]
_Reason = Annotated[str, typer.Option("--reason", help="What for, as the list of revisions shall tell.")]
_RequestId = Annotated[str, typer.Option("--request-id", help="The same request under one id is done once.")]
_Missing = Annotated[bool, typer.Option("--allow-missing", help="Create it where it does not exist.")]

_WORDS = {
    "list": "List {many}.",
    "get": "Show one {one}: as YAML that `update -f` takes, or as JSON.",
    "create": "Create a {one}.",
    "update": "Change fields of a {one}; what is not named stays.",
    "delete": "Delete a {one}. `undelete` brings it back.",
    "undelete": "Bring a deleted {one} back.",
}


def app_of(kind: Kind) -> typer.Typer:
    """Returns the group of verbs of a kind."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=f"Manage {kind.command}.")
    for verb in kind.verbs:
        app.command(verb, epilog=options.examples(kind.examples))(_command(kind, verb))
    return app


def _command(kind: Kind, verb: str) -> Callable[..., None]:
    def run(**arguments: Any) -> None:
        from usageflow.cli.resources import running

        running.RUN[verb](kind, arguments)

    words = _WORDS[verb].format(one=kind.one, many=kind.command)
    run.__doc__ = words.replace("a a", "an a").replace("a e", "an e")
    parameters = list(_parameters(kind, verb))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameters(kind: Kind, verb: str) -> list[inspect.Parameter]:
    """Returns what typer is told: the name, what the verb takes, and what all verbs take."""
    found = [] if verb == "list" else list(_name(kind, verb))
    if verb == "list":
        found += [
            _parameter("filter_text", _Filter, ""),
            _parameter("order_by", _OrderBy, ""),
            _parameter("page_size", _PageSize, 200),
            _parameter("limit", _Limit, 100),
            _parameter("every", _All, default=False),
            _parameter("show_deleted", _Deleted, default=False),
        ]
    if verb in ("create", "update"):
        found += [_parameter("file", _File, "")] if kind.command != "endpoints" else []
        found += [_flag(flag) for flag in kind.flags]
    if verb == "update" and kind.command not in ("blocks", "applications"):
        found.append(_parameter("allow_missing", _Missing, default=False))
    if verb in ("update", "delete", "undelete"):
        found.append(_parameter("etag", _Etag, ""))
    if verb not in ("list", "get"):
        found += [
            _parameter("dry_run", _DryRun, default=False),
            _parameter("request_id", _RequestId, ""),
        ]
        found += [_parameter("message", _Reason, "")] if kind.revised else []
    if verb == "delete":
        found.append(_parameter("yes", Yes, default=False))
    if kind.command != "applications":
        found.append(_parameter("application", options.Application, "demo"))
    found += [
        _parameter("output", options.OutputOption, Output.TABLE),
        _parameter("timeout", options.Timeout, 10.0),
    ]
    return found


def _name(kind: Kind, verb: str) -> list[inspect.Parameter]:
    if verb == "create" and kind.key == "id":
        return []
    shown = kind.key.upper() if kind.command != "endpoints" else "'METHOD TEMPLATE'"
    argument = typer.Argument(metavar=shown, help=f"The {kind.one}.")
    if verb == "create" and kind.in_files:
        return [_parameter("name", Annotated[str, argument], "")]
    return [_parameter("name", Annotated[str, argument])]


def _flag(flag: Flag) -> inspect.Parameter:
    kind: Any = list[flag.of] | None if flag.many else flag.of | None  # type: ignore[name-defined]
    return _parameter(flag.field, Annotated[kind, typer.Option(flag.option, help=flag.help)], None)


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

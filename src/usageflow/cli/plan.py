"""`usageflow plan`: what `apply` would change, field by field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.apply import FileOption, Prune, read_policies, send
from usageflow.cli.output import Output, print_json, print_line

if TYPE_CHECKING:  # the contract's messages are heavy to import, and only this verb needs them
    from usageflow.v1.admin_pb2 import ApplyResponse
    from usageflow.v1.revisions_pb2 import Change

EXAMPLES = (
    "usageflow plan -f usageflow.yaml",
    "usageflow plan -f usageflow.yaml --detailed-exitcode || echo there is something to apply",
)

CHANGES = 2
"""The exit code of --detailed-exitcode where something would change."""

_SIGNS = {"CREATED": "+", "DELETED": "-"}
_COUNTED = (("CREATED", "to add"), ("UPDATED", "to change"), ("DELETED", "to delete"))

DetailedExitCode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit code 2 where something would change, 0 where not.")
]


def plan(
    file: FileOption,
    prune: Prune = False,
    detailed_exitcode: DetailedExitCode = False,
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show what `apply` would change; nothing is saved."""
    from usageflow.cli.convert import apply_request

    loaded = read_policies(file)
    response = send(loaded, apply_request(loaded, prune=prune, dry_run=True), timeout)
    result = _result(loaded.application, response)
    (print_json if output is Output.JSON else _print)(result)
    if detailed_exitcode and result["changes"]:
        raise typer.Exit(CHANGES)


def _result(application: str, response: ApplyResponse) -> dict[str, Any]:
    return {
        "application": application,
        "revision": response.revision,
        "changes": [_change(each) for each in response.changes],
    }


def _change(change: Change) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    from usageflow.cli.convert import bare_name
    from usageflow.v1 import revisions_pb2

    def value(field: Any, name: str) -> Any:
        return _whole(MessageToDict(getattr(field, name))) if field.HasField(name) else None

    return {
        "action": bare_name(revisions_pb2.ChangeAction.DESCRIPTOR, change.action, "CHANGE_ACTION_"),
        "kind": change.kind,
        "name": change.name,
        "fields": [
            {"path": field.path, "before": value(field, "before"), "after": value(field, "after")}
            for field in change.fields
        ],
    }


def _whole(value: Any) -> Any:
    """Returns a value of JSON with whole numbers as such: the contract knows doubles only."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _print(result: dict[str, Any]) -> None:
    for change in result["changes"]:
        print_line(f"{_SIGNS.get(change['action'], '~')} {change['kind']} {change['name']}")
        for field in change["fields"]:
            print_line(f"    {field_line(field)}")
        if not change["fields"] and change["action"] != "DELETED":
            print_line("    (its fields are not told)")
    actions = [change["action"] for change in result["changes"]]
    counts = [f"{actions.count(action)} {words}" for action, words in _COUNTED if action in actions]
    print_line(
        f"{result['application']}: {', '.join(counts) or 'no changes'}; the revision in force is {result['revision']}"
    )


def field_line(field: dict[str, Any]) -> str:
    """Returns a field that differs as people read it."""
    before, after = (None if each is None else _shown(each) for each in (field["before"], field["after"]))
    if before is None:
        return f"+ {field['path']}: {after}"
    return f"- {field['path']}: {before}" if after is None else f"~ {field['path']}: {before} -> {after}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)  # messages keep no order of keys

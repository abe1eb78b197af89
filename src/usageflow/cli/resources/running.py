"""What the verbs do. Imported when one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import BaseModel, ValidationError

from usageflow.cli.confirming import confirm
from usageflow.cli.connection import Connection, connect
from usageflow.cli.failure import Failure
from usageflow.cli.files import read_text, title_of
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say
from usageflow.cli.resources.kinds import Kind
from usageflow.cli.resources.messages import declared, message_of, model_of, request_of, shown
from usageflow.cli.resources.verbs import Arguments
from usageflow.cli.rpc_errors import RpcFailure
from usageflow.domain.declared import faults_of
from usageflow.domain.errors import Fault
from usageflow.policyfile import MAX_BYTES, PolicyFileError, Snippet, load_snippet


def _list(kind: Kind, given: Arguments) -> None:
    most = None if given["every"] else given["limit"]
    with connect(given["timeout"]) as connection:
        rows, more = _pages(connection, kind, given, most)
    if given["output"] is Output.JSON:
        print_json(rows)
    else:
        columns = [Column(each.title, right=each.right) for each in kind.columns]
        deleted = [*columns, Column("deleted")] if given["show_deleted"] else columns
        print_table(deleted, [_cells(kind, row, given) for row in rows])
    if more:
        say(f"these are the first {len(rows)}: see more with --limit or --all")


def _cells(kind: Kind, row: Mapping[str, Any], given: Arguments) -> list[object]:
    cells = [each.cell(row) for each in kind.columns]
    return [*cells, row.get("delete_time", "")] if given["show_deleted"] else cells


def _pages(
    connection: Connection, kind: Kind, given: Arguments, most: int | None
) -> tuple[list[dict[str, Any]], bool]:
    rows: list[dict[str, Any]] = []
    token = ""
    while True:
        left = 1000 if most is None else most - len(rows)
        page = _call(
            connection,
            kind,
            "list",
            application=given.get("application"),
            page_size=min(given["page_size"], left),
            page_token=token,
            filter=given["filter_text"],
            order_by=given["order_by"],
            show_deleted=given["show_deleted"],
        )
        field = "plans" if kind.command == "plans" else kind.command
        rows += [shown(kind, each) for each in getattr(page, field)]
        token = page.next_page_token
        if not token or len(rows) == most:
            return rows, bool(token)


def _get(kind: Kind, given: Arguments) -> None:
    with connect(given["timeout"]) as connection:
        _print(kind, _fetch(connection, kind, given), given)


def _create(kind: Kind, given: Arguments) -> None:
    snippet, fields = _read(kind, given)
    if given.get("name"):
        fields["name"] = given["name"]
    model = _model(kind, snippet, fields)
    with connect(given["timeout"]) as connection, _Told(kind, snippet):
        made = _call(connection, kind, "create", **{**_common(given), kind.field: message_of(kind, model)})
    _print(kind, made, given)


def _update(kind: Kind, given: Arguments) -> None:
    snippet, fields = _read(kind, given)
    if not fields:
        raise Failure("there is nothing to change: name fields by options, or by -f")
    paths = sorted(_paths(fields))
    with connect(given["timeout"]) as connection, _Told(kind, snippet):
        present = _present(connection, kind, given)
        merged = _merged(declared(kind, present), fields) if present is not None else dict(fields)
        if kind.key == "name":
            merged["name"] = given["name"]
        message = message_of(kind, _model(kind, snippet, merged))
        if kind.key == "id":
            message.id = given["name"]
        # Between reading and writing nobody else may have written: their change would be half undone.
        etag = given["etag"] or (present.etag if present is not None else "")
        mask = FieldMask(paths=paths)
        done = _call(
            connection,
            kind,
            "update",
            **{**_common(given), kind.field: message, "etag": etag, "update_mask": mask},
            allow_missing=given.get("allow_missing"),
        )
    _print(kind, done, given)


def _delete(kind: Kind, given: Arguments) -> None:
    if not given["dry_run"]:
        confirm(f"Delete the {kind.one} {given['name']!r}?", yes=given["yes"])
    _act(kind, "delete", given)


def _undelete(kind: Kind, given: Arguments) -> None:
    _act(kind, "undelete", given)


def _act(kind: Kind, verb: str, given: Arguments) -> None:
    with connect(given["timeout"]) as connection:
        done = _call(connection, kind, verb, **{kind.key: given["name"]}, **_common(given))
    if given["output"] is Output.JSON:
        print_json(shown(kind, done))
        return
    would = "would be " if given["dry_run"] else ""
    print_line(f"{kind.one} {given['name']}: {would}{verb}d")


RUN: Mapping[str, Callable[[Kind, Arguments], None]] = {
    "list": _list,
    "get": _get,
    "create": _create,
    "update": _update,
    "delete": _delete,
    "undelete": _undelete,
}


def _fetch(connection: Connection, kind: Kind, given: Arguments) -> Any:
    return _call(connection, kind, "get", application=given.get("application"), **{kind.key: given["name"]})


def _present(connection: Connection, kind: Kind, given: Arguments) -> Any:
    """Returns the resource, None where it may be missing and is."""
    try:
        found = _fetch(connection, kind, given)
    except RpcFailure as failure:
        if failure.code != "NOT_FOUND" or not given.get("allow_missing"):
            raise
        return None
    return None if found.HasField("delete_time") and given.get("allow_missing") else found


def _common(given: Arguments) -> dict[str, Any]:
    return {
        "application": given.get("application"),
        "etag": given.get("etag"),
        "validate_only": given["dry_run"],
        "request_id": given["request_id"],
        "message": given.get("message"),
    }


def _call(connection: Connection, kind: Kind, verb: str, **fields: Any) -> Any:
    method = f"{verb.title()}{kind.many if verb == 'list' else kind.title}"
    return connection.as_admin(getattr(connection.admin, method), request_of(kind, verb, **fields))


def _read(kind: Kind, given: Arguments) -> tuple[Snippet | None, dict[str, Any]]:
    """Returns the file, where there is one, and its fields with those of the options."""
    snippet, fields = None, {}
    if given.get("file"):
        text = read_text(given["file"], most=MAX_BYTES)
        try:
            snippet = load_snippet(text, filename=title_of(given["file"]), section=kind.command)
        except PolicyFileError as error:
            raise _refused(error) from error
        fields = dict(snippet.fields)
    for flag in kind.flags:
        # typer hands an option that may be repeated as an empty list where it is not given
        if given[flag.field] is not None and given[flag.field] != []:
            fields[flag.field] = given[flag.field]
    return snippet, fields


def _model(kind: Kind, snippet: Snippet | None, fields: Mapping[str, Any]) -> BaseModel:
    try:
        if snippet is not None and kind.in_files:
            return snippet.model(fields)
        return model_of(kind, fields)
    except PolicyFileError as error:
        raise _refused(error) from error
    except ValidationError as error:
        faults = faults_of(error, "correct it, or name it by an option or in the file")
        raise Failure("\n".join(str(fault) for fault in faults)) from error


def _refused(error: PolicyFileError) -> Failure:
    return Failure("\n".join([*(str(problem) for problem in error.problems), "nothing was changed"]))


class _Told:
    """Turns faults that the service finds into places of the file."""

    def __init__(self, kind: Kind, snippet: Snippet | None) -> None:
        self._kind = kind
        self._snippet = snippet

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._snippet is None or not isinstance(error, RpcFailure) or not error.violations:
            return
        faults = []
        for each in error.violations:
            message, _, fix = each.description.partition("; ")
            faults.append(Fault(each.field, message, fix or "correct it"))
        raise _refused(PolicyFileError(self._snippet.problems_of(faults))) from error


def _paths(fields: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{prefix}{key}.")
        elif prefix or key != "name":
            yield prefix + key
            if key == "cost":  # a number or an expression, which are two fields of the contract
                yield "cost_expression"


def _merged(present: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(present)
    for key, value in fields.items():
        before = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        merged[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _print(kind: Kind, message: Any, given: Arguments) -> None:
    if given["output"] is Output.JSON:
        print_json(shown(kind, message))
        return
    if given.get("dry_run"):
        say("dry run, nothing was saved")
    fields = declared(kind, message, full=False)
    for line in yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100).splitlines():
        print_line(line)
    told = {
        name: value for name, value in shown(kind, message).items() if name not in declared(kind, message)
    }
    say("  ".join(f"{name} {value}" for name, value in told.items()))

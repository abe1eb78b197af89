"""From answers to messages."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from admin.applying import Applied
from usageflow.domain.changes import Action, Change
from usageflow.domain.comparing import FieldDifference
from usageflow.v1 import admin_pb2, revisions_pb2


def apply_response(applied: Applied) -> admin_pb2.ApplyResponse:
    """Returns what was applied."""
    changes = [change(each) for each in applied.changes]
    return admin_pb2.ApplyResponse(revision=applied.revision, changes=changes)


def change(made: Change) -> revisions_pb2.Change:
    """Returns one change."""
    return revisions_pb2.Change(
        action=action(made.action),
        kind=made.kind,
        name=made.name,
        fields=[_difference(field) for field in made.fields],
    )


def _difference(field: FieldDifference) -> revisions_pb2.FieldDifference:
    return revisions_pb2.FieldDifference(
        path=field.path, before=_value(field.before), after=_value(field.after)
    )


def _value(value: Any) -> Value | None:
    return None if value is None else ParseDict(value, Value())


def action(done: Action) -> revisions_pb2.ChangeAction.ValueType:
    """Returns what a change did."""
    return revisions_pb2.ChangeAction.Value(f"CHANGE_ACTION_{done}")

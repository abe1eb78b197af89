"""From answers to messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from admin.applying import Applied
from usageflow.domain.comparing import FieldDifference
from usageflow.domain.units import format_units
from usageflow.domain.usage import UsageRow
from usageflow.v1 import admin_pb2


def apply_response(applied: Applied) -> admin_pb2.ApplyResponse:
    """Returns what was applied."""
    return admin_pb2.ApplyResponse(
        revision=applied.revision,
        changes=[
            admin_pb2.Change(
                action=admin_pb2.ChangeAction.Value(f"CHANGE_ACTION_{change.action}"),
                kind=change.kind,
                name=change.name,
                fields=[_difference(field) for field in change.fields],
            )
            for change in applied.changes
        ],
    )


def _difference(field: FieldDifference) -> admin_pb2.FieldDifference:
    return admin_pb2.FieldDifference(path=field.path, before=_value(field.before), after=_value(field.after))


def _value(value: Any) -> Value | None:
    return None if value is None else ParseDict(value, Value())


def usage_response(rows: Iterable[UsageRow]) -> admin_pb2.QueryUsageResponse:
    """Returns the rows."""
    return admin_pb2.QueryUsageResponse(rows=[_row(row) for row in rows])


def _row(row: UsageRow) -> admin_pb2.UsageRow:
    message = admin_pb2.UsageRow(
        requests=row.requests, errors=row.errors, denied=row.denied, units=format_units(row.units)
    )
    if row.endpoint is not None:
        message.endpoint.method, message.endpoint.template = row.endpoint.method, row.endpoint.template
    elif row.status is not None:
        message.status = row.status
    elif row.minute is not None:
        message.minute.seconds = row.minute
    return message

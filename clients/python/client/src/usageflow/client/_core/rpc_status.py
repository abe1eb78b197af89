"""Reads google.rpc details out of a status trailer, without the package that declares them.

The messages are declared in a pool of their own, so that they never meet googleapis-common-protos in the same process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_PACKAGE: Final = "usageflow_client.rpc"
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_TEXT: Final = _FIELD.TYPE_STRING
_INT: Final = _FIELD.TYPE_INT64
_BYTES: Final = _FIELD.TYPE_BYTES

_MESSAGES: Final[dict[str, list[tuple[str, int, Any]]]] = {
    "Any": [("type_url", 1, _TEXT), ("value", 2, _BYTES)],
    "Status": [("code", 1, _INT), ("message", 2, _TEXT), ("details", 3, "Any")],
    "ErrorInfo": [("reason", 1, _TEXT), ("domain", 2, _TEXT)],
    "Duration": [("seconds", 1, _INT), ("nanos", 2, _INT)],
    "RetryInfo": [("retry_delay", 1, "Duration")],
}


def _declare() -> dict[str, type[Any]]:
    file = descriptor_pb2.FileDescriptorProto(
        name="usageflow_client/rpc.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            label = _FIELD.LABEL_REPEATED if field_name == "details" else _FIELD.LABEL_OPTIONAL
            field = declared.field.add(name=field_name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_TYPES: Final = _declare()


@dataclass(frozen=True, slots=True)
class RpcDetails:
    """What an RPC error says beside its code."""

    reason: str = ""
    """ErrorInfo.reason, such as PLAN_UNKNOWN."""
    retry_s: float = 0.0
    """RetryInfo.retry_delay in seconds, at most an hour; 0.0 for none."""


def read_details(trailer: bytes) -> RpcDetails:
    """Reads a `grpc-status-details-bin` trailer. Garbage reads as no details."""
    reason, retry_s = "", 0.0
    try:
        for detail in _TYPES["Status"].FromString(trailer).details:
            kind = detail.type_url.rpartition("/")[2]
            if kind == "google.rpc.ErrorInfo":
                reason = _TYPES["ErrorInfo"].FromString(detail.value).reason
            elif kind == "google.rpc.RetryInfo":
                delay = _TYPES["RetryInfo"].FromString(detail.value).retry_delay
                retry_s = min(max(delay.seconds + delay.nanos / 1e9, 0.0), 3_600.0)
    except message.DecodeError:
        return RpcDetails()
    return RpcDetails(reason, retry_s)

"""BatchCheck's messages with their items left as bytes: the same on the wire, read and written an item at a time.

Most items of a busy service are the same bytes as one before, so what they ask need not be read again (decision/memo.py), and
most answers differ in a few numbers only. The messages are made from the contract's own descriptors: a changed field
changes here too.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from usageflow.v1 import decision_pb2

_PACKAGE = "usageflow.frames"


def _framed(message: Any, field: str) -> Any:
    """Returns the class of the same message whose repeated ``field`` holds encoded messages."""
    described = descriptor_pb2.DescriptorProto()
    message.DESCRIPTOR.CopyToProto(described)
    for item in described.field:
        if item.name == field:
            item.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
            item.ClearField("type_name")
    file = descriptor_pb2.FileDescriptorProto(
        name=f"usageflow/frames/{described.name}.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[
            decision_pb2.DESCRIPTOR.name,
            *(each.name for each in decision_pb2.DESCRIPTOR.dependencies),
        ],
        message_type=[described],
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{described.name}"))


BatchCheckFrames = _framed(decision_pb2.BatchCheckRequest, "items")
"""BatchCheckRequest with ``items`` as bytes of CheckItem."""

BatchResultFrames = _framed(decision_pb2.BatchCheckResponse, "results")
"""BatchCheckResponse with ``results`` as bytes of CheckResult."""


def varint(number: int) -> bytes:
    """Returns the base-128 spelling of a number from 0 to 2^63 - 1 (protobuf's encoding of int64)."""
    if number < _STEP:
        return _LAST[number]
    digits = b""
    while number >= _STEP:
        digits += _MORE[number & _LOW]
        number >>= 14
    return digits + _LAST[number]


_STEP = 1 << 14
_LOW = _STEP - 1
# Two digits at a time: a table costs 16,384 entries and halves the steps.
_LAST = tuple(bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(_STEP))
_MORE = tuple(bytes([n & 127 | 128, n >> 7 | 128]) for n in range(_STEP))

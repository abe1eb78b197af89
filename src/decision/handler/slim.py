"""Writes answers. Those of one question differ in a few numbers only, so the rest is encoded once and kept with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from decision.batching import Decided
from decision.handler import pack
from decision.handler.frames import varint
from decision.memo import Ready
from usageflow.domain.decisions import Answer
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.limits import Standing
from usageflow.storage.counters import Taken
from usageflow.v1 import common_pb2, decision_pb2

_VARINT, _BYTES = 0, 2


def _tag(message: Any, field: str, kind: int) -> bytes:
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | kind)


_RESULT_LIMITS = _tag(decision_pb2.CheckResult, "limits", _BYTES)
_RESPONSE_LIMITS = _tag(decision_pb2.CheckResponse, "limits", _BYTES)
_STATE_REMAINING = _tag(decision_pb2.LimitState, "remaining", _VARINT)
_STATE_RESET = _tag(decision_pb2.LimitState, "reset_us", _VARINT)
_STATUS_REMAINING = _tag(common_pb2.LimitStatus, "remaining", _VARINT)
_STATUS_RESET = _tag(common_pb2.LimitStatus, "reset", _BYTES)
_SECONDS = _tag(Duration, "seconds", _VARINT)
_NANOS = _tag(Duration, "nanos", _VARINT)


def _state(standing: Standing) -> bytes:
    """Returns what changes of a LimitState that admitted."""
    left, reset_us, _, _ = standing
    if left and reset_us:
        return _STATE_REMAINING + varint(left) + _STATE_RESET + varint(reset_us)
    return (_STATE_REMAINING + varint(left) if left else b"") + (
        _STATE_RESET + varint(reset_us) if reset_us else b""
    )


def _status(standing: Standing) -> bytes:
    """Returns what changes of a LimitStatus that admitted."""
    seconds, left_us = divmod(standing.reset_us, 1_000_000)
    span = _SECONDS + varint(seconds) if seconds else b""
    if left_us:
        span += _NANOS + varint(left_us * 1000)
    remaining = _STATUS_REMAINING + varint(standing.remaining) if standing.remaining else b""
    return remaining + _STATUS_RESET + varint(len(span)) + span


@cache
def _openings(tag: bytes) -> tuple[bytes, ...]:
    """Returns what stands before a message of a field, by the message's size."""
    return tuple(tag + varint(size) for size in range(1024))


class Face:
    """How admissions of one question are written: what never changes, encoded, a head per limit, and how its standing is
    spelled behind it.
    """

    __slots__ = ("_base", "_heads", "_openings", "_spell")

    def __init__(
        self, base: Message, tag: bytes, heads: list[Message], spell: Callable[[Standing], bytes]
    ) -> None:
        self._base = base.SerializeToString()
        self._openings = _openings(tag)
        self._heads = [head.SerializeToString() for head in heads]
        self._spell = spell

    def admitted(self, taken: Taken) -> bytes:
        """Returns the encoded answer to a request that was admitted."""
        parts, spell, openings = [self._base], self._spell, self._openings
        for head, standing in zip(self._heads, taken[1], strict=True):
            limit = head + spell(standing)
            parts += openings[len(limit)], limit
        return b"".join(parts)


def _result_face(ready: Ready) -> Face:
    pending = ready.pending
    heads: list[Message] = [pack.limit_head(limit, pending.base.policies) for limit in pending.limits]
    base = pack.check_result(pending.base, by_name=ready.by_name)
    return Face(base, _RESULT_LIMITS, heads, _state)


def _response_face(ready: Ready) -> Face:
    pending = ready.pending
    costs = [item.cost for item in pending.take.limits]
    heads: list[Message] = [
        pack.status_head(limit, cost) for limit, cost in zip(pending.limits, costs, strict=True)
    ]
    return Face(pack.check_response(pending.base), _RESPONSE_LIMITS, heads, _status)


def result_frame(item: Decided | InvalidArgument) -> bytes:
    """Returns the encoded CheckResult of one item."""
    if isinstance(item, InvalidArgument):
        return pack.failed_item(item).SerializeToString()
    by_name = item.ready.by_name
    return _frame(item, _result_face, lambda answer: pack.check_result(answer, by_name=by_name))


def response_frame(decided: Decided) -> bytes:
    """Returns the encoded CheckResponse of one request."""
    return _frame(decided, _response_face, pack.check_response)


def _frame(decided: Decided, face_of: Callable[[Ready], Face], whole: Callable[[Answer], Message]) -> bytes:
    """Returns an encoded answer, by what was kept of the last one where that is possible."""
    ready, outcome = decided
    if isinstance(outcome, Taken):
        if not isinstance(ready.face, Face):
            ready.face = face_of(ready)
        return ready.face.admitted(outcome)
    if outcome is not ready.prepared:
        return whole(outcome).SerializeToString()
    if not isinstance(ready.face, bytes):  # no counter has a say in it: it is always the same
        ready.face = whole(outcome).SerializeToString()
    return ready.face

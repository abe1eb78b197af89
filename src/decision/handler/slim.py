"""Writes slim answers. Those of one question differ in a few numbers only, so the rest is encoded once and kept with it."""

from __future__ import annotations

from decision.batching import Decided
from decision.handler import pack
from decision.handler.frames import varint
from decision.judgement import Pending
from decision.memo import Ready
from usageflow.domain.decisions import Answer
from usageflow.domain.errors import InvalidArgument
from usageflow.storage.counters import Taken
from usageflow.v1 import decision_pb2

_LIMITS = decision_pb2.CheckResult.DESCRIPTOR.fields_by_name["limits"].number << 3 | 2
_REMAINING, _RESET = (
    bytes([decision_pb2.LimitState.DESCRIPTOR.fields_by_name[name].number << 3])
    for name in ("remaining", "reset_us")
)


class Face:
    """How answers to one question are written: what never changes, encoded, and a head per limit."""

    __slots__ = ("_base", "_heads")

    def __init__(self, pending: Pending, *, by_name: bool) -> None:
        self._base = pack.check_result(pending.base, by_name=by_name).SerializeToString()
        self._heads = [
            pack.limit_head(limit, pending.base.policies).SerializeToString() for limit in pending.limits
        ]

    def admitted(self, taken: Taken) -> bytes:
        """Returns the encoded CheckResult of a request that was admitted."""
        parts = [self._base]
        for head, standing in zip(self._heads, taken.standings, strict=True):
            state = head
            if standing.remaining:
                state += _REMAINING + varint(standing.remaining)
            if standing.reset_us:
                state += _RESET + varint(standing.reset_us)
            parts.append(_TAG + varint(len(state)) + state)
        return b"".join(parts)


_TAG = bytes([_LIMITS])


def result_frame(item: Decided | InvalidArgument) -> bytes:
    """Returns the encoded CheckResult of one item."""
    if isinstance(item, InvalidArgument):
        return pack.failed_item(item).SerializeToString()
    ready, outcome = item
    if isinstance(outcome, Answer):
        return _answer_frame(ready, outcome)
    face = ready.face
    if not isinstance(face, Face):
        face = ready.face = Face(ready.pending, by_name=ready.by_name)
    return face.admitted(outcome)


def _answer_frame(ready: Ready, answer: Answer) -> bytes:
    """Returns an answer that is not a plain admission; one that no counter has a say in is always the same."""
    if answer is not ready.prepared:
        return pack.check_result(answer, by_name=ready.by_name).SerializeToString()
    if not isinstance(ready.face, bytes):
        ready.face = pack.check_result(answer, by_name=ready.by_name).SerializeToString()
    return ready.face

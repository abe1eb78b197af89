"""ListHeadroom's messages: unpack and pack."""

from __future__ import annotations

from decision.headroom import HeadroomAsk, HeadroomFound, LimitHeadroom
from usageflow.messages import duration_of
from usageflow.v1 import common_pb2, headroom_pb2


def headroom_ask(request: headroom_pb2.ListHeadroomRequest) -> HeadroomAsk:
    """Returns what is asked."""
    return HeadroomAsk(
        request.application, tuple(request.identities), request.customer, tuple(request.policies)
    )


def headroom_response(found: HeadroomFound) -> headroom_pb2.ListHeadroomResponse:
    """Returns the answer."""
    identities = [
        headroom_pb2.IdentityHeadroom(
            identity=each.identity, customer=each.customer, limits=[_limit(room) for room in each.limits]
        )
        for each in found.identities
    ]
    return headroom_pb2.ListHeadroomResponse(identities=identities, left_out=found.left_out)


def _limit(room: LimitHeadroom) -> headroom_pb2.LimitHeadroom:
    rule, standing = room.limit.rule, room.standing
    message = headroom_pb2.LimitHeadroom(
        policy=room.limit.policy,
        limit_name=room.limit.name,
        path=room.policy.policy.path,
        algorithm=common_pb2.Algorithm.Value(f"ALGORITHM_{rule.algorithm}"),
        limit=rule.capacity,
        used=room.used,
        remaining=max(0, standing.remaining),
        percent=room.percent,
        window=duration_of(standing.window_us or rule.window_us),
        reset=duration_of(_reset_us(room)) if room.used else None,
        source=room.limit.source,
        shared=room.policy.strategy is None or room.limit.scope == "SHARED",
        conditional=room.policy.condition is not None,
    )
    if room.endpoint is not None:
        message.endpoint.method, message.endpoint.template = room.endpoint
    return message


def _reset_us(room: LimitHeadroom) -> int:
    return room.standing.wait_us or room.standing.reset_us

"""The methods of AdminService about stored events: unpack, call, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.struct_pb2 import Struct

from admin.handler.usage import usage_filter
from admin.stored_events import PAGE, StoredEvents
from usageflow.domain.identity import title_of
from usageflow.domain.usage import StoredEvent
from usageflow.messages import duration_of, microseconds_of, timestamp_of
from usageflow.v1 import analytics_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class EventMethods:
    """What AdminService offers of stored events."""

    stored_events: StoredEvents

    async def ListEvents(  # noqa: N802 - gRPC's spelling
        self, request: analytics_pb2.ListEventsRequest, context: _Context
    ) -> AsyncIterator[analytics_pb2.ListEventsResponse]:
        """See the contract."""
        pages = self.stored_events.read(
            request.application,
            usage_filter(request.filter),
            since_us=microseconds_of(request.start_time) if request.HasField("start_time") else None,
            until_us=microseconds_of(request.end_time) if request.HasField("end_time") else None,
            limit=request.limit,
        )
        async for page in pages:
            yield analytics_pb2.ListEventsResponse(
                events=[event_message(each) for each in page.events], total=page.total
            )

    async def TailEvents(  # noqa: N802
        self, request: analytics_pb2.TailEventsRequest, context: _Context
    ) -> AsyncIterator[analytics_pb2.TailEventsResponse]:
        """See the contract."""
        tailed: Any = self.stored_events.tail(
            request.application, usage_filter(request.filter), request.recent
        )
        async with aclosing(tailed):
            async for some in tailed:
                for start in range(0, max(len(some.events), 1), PAGE):
                    yield analytics_pb2.TailEventsResponse(
                        events=[event_message(each) for each in some.events[start : start + PAGE]],
                        skipped=0 if start else some.skipped,
                    )


def event_message(event: StoredEvent) -> analytics_pb2.StoredEvent:
    """Returns an event as people read it."""
    series = event.series
    message = analytics_pb2.StoredEvent(
        event_id=event.event_id,
        time=timestamp_of(event.time_us),
        path=event.path,
        identity=title_of(event.identity),
        status=series.status,
        latency=duration_of(event.latency_us),
        quantity=event.quantity,
        denied=series.denied,
        reason=series.reason,
        degraded_reason=series.degraded,
        policy=series.policy,
        request_bytes=event.request_bytes,
        response_bytes=event.response_bytes,
        detail=_detail(event.detail_json),
    )
    message.endpoint.method, message.endpoint.template = series.endpoint
    return message


def _detail(text: str) -> Struct | None:
    """Returns what else was kept; text that is no JSON object is left out, because the event itself is good."""
    try:
        found = Parse(text, Struct()) if text not in ("", "{}") else None
    except ParseError:
        return None
    return found

"""Reports events at a steady rate. The messages are made beforehand, so that making them takes nothing from those it disturbs.

usage: python -m bench.helpers.reporter ADDRESS API_KEY ENDPOINT PLAN, then {"make": calls} and {"rate": events/s}
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from typing import Any

import grpc
import grpc.aio

from bench.helpers.lines import serve
from usageflow.v1 import common_pb2, usage_pb2

EVENTS = 300
"""Events of a call."""

PATIENCE_S = 10
"""Events that are refused, or not stored by then, are not accepted."""


class _Reporter:
    def __init__(self, address: str, api_key: str, endpoint: str, plan: str) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self._endpoint, self._plan = int(endpoint), int(plan)
        self._made: list[bytes] = []
        self._loop = asyncio.new_event_loop()

    def answer(self, question: dict[str, Any]) -> float:
        """Returns the calls that are ready, or the events that were accepted per second."""
        if "make" in question:
            self._made = [self._message() for _ in range(question["make"])]
            return len(self._made)
        return self._loop.run_until_complete(self._run(question["rate"] / EVENTS))

    def _message(self) -> bytes:
        events = [self._event(number) for number in range(EVENTS)]
        return usage_pb2.ReportRequest(plan_version=self._plan, events=events).SerializeToString()

    def _event(self, number: int) -> usage_pb2.UsageEvent:
        event = usage_pb2.UsageEvent(
            event_id=str(uuid.uuid4()),
            endpoint_number=self._endpoint,
            identity=common_pb2.Identity(value=f"user-{number}"),
            status=201,
            request_bytes=512,
            response_bytes=2048,
        )
        event.time.FromNanoseconds(time.time_ns())
        event.latency.FromMicroseconds(12_345)
        return event

    async def _run(self, rate: float) -> float:
        async with grpc.aio.insecure_channel(self._address, [("grpc.enable_http_proxy", 0)]) as channel:
            call: Any = channel.unary_unary(
                "/usageflow.v1.DecisionService/Report",
                response_deserializer=usage_pb2.ReportResponse.FromString,
            )
            start = time.perf_counter()
            waiting = []
            for number, message in enumerate(self._made):
                await asyncio.sleep(max(0, start + number / rate - time.perf_counter()))
                waiting.append(asyncio.ensure_future(self._one(call, message)))
            accepted = sum(await asyncio.gather(*waiting))
            return accepted / (time.perf_counter() - start)

    async def _one(self, call: Any, message: bytes) -> int:
        try:
            answer = await call(message, metadata=self._metadata, timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() not in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise
            return 0
        return int(answer.accepted)


if __name__ == "__main__":
    serve(_Reporter(*sys.argv[1:]).answer)

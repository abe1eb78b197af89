"""Reports as fast as answers come back, some calls in flight. The messages are made beforehand.

usage: python -m bench.helpers.ingester ADDRESS API_KEY ENDPOINT PLAN, then {"make": "events" or "counts", "calls": how many} and
{"send": calls in flight}
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from typing import Any

import grpc.aio

from bench.helpers.lines import serve
from usageflow.domain.ids import uuid7
from usageflow.v1 import common_pb2, usage_pb2

PER_CALL = 1_000
"""Events of a call, or counts; each of another caller."""

REQUESTS = 100
"""Requests of a count, spread over so many buckets:"""
BUCKETS = 10

REQUEST_BYTES, RESPONSE_BYTES = 512, 2_048


class _Ingester:
    def __init__(self, address: str, api_key: str, endpoint: str, plan: str) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self._endpoint, self._plan = int(endpoint), int(plan)
        self._made: list[bytes] = []
        self._loop = asyncio.new_event_loop()

    def answer(self, question: dict[str, Any]) -> list[float]:
        """Returns [calls that are ready], or [events or batches that were accepted, seconds that took]."""
        if "make" in question:
            make = self._events if question["make"] == "events" else self._counts
            self._made = [make().SerializeToString() for _ in range(question["calls"])]
            return [len(self._made)]
        return self._loop.run_until_complete(self._send(question["send"]))

    def _events(self) -> usage_pb2.ReportRequest:
        events = [self._event(number) for number in range(PER_CALL)]
        return usage_pb2.ReportRequest(plan_version=self._plan, events=events)

    def _event(self, number: int) -> usage_pb2.UsageEvent:
        event = usage_pb2.UsageEvent(
            event_id=_new_id(),
            endpoint_number=self._endpoint,
            identity=common_pb2.Identity(value=f"user-{number}"),
            status=201,
            request_bytes=REQUEST_BYTES,
            response_bytes=RESPONSE_BYTES,
        )
        event.time.FromNanoseconds(time.time_ns())
        event.latency.FromMicroseconds(12_345)
        return event

    def _counts(self) -> usage_pb2.ReportRequest:
        counts = [
            usage_pb2.Count(
                endpoint_number=self._endpoint,
                identity=common_pb2.Identity(value=f"user-{number}"),
                status=201,
                second=int(time.time()),
                requests=REQUESTS,
                request_bytes=REQUESTS * REQUEST_BYTES,
                response_bytes=REQUESTS * RESPONSE_BYTES,
                latency_buckets=range(400, 400 + BUCKETS),
                latency_counts=[REQUESTS // BUCKETS] * BUCKETS,
            )
            for number in range(PER_CALL)
        ]
        batch = usage_pb2.CountBatch(batch_id=_new_id(), counts=counts)
        return usage_pb2.ReportRequest(plan_version=self._plan, batches=[batch])

    async def _send(self, in_flight: int) -> list[float]:
        waiting = iter(self._made)
        async with grpc.aio.insecure_channel(self._address, [("grpc.enable_http_proxy", 0)]) as channel:
            call: Any = channel.unary_unary(
                "/usageflow.v1.DecisionService/Report",
                response_deserializer=usage_pb2.ReportResponse.FromString,
            )

            async def send() -> int:
                answers = [await call(each, metadata=self._metadata, timeout=30) for each in waiting]
                return sum(answer.accepted for answer in answers)

            started = time.perf_counter()
            accepted = sum(await asyncio.gather(*(send() for _ in range(in_flight))))
            return [accepted, time.perf_counter() - started]


def _new_id() -> str:
    return str(uuid7(time.time_ns() // 1_000, secrets.token_bytes(10)))


if __name__ == "__main__":
    serve(_Ingester(*sys.argv[1:]).answer)

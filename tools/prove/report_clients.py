"""A client that reports until it is answered, as those that people use do."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from usageflow.v1 import usage_pb2

_AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    # A balancer or a service that is just coming up may not know a key yet: clients keep what they have then, too.
    grpc.StatusCode.UNAUTHENTICATED,
}
_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 500)]


class ReportClient:
    """Calls Report at one address; ``again`` counts the calls that it had to send once more."""

    def __init__(self, address: str, api_key: str) -> None:
        self.again = 0
        self._address = address
        self._metadata = (("authorization", f"Bearer {api_key}"),)

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._address, _OPTIONS)
        self._method: Any = self._channel.unary_unary(
            "/usageflow.v1.DecisionService/Report",
            response_deserializer=usage_pb2.ReportResponse.FromString,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def report(self, message: bytes) -> usage_pb2.ReportResponse:
        """Sends a ReportRequest until it is answered; returns the answer. Raises what no repetition mends."""
        while True:
            try:
                answer: usage_pb2.ReportResponse = await self._method(
                    message, metadata=self._metadata, timeout=20
                )
            except grpc.aio.AioRpcError as error:
                if error.code() not in _AGAIN:
                    raise
                self.again += 1
                await asyncio.sleep(0.1)
            else:
                return answer

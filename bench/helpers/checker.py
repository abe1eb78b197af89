"""Checks at a steady rate, whatever the answers take: each latency counts from the moment that the check was due, so that
a service that stalls cannot hide the checks that it kept from being sent.

usage: python -m bench.helpers.checker ADDRESS API_KEY, then {"bodies": [base64...], "rate": per second, "seconds": s}
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from typing import Any

import grpc
import grpc.aio

from bench.helpers.lines import serve
from bench.service import CHECK

PATIENCE_S = 10
"""A check that has no answer by then counts as one that took this long."""


class _Checker:
    def __init__(self, address: str, api_key: str) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self._loop = asyncio.new_event_loop()

    def answer(self, question: dict[str, Any]) -> list[float]:
        """Returns the latencies in milliseconds."""
        bodies = [base64.b64decode(body) for body in question["bodies"]]
        return self._loop.run_until_complete(self._run(bodies, question["rate"], question["seconds"]))

    async def _run(self, bodies: list[bytes], rate: float, seconds: float) -> list[float]:
        async with grpc.aio.insecure_channel(self._address, [("grpc.enable_http_proxy", 0)]) as channel:
            call: Any = channel.unary_unary(CHECK)
            await call(bodies[0], metadata=self._metadata)  # connected before it counts
            start = time.perf_counter() + 0.1
            waiting = []
            for number in range(int(rate * seconds)):
                due = start + number / rate
                await asyncio.sleep(max(0, due - time.perf_counter()))
                body = bodies[number % len(bodies)]
                waiting.append(asyncio.ensure_future(self._one(call, body, due)))
            return await asyncio.gather(*waiting)

    async def _one(self, call: Any, body: bytes, due: float) -> float:
        try:
            await call(body, metadata=self._metadata, timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        return (time.perf_counter() - due) * 1000


if __name__ == "__main__":
    serve(_Checker(*sys.argv[1:]).answer)

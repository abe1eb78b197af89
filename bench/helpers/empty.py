"""An empty grpc.aio method: DecisionService/Check with a constant answer, no interceptor, nothing behind it.

usage: python -m bench.helpers.empty ANSWER, a file that holds a serialised CheckResponse
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench.helpers.lines import say
from usageflow.v1 import decision_pb2


async def _serve(answer: decision_pb2.CheckResponse) -> None:
    async def check(request: decision_pb2.CheckRequest, context: Any) -> decision_pb2.CheckResponse:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        check, decision_pb2.CheckRequest.FromString, decision_pb2.CheckResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("usageflow.v1.DecisionService", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(decision_pb2.CheckResponse.FromString(Path(sys.argv[1]).read_bytes())))

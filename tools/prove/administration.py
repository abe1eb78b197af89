"""Calls AdminService for the cases, without the start-up of the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import grpc.aio

from usageflow.cli.convert import apply_request
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.v1.admin_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    from usageflow.v1.admin_pb2_grpc import AdminServiceAsyncStub

Metadata = tuple[tuple[str, str], ...]


class Administrator:
    """Changes an installation. One event loop must own it."""

    def __init__(self, channel: grpc.aio.Channel, admin_token: str) -> None:
        self.stub = cast("AdminServiceAsyncStub", AdminServiceStub(channel))
        self.metadata: Metadata = (("authorization", f"Bearer {admin_token}"),)

    async def apply(self, policies: str) -> int:
        """Applies the text of a policy file; returns the revision."""
        request = apply_request(
            load(policies, filename="policies.yaml", check=check), prune=False, dry_run=False
        )
        applied = await self.stub.Apply(request, metadata=self.metadata, timeout=60)
        return applied.revision

    async def apply_until(self, policies: str, deadline_s: float) -> int:
        """Applies again and again until that works, until an instant of the loop's clock."""
        while True:
            try:
                return await self.apply(policies)
            except grpc.aio.AioRpcError:
                if asyncio.get_running_loop().time() > deadline_s:
                    raise
                await asyncio.sleep(0.1)


@asynccontextmanager
async def administrator(address: str, admin_token: str) -> AsyncIterator[Administrator]:
    """Yields who may change the installation whose admin process is at ``address``."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield Administrator(channel, admin_token)

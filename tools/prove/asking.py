"""Asks decision processes over gRPC, by name, and tells an answer from a decision that a fail mode made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

import grpc
import grpc.aio

from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub

if TYPE_CHECKING:
    from usageflow.v1.decision_pb2_grpc import DecisionServiceAsyncStub

PATIENCE_S = 20.0
"""Deadline of a call: long, so that a busy machine changes nothing. A decision waits 25 ms for the counters all the same."""


class Ask(NamedTuple):
    """One request: who does what."""

    path: str
    user: str
    method: str = "POST"
    tenant: str = ""

    def item(self) -> wire.CheckItem:
        """Returns it as an item of a batch."""
        return wire.CheckItem(request=self.request())

    def request(self) -> wire.HttpRequest:
        """Returns it as a caller of any language describes it."""
        named = {"X-User-Id": self.user, "X-Tenant": self.tenant}
        headers = [
            common.Attribute(location=common.ATTRIBUTE_LOCATION_HEADER, name=name, value=value)
            for name, value in named.items()
            if value
        ]
        return wire.HttpRequest(method=self.method, path=self.path, attributes=headers)


class Seen(NamedTuple):
    """What came back. ``answered`` is False where a fail mode decided or nobody answered: then it may have taken, or not.

    Times are seconds of this process's monotonic clock. ``remaining`` and ``window_us`` are by the limits' names.
    """

    allowed: bool
    answered: bool
    sent_s: float
    came_s: float
    remaining: dict[str, int] = {}  # noqa: RUF012 - never changed
    reset_us: dict[str, int] = {}  # noqa: RUF012 - never changed
    limits: dict[str, int] = {}  # noqa: RUF012 - never changed
    revision: int = 0


@dataclass
class Asker:
    """Asks one process. One event loop must own it."""

    address: str
    api_key: str
    _channel: grpc.aio.Channel = field(init=False)

    def __post_init__(self) -> None:
        # A channel of its own each: else all askers of one address share a connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.aio.insecure_channel(self.address, options=options)
        # With a channel of asyncio the stub is the asynchronous one, which its type does not tell.
        self._stub = cast("DecisionServiceAsyncStub", DecisionServiceStub(self._channel))
        self._metadata = (("authorization", f"Bearer {self.api_key}"),)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def check(self, ask: Ask) -> Seen:
        """Asks by Check."""
        sent_s = _now_s()
        try:
            answer = await self._stub.Check(
                wire.CheckRequest(request=ask.request()), metadata=self._metadata, timeout=PATIENCE_S
            )
        except grpc.RpcError:
            return Seen(allowed=False, answered=False, sent_s=sent_s, came_s=_now_s())
        limits = {f"{one.policy}/{one.limit_name}": one for one in answer.limits}
        return Seen(
            answer.decision == common.DECISION_ALLOW,
            not answer.degraded.reason,
            sent_s,
            _now_s(),
            {name: one.remaining for name, one in limits.items()},
            {name: one.reset.ToMicroseconds() for name, one in limits.items()},
            {name: one.limit for name, one in limits.items()},
            answer.revision,
        )

    async def batch(self, asks: Sequence[Ask]) -> list[Seen]:
        """Asks by one BatchCheck; limits go by their index."""
        answer = await self.send(wire.BatchCheckRequest(items=[ask.item() for ask in asks]))
        if answer.response is None:
            return [Seen(allowed=False, answered=False, sent_s=answer.sent_s, came_s=answer.came_s)] * len(
                asks
            )
        revision = answer.response.revision
        return [_seen(result, answer.sent_s, answer.came_s, revision) for result in answer.response.results]

    async def left(self, application: str, ask: Ask) -> dict[str, int]:
        """Returns what is left of each limit, by name, and takes nothing; empty where the counters do not answer. The key is an
        admin token here.
        """
        request = wire.ExplainRequest(application=application, request=ask.request())
        try:
            told = await self._stub.Explain(request, metadata=self._metadata, timeout=PATIENCE_S)
        except grpc.RpcError:
            return {}
        return {f"{one.after.policy}/{one.after.limit_name}": one.remaining_before for one in told.limits}

    async def send(self, request: wire.BatchCheckRequest) -> Exchange:
        """Sends a batch as it is."""
        sent_s = _now_s()
        try:
            response = await self._stub.BatchCheck(request, metadata=self._metadata, timeout=PATIENCE_S)
        except grpc.RpcError:
            return Exchange(None, sent_s, _now_s())
        return Exchange(response, sent_s, _now_s())


class Exchange(NamedTuple):
    """A call: its answer (None: there was none), when it was sent and when it was over."""

    response: wire.BatchCheckResponse | None
    sent_s: float
    came_s: float


def _seen(result: wire.CheckResult, sent_s: float, came_s: float, revision: int) -> Seen:
    limits = {f"{one.policy_number}/{one.limit_index}": one for one in result.limits}
    return Seen(
        result.decision == common.DECISION_ALLOW,
        not result.degraded.reason and not result.status.code,
        sent_s,
        came_s,
        {name: one.remaining for name, one in limits.items()},
        {name: one.reset_us for name, one in limits.items()},
        {name: one.limit for name, one in limits.items()},
        revision,
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def askers(addresses: Sequence[str], api_key: str) -> AsyncIterator[list[Asker]]:
    """Yields an asker for each address."""
    made = [Asker(address, api_key) for address in addresses]
    try:
        yield made
    finally:
        for asker in made:
            await asker.close()

"""The servicer of MeterService: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from meter.pending import Pending
from usageflow.domain.units import format_units
from usageflow.domain.usage import PendingRow
from usageflow.v1 import meter_pb2, meter_pb2_grpc

_Context = grpc.aio.ServicerContext[Any, Any]


class MeterHandler(meter_pb2_grpc.MeterServiceServicer):
    """MeterService over its use-cases."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    async def ListPending(  # noqa: N802 - gRPC's spelling
        self, request: meter_pb2.ListPendingRequest, context: _Context
    ) -> meter_pb2.ListPendingResponse:
        """See the contract."""
        rows = await self._pending.list(request.application, request.customer)
        return meter_pb2.ListPendingResponse(pending=[_row(row) for row in rows])


def _row(row: PendingRow) -> meter_pb2.PendingUnits:
    message = meter_pb2.PendingUnits(
        policy=row.policy, price=row.price, requests=row.requests, units=format_units(row.units)
    )
    message.endpoint.method, message.endpoint.template = row.endpoint.method, row.endpoint.template
    message.oldest_time.seconds = row.oldest
    return message

"""The servicer of MeterService: unpack, call, pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc.aio

from meter.correcting import Correcting
from meter.handler.billing import BillingMethods
from meter.handler.looking import LookingMethods
from meter.handler.pack import failure, pending_row
from meter.operating import Operating
from meter.pending import Pending
from meter.previewing import Previewing
from meter.reconciling import Reconciling
from usageflow.v1 import billing_pb2, meter_pb2, meter_pb2_grpc

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class UseCases:
    """What stands behind the methods."""

    pending: Pending
    operating: Operating
    reconciling: Reconciling
    previewing: Previewing
    correcting: Correcting


class MeterHandler(BillingMethods, LookingMethods, meter_pb2_grpc.MeterServiceServicer):
    """MeterService over its use-cases."""

    def __init__(self, use_cases: UseCases) -> None:
        self._pending = use_cases.pending
        self._operating = use_cases.operating
        self._reconciling = use_cases.reconciling
        self._previewing = use_cases.previewing
        self._correcting = use_cases.correcting

    async def ListPending(  # noqa: N802 - gRPC's spelling
        self, request: meter_pb2.ListPendingRequest, context: _Context
    ) -> meter_pb2.ListPendingResponse:
        """See the contract."""
        rows = await self._pending.list(request.application, request.customer)
        return meter_pb2.ListPendingResponse(pending=map(pending_row, rows))

    async def ListMeteringFailures(  # noqa: N802
        self, request: billing_pb2.ListMeteringFailuresRequest, context: _Context
    ) -> billing_pb2.ListMeteringFailuresResponse:
        """See the contract."""
        found, token = await self._pending.failures(
            request.application, page_size=request.page_size, page_token=request.page_token
        )
        return billing_pb2.ListMeteringFailuresResponse(failures=map(failure, found), next_page_token=token)

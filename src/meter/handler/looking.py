"""The methods of MeterService that show how billing goes: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from meter.handler import pack, unpack
from meter.operating import Operating
from meter.previewing import Previewing
from meter.reconciling import Reconciling
from usageflow.domain.reconciling import drifted
from usageflow.v1 import billing_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class LookingMethods:
    """What MeterService shows."""

    _operating: Operating
    _reconciling: Reconciling
    _previewing: Previewing

    async def GetBillingStatus(  # noqa: N802 - gRPC's spelling
        self, request: billing_pb2.GetBillingStatusRequest, context: _Context
    ) -> billing_pb2.BillingStatus:
        """See the contract."""
        return pack.status(await self._operating.status(request.application))

    async def ListBillingParts(  # noqa: N802
        self, request: billing_pb2.ListBillingPartsRequest, context: _Context
    ) -> billing_pb2.ListBillingPartsResponse:
        """See the contract."""
        found, token = await self._operating.parts(
            request.application,
            unpack.part_filter(request.filter),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return billing_pb2.ListBillingPartsResponse(parts=map(pack.part, found), next_page_token=token)

    async def ReconcileBilling(  # noqa: N802
        self, request: billing_pb2.ReconcileBillingRequest, context: _Context
    ) -> billing_pb2.ReconcileBillingResponse:
        """See the contract."""
        until_s = request.until.seconds if request.HasField("until") else None
        found = await self._reconciling.compare(
            request.application, unpack.since(request), until_s, request.customer
        )
        return billing_pb2.ReconcileBillingResponse(
            hours=map(pack.compared, found), drifted=len(drifted(found))
        )

    async def GetBillPreview(  # noqa: N802
        self, request: billing_pb2.GetBillPreviewRequest, context: _Context
    ) -> billing_pb2.BillPreview:
        """See the contract."""
        return pack.preview(await self._previewing.preview(request.application, unpack.customer(request)))

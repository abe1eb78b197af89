"""The methods of MeterService by which people act on billing: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from meter.correcting import Correcting
from meter.handler import pack, unpack
from meter.operating import Operating
from usageflow.domain.units import format_units
from usageflow.rpc.causes import cause_of, cause_of_request
from usageflow.v1 import billing_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class BillingMethods:
    """What MeterService does for people."""

    _operating: Operating
    _correcting: Correcting

    async def FlushUsage(  # noqa: N802 - gRPC's spelling
        self, request: billing_pb2.FlushUsageRequest, context: _Context
    ) -> billing_pb2.FlushUsageResponse:
        """See the contract."""
        frozen, holds = await self._operating.flush(request.application, request.customer, request.price)
        return billing_pb2.FlushUsageResponse(
            parts=frozen.parts, units=format_units(frozen.units), holds=map(pack.hold, holds)
        )

    async def MoveBillingParts(  # noqa: N802
        self, request: billing_pb2.MoveBillingPartsRequest, context: _Context
    ) -> billing_pb2.MoveBillingPartsResponse:
        """See the contract."""
        moved = await self._operating.move(
            request.application,
            unpack.part_filter(request.filter),
            unpack.move(request.move),
            cause_of_request(context, request),
        )
        return billing_pb2.MoveBillingPartsResponse(parts=moved)

    async def HoldBilling(  # noqa: N802
        self, request: billing_pb2.HoldBillingRequest, context: _Context
    ) -> billing_pb2.HoldBillingResponse:
        """See the contract."""
        cause = cause_of_request(context, request)
        changed = await self._operating.hold(
            request.application, request.customer, request.price, held=request.held, cause=cause
        )
        return billing_pb2.HoldBillingResponse(changed=changed)

    async def ResumeDestination(  # noqa: N802
        self, request: billing_pb2.ResumeDestinationRequest, context: _Context
    ) -> billing_pb2.ResumeDestinationResponse:
        """See the contract."""
        resumed = await self._operating.resume(
            unpack.destination(request), cause_of(context, "ResumeDestination")
        )
        return billing_pb2.ResumeDestinationResponse(resumed=resumed)

    async def CorrectUsage(  # noqa: N802
        self, request: billing_pb2.CorrectUsageRequest, context: _Context
    ) -> billing_pb2.CorrectUsageResponse:
        """See the contract."""
        unpack.ensure_one_correction(request)
        done = await self._correcting.correct(
            request.application,
            request.part_id,
            None if request.cancel else request.units,
            reason=request.reason,
            cause=cause_of_request(context, request),
        )
        correction = None if done.correction is None else pack.part(done.correction)
        return billing_pb2.CorrectUsageResponse(correction=correction, cancelled=done.cancelled)

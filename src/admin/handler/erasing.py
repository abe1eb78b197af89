"""The methods of AdminService that forget people: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from admin.erasing import Erasing
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.units import format_units
from usageflow.rpc.causes import cause_of
from usageflow.storage.erasing import Erased, Erasure
from usageflow.v1 import erasing_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class ErasureMethods:
    """What AdminService offers of erasure."""

    erasing: Erasing

    async def EraseCustomer(  # noqa: N802 - gRPC's spelling
        self, request: erasing_pb2.EraseCustomerRequest, context: _Context
    ) -> erasing_pb2.EraseResponse:
        """See the contract."""
        if not request.name:
            raise InvalidArgument.of("name", "is empty", "name the customer to forget")
        wanted = Erasure(customer=request.name)
        return _response(
            await self.erasing.erase(request.application, wanted, cause_of(context, "EraseCustomer"))
        )

    async def EraseIdentity(  # noqa: N802
        self, request: erasing_pb2.EraseIdentityRequest, context: _Context
    ) -> erasing_pb2.EraseResponse:
        """See the contract."""
        wanted = Erasure(identity=request.identity, discard_unbilled=request.discard_unbilled)
        return _response(
            await self.erasing.erase(request.application, wanted, cause_of(context, "EraseIdentity"))
        )


def _response(erased: Erased) -> erasing_pb2.EraseResponse:
    return erasing_pb2.EraseResponse(
        identities=erased.identities,
        events=erased.events,
        decisions=erased.decisions,
        blocks=erased.blocks,
        windows=erased.windows,
        bound_units=format_units(erased.bound),
        discarded_units=format_units(erased.discarded),
    )

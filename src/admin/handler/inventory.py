"""The inventory's method of AdminService: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from admin.inventory import Inventories, Listed
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.inventory import EndpointState
from usageflow.messages import bare, timestamp_of
from usageflow.storage.inventory import SeenRelease
from usageflow.v1 import common_pb2, inventory_pb2

_PREFIX = "ENDPOINT_STATE_"
_US = 1_000_000


class InventoryMethods:
    """What AdminService offers of the inventory."""

    _inventories: Inventories

    async def ListEndpointInventory(  # noqa: N802 - gRPC's spelling
        self,
        request: inventory_pb2.ListEndpointInventoryRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> inventory_pb2.ListEndpointInventoryResponse:
        """See the contract."""
        page = await self._inventories.page(
            request.application,
            size=request.page_size,
            token=request.page_token,
            states=[_state(value) for value in request.states],
            since=request.start_time.seconds if request.HasField("start_time") else None,
        )
        return inventory_pb2.ListEndpointInventoryResponse(
            endpoints=[_endpoint(each) for each in page.endpoints],
            next_page_token=page.next_page_token,
            releases=[_release(each) for each in page.releases],
            start_time=timestamp_of(page.since * _US),
        )


def _state(value: int) -> EndpointState:
    name = bare(inventory_pb2.EndpointState.Name, value, _PREFIX)
    try:
        return EndpointState(name)
    except ValueError:
        fix = f"send one of {', '.join(EndpointState)}"
        raise InvalidArgument.of("states", f"{value} is no state of an endpoint", fix) from None


def _release(seen: SeenRelease) -> inventory_pb2.ServiceRelease:
    return inventory_pb2.ServiceRelease(
        service=seen.service,
        release=seen.release,
        first_seen_time=timestamp_of(seen.first_seen_us),
        last_seen_time=timestamp_of(seen.last_seen_us),
    )


def _endpoint(listed: Listed) -> inventory_pb2.InventoryEndpoint:
    calls, registration = listed.calls, listed.registration
    message = inventory_pb2.InventoryEndpoint(
        endpoint=common_pb2.Endpoint(method=listed.endpoint.method, template=listed.endpoint.template),
        number=registration.number if registration is not None else 0,
        states=[inventory_pb2.EndpointState.Value(f"{_PREFIX}{state}") for state in listed.states],
        services=[
            inventory_pb2.EndpointService(
                service=each.service, release=each.release, gone=each.service in listed.gone_from
            )
            for each in listed.services
        ],
        requests=calls.requests,
        errors=calls.errors,
        denied=calls.denied,
        policies=listed.policies,
    )
    if registration is not None and not registration.sighted:
        message.first_registered_time.CopyFrom(timestamp_of(registration.first_us))
        message.last_registered_time.CopyFrom(timestamp_of(registration.last_us))
    if calls.first is not None and calls.last is not None:
        message.first_called_time.CopyFrom(timestamp_of(calls.first * _US))
        message.last_called_time.CopyFrom(timestamp_of(calls.last * _US))
    return message

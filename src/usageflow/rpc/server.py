"""Builds the gRPC server: handlers, interceptors, health, reflection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from usageflow.rpc.access import Access, accesses
from usageflow.rpc.interceptor import ServiceInterceptor
from usageflow.v1 import admin_pb2, decision_pb2, meter_pb2

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)

DECISION = decision_pb2.DESCRIPTOR.services_by_name["DecisionService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
METER = meter_pb2.DESCRIPTOR.services_by_name["MeterService"].full_name


def credentials_needed() -> Mapping[str, Access]:
    """Returns what each method of our services needs of its caller."""
    return accesses((decision_pb2.DESCRIPTOR, admin_pb2.DESCRIPTOR, meter_pb2.DESCRIPTOR))


@dataclass(frozen=True, slots=True)
class RpcServer:
    """A gRPC server and its health."""

    server: grpc.aio.Server
    handlers: Any
    """Where services are added: the interceptor where there is one, else the server."""
    health: health.aio.HealthServicer
    services: tuple[str, ...]

    async def serving(self, *, healthy: bool) -> None:
        """Tells the health of every service, and of the whole ("")."""
        status = (
            health_pb2.HealthCheckResponse.SERVING if healthy else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in ("", *self.services):
            await self.health.set(service, status)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """``reflection`` tells anybody who connects what the contract is, ``channelz`` who else is connected;
    ``max_connection_age_s`` 0 means for ever. Calls of an aged connection have ``age_grace_s`` left to end, as long as clients
    wait for a report; streams are cut then. ``reuse_port`` lets several workers listen on one port.
    """

    reflection: bool = True
    max_connection_age_s: int = 0
    age_grace_s: float = 10.0
    channelz: bool = False
    reuse_port: bool = False

    def with_reflection(self, served: bool) -> ServerOptions:
        """Returns the same options with or without reflection."""
        return replace(self, reflection=served)

    def channel_options(self) -> tuple[tuple[str, int], ...]:
        """Returns gRPC's options. It adds 10 % of jitter to the age by itself, so that clients do not return all at once."""
        # Otherwise a taken port is an error, not a second listener.
        options = (*_OPTIONS, ("grpc.so_reuseport", int(self.reuse_port)))
        if not self.max_connection_age_s:
            return options
        age = ("grpc.max_connection_age_ms", self.max_connection_age_s * 1000)
        return (*options, age, ("grpc.max_connection_age_grace_ms", round(self.age_grace_s * 1000)))


def build_server(
    interceptor: ServiceInterceptor | None,
    services: Sequence[str],
    options: ServerOptions = ServerOptions(),
) -> RpcServer:
    """Returns a server with health and, where asked for, reflection and channelz; the caller adds its handlers."""
    server = grpc.aio.server(options=options.channel_options())
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    if options.reflection:
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    if options.channelz:
        channelz.add_channelz_servicer(server)
    handlers = server if interceptor is None else interceptor.on(server)
    return RpcServer(server, handlers, checks, tuple(services))

"""Calls of AdminService by name, as the cases make them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status

ADMIN = importlib.import_module("usageflow.v1.admin_pb2").DESCRIPTOR.services_by_name["AdminService"]
DECISION = importlib.import_module("usageflow.v1.decision_pb2").DESCRIPTOR.services_by_name["DecisionService"]


class Caller:
    """Calls unary methods of a service with one credential."""

    def __init__(self, channel: grpc.Channel, secret: str, service: ServiceDescriptor = ADMIN) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {secret}"),)
        self._methods: dict[str, Any] = {}
        self._service = service

    def call(self, method: str, request: Any = None, **fields: Any) -> Any:
        """Returns the answer. Raises grpc.RpcError."""
        described = self.described(method)
        if request is None:
            request = message_factory.GetMessageClass(described.input_type)(**fields)
        return self._stub(described)(request, metadata=self._metadata, timeout=60)

    def described(self, method: str) -> MethodDescriptor:
        """Returns what the contract says of a method."""
        found: MethodDescriptor = self._service.methods_by_name[method]
        return found

    def timed(self, method: str, **fields: Any) -> tuple[Any, float]:
        """Returns the answer and how long it took, in seconds."""
        started = time.perf_counter()
        answer = self.call(method, **fields)
        return answer, time.perf_counter() - started

    def _stub(self, method: MethodDescriptor) -> Any:
        if method.name not in self._methods:
            self._methods[method.name] = self._channel.unary_unary(
                f"/{self._service.full_name}/{method.name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
        return self._methods[method.name]


@contextmanager
def caller(address: str, secret: str, service: ServiceDescriptor = ADMIN) -> Iterator[Caller]:
    """Yields a caller over a channel of its own."""
    with grpc.insecure_channel(address) as channel:
        yield Caller(channel, secret, service)


def error_info(error: Any) -> error_details_pb2.ErrorInfo | None:
    """Returns what a failed call says to programs, None where it says nothing."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return info
    return None

"""One channel to the service for one command: plaintext on this machine, TLS to others, a deadline on every call."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

# The transport's own log lines would stand beside the one sentence that a failed call prints.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from usageflow.cli.failure import Failure
from usageflow.cli.output import say
from usageflow.cli.rpc_errors import failure_of
from usageflow.cli.settings import Settings, read_settings
from usageflow.v1.admin_pb2_grpc import AdminServiceStub
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub
from usageflow.v1.meter_pb2_grpc import MeterServiceStub

_RECONNECT = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 1000))
"""A service that restarts is back in a second or two: the default would keep away from it for longer."""

_LARGE = (("grpc.max_receive_message_length", 16 * 1024 * 1024),)
"""As much as services send: a revision of thousands of policies is one message."""

Request = TypeVar("Request")
Response = TypeVar("Response")


class Connection:
    """Calls the three services. Use it as a context manager: leaving it closes the channel."""

    def __init__(self, settings: Settings, *, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._channel = _channel_of(settings)
        self.admin = AdminServiceStub(self._channel)
        self.decision = DecisionServiceStub(self._channel)
        self.meter = MeterServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def as_client(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """Calls with the API key. Raises Failure, and RpcFailure where the service said no."""
        return self._call(method, request, self._settings.api_key, "USAGEFLOW_API_KEY")

    def as_admin(self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """Calls with the admin token. Raises Failure, and RpcFailure where the service said no."""
        return self._call(method, request, self._settings.admin_token, "USAGEFLOW_ADMIN_TOKEN")

    def stream_as_admin(
        self, method: grpc.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> Iterator[Response]:
        """Calls with the admin token and yields the answers. Raises as ``as_admin`` does, at any of them."""
        yield from self._stream(method, request, self._timeout_s)

    def watch_as_admin(
        self, method: grpc.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> Iterator[Response]:
        """Like ``stream_as_admin``, for as long as the service sends; leaving the iteration ends the call."""
        yield from self._stream(method, request, None)

    def _stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None,
    ) -> Iterator[Response]:
        variable = "USAGEFLOW_ADMIN_TOKEN"
        metadata = self._metadata(self._settings.admin_token, variable)
        with self._told(variable):
            call = method(request, timeout=timeout_s, metadata=metadata)
            try:
                yield from call
            finally:
                call.cancel()

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        secret: str,
        variable: str,
    ) -> Response:
        metadata = self._metadata(secret, variable)
        with self._told(variable):
            return method(request, timeout=self._timeout_s, metadata=metadata)

    def _metadata(self, secret: str, variable: str) -> tuple[tuple[str, str], ...]:
        if not secret:
            file = self._settings.credentials_file
            raise Failure(f"no credential: set {variable}, or start `make run` here, which writes {file}")
        return (("authorization", f"Bearer {secret}"),)

    @contextmanager
    def _told(self, variable: str) -> Iterator[None]:
        """Turns what gRPC raises into a failure."""
        try:
            yield
        except grpc.RpcError as error:
            raise failure_of(error, self._settings, credential=variable, timeout_s=self._timeout_s) from error


def connect(timeout_s: float) -> Connection:
    """Returns a connection as the environment says; it is made with the first call. Raises Failure."""
    return Connection(read_settings(os.environ), timeout_s=timeout_s)


def _channel_of(settings: Settings) -> grpc.Channel:
    # A proxy of the environment cannot know this machine's own addresses.
    options = [*_LARGE, ("grpc.enable_http_proxy", 0), *_RECONNECT] if settings.is_local else [*_LARGE]
    if settings.uses_tls:
        return grpc.secure_channel(settings.address, _credentials_of(settings), options=options)
    if not settings.is_local:
        say(f"warning: USAGEFLOW_INSECURE=1 sends the key to {settings.address} in plain text")
    return grpc.insecure_channel(settings.address, options=options)


def _credentials_of(settings: Settings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _pem_of(settings.ca_file, "USAGEFLOW_CA_FILE"),
        _pem_of(settings.client_key, "USAGEFLOW_CLIENT_KEY"),
        _pem_of(settings.client_cert, "USAGEFLOW_CLIENT_CERT"),
    )


def _pem_of(file: str, variable: str) -> bytes | None:
    if not file:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}; set {variable} to a PEM file") from error

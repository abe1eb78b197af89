"""The connection to the service, and what goes wrong with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import grpc.aio

from usageflow.client._config import ClientConfig
from usageflow.client._core import keys
from usageflow.client._core.pacing import Throttle
from usageflow.client._core.rpc_status import read_details
from usageflow.v1 import decision_pb2, decision_pb2_grpc, plan_pb2, usage_pb2

T = TypeVar("T")

log: Final = logging.getLogger("usageflow")

USER_AGENT: Final = "usageflow-python/1.0.0.dev0"
AUTH_RETRY_S: Final = 30.0
_AUTH_CODES: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024  # a plan of ten thousand endpoints is above gRPC's 4 MiB default


@dataclass(frozen=True, slots=True)
class Fault:
    """An RPC that failed."""

    code: grpc.StatusCode
    reason: str
    """ErrorInfo.reason; may be empty."""
    retry_s: float
    """How long the service asks to be left alone, in seconds; 0.0 where it does not say."""
    text: str

    @classmethod
    def of(cls, error: Exception) -> Fault:
        """Reads an exception that a call raised."""
        if not isinstance(error, grpc.aio.AioRpcError):
            return cls(grpc.StatusCode.INTERNAL, "", 0.0, f"{type(error).__name__}: {error}")
        trailer = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        details = read_details(trailer if isinstance(trailer, bytes) else b"")
        return cls(error.code(), details.reason, details.retry_s, f"{error.code().name}: {error.details()}")

    @property
    def plan_unknown(self) -> bool:
        """True where the service does not know the plan that the call used."""
        return self.code == grpc.StatusCode.FAILED_PRECONDITION and self.reason == "PLAN_UNKNOWN"

    @property
    def timed_out(self) -> bool:
        """True where the answer did not come in time."""
        return self.code == grpc.StatusCode.DEADLINE_EXCEEDED

    @property
    def hold_s(self) -> float:
        """Seconds for which the service should not be asked at all; 0.0 for the usual back-off."""
        return AUTH_RETRY_S if self.code in _AUTH_CODES else min(self.retry_s, 10.0)


class Link:
    """A channel with its stub and credentials. Must be made in the process and event loop that use it."""

    def __init__(self, config: ClientConfig) -> None:
        self.channel = _open(config)
        # The generated stub's annotations know the blocking kind only by this name; at run time it serves both.
        self.stub: decision_pb2_grpc.DecisionServiceAsyncStub = decision_pb2_grpc.DecisionServiceStub(
            self.channel
        )  # type: ignore[assignment]
        self.metadata: Sequence[tuple[str, str]] = (("authorization", f"Bearer {config.api_key}"),)
        self.last_error = ""
        self._address = config.address
        self._plaintext = config.plaintext
        self._auth_told = False
        self._told = Throttle()

    async def check(
        self, request: decision_pb2.BatchCheckRequest, timeout_s: float
    ) -> decision_pb2.BatchCheckResponse:
        """Calls BatchCheck. Raises whatever grpc raises, ValueError for bytes that are no answer."""
        return _answered(await self.stub.BatchCheck(request, timeout=timeout_s, metadata=self.metadata))

    async def report(self, request: usage_pb2.ReportRequest, timeout_s: float) -> usage_pb2.ReportResponse:
        """Calls Report; raises as `check` does."""
        return _answered(await self.stub.Report(request, timeout=timeout_s, metadata=self.metadata))

    async def register(
        self, request: plan_pb2.RegisterEndpointsRequest, timeout_s: float
    ) -> plan_pb2.RegisterEndpointsResponse:
        """Calls RegisterEndpoints; raises as `check` does."""
        return _answered(
            await self.stub.RegisterEndpoints(request, timeout=timeout_s, metadata=self.metadata)
        )

    def works(self) -> None:
        """Notes that the service answered."""
        if self.last_error:
            log.info("UsageFlow at %s answers again", self._address)
        self.last_error = ""
        self._auth_told = False

    def fails(self, fault: Fault) -> None:
        """Notes a fault and logs it: a refused key once, anything else once a minute."""
        self.last_error = fault.text
        if fault.code in _AUTH_CODES:
            self._tell_auth(fault)
        elif self._told.ready(time.monotonic()):
            log.warning(
                "UsageFlow at %s cannot be reached (%s); requests are served as their fail modes say and usage is"
                " kept. Check %s",
                self._address,
                fault.text,
                "USAGEFLOW_ADDR and that the service runs"
                if self._plaintext
                else "USAGEFLOW_ADDR, USAGEFLOW_CA_FILE, which must hold the authority of the service's certificate,"
                " and USAGEFLOW_CLIENT_CERT where the service asks for one",
            )

    def _tell_auth(self, fault: Fault) -> None:
        if not self._auth_told:
            self._auth_told = True
            log.error(
                "UsageFlow at %s refuses the API key (%s); set USAGEFLOW_API_KEY to a key of this application."
                " Until then requests are served as their fail modes say",
                self._address,
                fault.text,
            )


def _answered(answer: T | None) -> T:
    if answer is None:  # what grpc.aio makes of bytes that it cannot parse
        raise ValueError(
            "the service's answer cannot be parsed; does USAGEFLOW_ADDR name a UsageFlow service?"
        )
    return answer


def _open(config: ClientConfig) -> grpc.aio.Channel:
    options: list[tuple[str, int | str]] = [
        ("grpc.primary_user_agent", USER_AGENT),
        # Every address of the name is used, so that calls spread over replicas.
        ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
        (
            "grpc.enable_retries",
            0,
        ),  # a check that timed out may have taken; reports are retried by their queue
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 310_000),  # just above what servers forgive by default
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if keys.is_local(config.address):
        options.append(("grpc.enable_http_proxy", 0))
    if config.plaintext:
        return grpc.aio.insecure_channel(config.address, options=options)
    credentials = grpc.ssl_channel_credentials(
        config.ca_certificates, config.client_key, config.client_certificate
    )
    return grpc.aio.secure_channel(config.address, credentials, options=options)

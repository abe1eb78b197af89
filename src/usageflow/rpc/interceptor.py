"""What every call passes through: a cap, authentication, the error table, measurements. Composed here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from opentelemetry.metrics import Histogram

from usageflow.domain.errors import FailedPrecondition, InvalidArgument, UsageFlowError
from usageflow.rpc.authentication import Authenticator
from usageflow.rpc.errors import grpc_status_of, internal_status
from usageflow.rpc.load import MAX_CALLS, CallCap
from usageflow.rpc.principal import set_principal
from usageflow.storage.ports import CredentialKind

log = structlog.get_logger()

_Context = grpc.aio.ServicerContext[Any, Any]
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Which credential each full method name needs; a method that is not named needs none (health, reflection).

    ``refused`` names methods that this process does not offer, and says what to do instead, whoever calls.
    """

    credentials: Mapping[str, CredentialKind]
    refused: Mapping[str, str] = field(default_factory=dict)


class ServiceInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler: shed load, authenticate, call, map errors, measure. Streams are not capped: they wait, mostly."""

    def __init__(
        self,
        authenticator: Authenticator,
        policy: CallPolicy,
        duration: Histogram,
        *,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self._max_calls = max_calls
        self._authenticator = authenticator
        self._policy = policy
        self._duration = duration
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Returns the method's handler, wrapped once and remembered."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None or method not in self._policy.credentials:
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        kind = self._policy.credentials[method]
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(method, kind, handler.unary_stream),
                _reader(handler.request_deserializer),
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, kind, handler.unary_unary),
            _reader(handler.request_deserializer),
            handler.response_serializer,
        )

    def _unary(self, method: str, kind: CredentialKind, call: Any) -> Any:
        cap = CallCap(self._max_calls)

        async def handle(request: Any, context: _Context) -> Any:
            started = time.perf_counter()
            code = "OK"
            try:
                with cap:
                    await self._enter(method, kind, context)
                    return await call(_readable(request), context)
            except UsageFlowError as error:
                code = type(error).__name__
                await _abort(context, grpc_status_of(error))
            except (grpc.aio.AbortError, grpc.RpcError):
                raise
            except Exception:
                code = "INTERNAL"
                log.exception("call failed", method=method)
                await _abort(context, internal_status())
            finally:
                self._duration.record(
                    time.perf_counter() - started, {"rpc.method": method, "rpc.status": code}
                )

        return handle

    def _streaming(self, method: str, kind: CredentialKind, call: Any) -> Any:
        async def handle(request: Any, context: _Context) -> AsyncIterator[Any]:
            try:
                await self._enter(method, kind, context)
                async for response in call(_readable(request), context):
                    yield response
            except UsageFlowError as error:
                await _abort(context, grpc_status_of(error))
            except (grpc.aio.AbortError, grpc.RpcError):
                raise
            except Exception:
                log.exception("stream failed", method=method)
                await _abort(context, internal_status())

        return handle

    async def _enter(self, method: str, kind: CredentialKind, context: _Context) -> None:
        if method in self._policy.refused:
            raise FailedPrecondition(self._policy.refused[method], reason="NOT_OFFERED")
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        text = authorization.decode("latin-1") if isinstance(authorization, bytes) else authorization
        set_principal(await self._authenticator.authenticate(text, kind))


async def _abort(context: _Context, status: grpc.Status) -> NoReturn:
    await context.abort(status.code, status.details, status.trailing_metadata)


def _reader(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Returns a reader that answers None for bytes that are no message: the handler then says so in our words."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return None

    return read


def _readable(request: Any) -> Any:
    if request is None:
        fix = "send the method's request message, encoded by the stubs of this contract"
        raise InvalidArgument.of("request", "is not a message of this method", fix)
    return request

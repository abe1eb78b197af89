"""What every call passes through: a cap, authentication, the error table, measurements. Composed here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from usageflow.domain.errors import FailedPrecondition, InvalidArgument, UsageFlowError
from usageflow.rpc.access import Access
from usageflow.rpc.authentication import Authenticator
from usageflow.rpc.errors import grpc_status_of, internal_status
from usageflow.rpc.load import MAX_CALLS, CallCap
from usageflow.rpc.measuring import CallTimes
from usageflow.rpc.principal import set_principal

log = structlog.get_logger()

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """What each full method name needs of its caller; a method that is not named needs no credential (health, reflection).

    ``refused`` names methods that this process does not offer, and says what to do instead, whoever calls.
    """

    credentials: Mapping[str, Access]
    refused: Mapping[str, str] = field(default_factory=dict)


class ServiceInterceptor:
    """Wraps each handler: shed load, authenticate, call, map errors, measure. Streams are not capped: they wait, mostly.

    Handlers are wrapped as they are added. grpc.aio's own interceptors are awaited anew for every call, which costs a tenth of a
    whole check.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        policy: CallPolicy,
        times: CallTimes,
        *,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self._server: Any = None
        self._max_calls = max_calls
        self._authenticator = authenticator
        self._policy = policy
        self._times = times

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds services as grpc.aio.Server does, each method wrapped: what generated code calls."""
        self._server.add_generic_rpc_handlers(tuple(_Wrapped(each, self._wrapped) for each in handlers))

    def on(self, server: grpc.aio.Server) -> Self:
        """Says which server is served."""
        self._server = server
        return self

    def _wrapped(self, method: str, handler: Any) -> Any:
        return self._wrap(method, handler) if method in self._policy.credentials else handler

    def _wrap(self, method: str, handler: Any) -> Any:
        access = self._policy.credentials[method]
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(method, access, handler.unary_stream),
                _reader(handler.request_deserializer),
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, access, handler.unary_unary),
            _reader(handler.request_deserializer),
            handler.response_serializer,
        )

    def _unary(self, method: str, access: Access, call: Any) -> Any:
        cap = CallCap(self._max_calls)

        async def handle(request: Any, context: _Context) -> Any:
            started = time.perf_counter()
            code = "OK"
            try:
                with cap:
                    request = await self._entered(method, access, request, context)
                    return await call(request, context)
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
                self._times.record(method, code, time.perf_counter() - started)

        return handle

    def _streaming(self, method: str, access: Access, call: Any) -> Any:
        async def handle(request: Any, context: _Context) -> AsyncIterator[Any]:
            try:
                request = await self._entered(method, access, request, context)
                async for response in call(request, context):
                    yield response
            except UsageFlowError as error:
                await _abort(context, grpc_status_of(error))
            except (grpc.aio.AbortError, grpc.RpcError):
                raise
            except Exception:
                log.exception("stream failed", method=method)
                await _abort(context, internal_status())

        return handle

    async def _entered(self, method: str, access: Access, request: Any, context: _Context) -> Any:
        """Returns the request of a caller who may make it."""
        if method in self._policy.refused:
            raise FailedPrecondition(self._policy.refused[method], reason="NOT_OFFERED")
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        text = authorization.decode("latin-1") if isinstance(authorization, bytes) else authorization
        caller = await self._authenticator.authenticate(text, access.how, context.peer)
        access.ensure(caller)
        set_principal(caller)
        request = _readable(request)
        access.confine(caller, request)
        return request


class _Wrapped(grpc.GenericRpcHandler):
    """A service whose methods are wrapped at their first call and remembered."""

    def __init__(self, inner: grpc.GenericRpcHandler, wrap: Callable[[str, Any], Any]) -> None:
        self._inner = inner
        self._wrap = wrap
        self._methods: dict[str, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Returns the handler of a method, None for one that this service does not have."""
        method = handler_call_details.method
        found = self._methods.get(method)
        if found is None:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None
            found = self._methods[method] = self._wrap(method, handler)
        return found


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

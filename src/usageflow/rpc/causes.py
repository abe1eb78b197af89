"""Who makes a call, and from where: what the audit log is told."""

from __future__ import annotations

import hashlib
from typing import Any

import grpc.aio

from usageflow.domain.changes import Actor, Cause
from usageflow.domain.errors import InvalidArgument
from usageflow.rpc.principal import current_principal

MAX_REQUEST_ID = 64


def cause_of(
    context: grpc.aio.ServicerContext[Any, Any],
    method: str,
    *,
    request_id: str = "",
    payload_hash: bytes = b"",
) -> Cause:
    """Returns the cause of whatever the running call changes; ``method`` is its bare name."""
    principal = current_principal()
    actor = Actor(principal.credential_id, principal.prefix, context.peer())
    return Cause(actor, method, request_id=request_id, payload_hash=payload_hash)


def cause_of_request(context: grpc.aio.ServicerContext[Any, Any], request: Any) -> Cause:
    """Returns the cause of what a request with a ``request_id`` changes; its message is called after the method.

    Raises InvalidArgument for an id that is too long.
    """
    if len(request.request_id) > MAX_REQUEST_ID:
        raise InvalidArgument.of("request_id", "is too long", f"send at most {MAX_REQUEST_ID} characters")
    payload = request.SerializeToString(deterministic=True)
    return cause_of(
        context,
        request.DESCRIPTOR.name.removesuffix("Request"),
        request_id=request.request_id,
        payload_hash=hashlib.sha256(payload).digest(),
    )

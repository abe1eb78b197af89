"""Who makes a call, and from where: what the audit log is told."""

from __future__ import annotations

from typing import Any

import grpc.aio

from usageflow.domain.changes import Actor, Cause
from usageflow.rpc.principal import current_principal


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

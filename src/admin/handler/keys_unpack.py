"""From messages of keys and tokens to what the use-cases take."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from admin.credential_rules import ensure_mask
from admin.credentials import DAY_US, Call, Rotation, Spec
from usageflow.domain.credentials import Environment, Role, Scope
from usageflow.domain.errors import InvalidArgument
from usageflow.rpc.causes import cause_of_request
from usageflow.v1 import keys_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


def call(request: Any, context: _Context) -> Call:
    """Returns what a change comes with; a request without an etag means any version. Raises InvalidArgument."""
    return Call(
        cause_of_request(context, request),
        etag=getattr(request, "etag", ""),
        validate_only=request.validate_only,
    )


def key_spec(message: keys_pb2.ApiKey) -> Spec:
    """Returns the key that is asked for. Raises InvalidArgument for values that no enum has."""
    return Spec(
        message.name,
        scopes=_scopes(message),
        environment=_environment(message),
        expires_us=_instant(message),
    )


def token_spec(message: keys_pb2.AdminToken) -> Spec:
    """Returns the token that is asked for. Raises InvalidArgument for values that no enum has."""
    return Spec(
        message.name, role=_role(message), application=message.application, expires_us=_instant(message)
    )


def key_changes(request: keys_pb2.UpdateApiKeyRequest) -> dict[str, Any]:
    """Returns the fields to set. Raises InvalidArgument for a mask that names others."""
    message = request.api_key
    named = _named(request, {"scopes": bool(message.scopes), "expire_time": message.HasField("expire_time")})
    values = {"scopes": _scopes(message), "expires_us": _instant(message)}
    return {field: values[field] for field in named}


def token_changes(request: keys_pb2.UpdateAdminTokenRequest) -> dict[str, Any]:
    """Returns the fields to set. Raises InvalidArgument for a mask that names others."""
    message = request.admin_token
    named = _named(request, {"role": bool(message.role), "expire_time": message.HasField("expire_time")})
    values = {"role": _role(message), "expires_us": _instant(message)}
    return {field: values[field] for field in named}


def rotation(request: keys_pb2.RotateApiKeyRequest | keys_pb2.RotateAdminTokenRequest) -> Rotation:
    """Returns how a credential is followed by another."""
    overlap = request.overlap
    overlap_us = (
        overlap.seconds * 1_000_000 + overlap.nanos // 1000 if request.HasField("overlap") else DAY_US
    )
    return Rotation(request.new_name, overlap_us, _instant(request))


def _named(request: Any, is_set: dict[str, bool]) -> list[str]:
    """Returns which fields to set: those of the mask, or without one those that are set."""
    paths = list(request.update_mask.paths)
    ensure_mask(paths, is_set)
    if "*" in paths:
        paths = list(is_set)
    chosen = paths or [field for field, given in is_set.items() if given]
    return ["expires_us" if field == "expire_time" else field for field in chosen]


def _scopes(message: keys_pb2.ApiKey) -> frozenset[Scope]:
    names = {keys_pb2.KEY_SCOPE_AGENT: Scope.AGENT, keys_pb2.KEY_SCOPE_REPORT: Scope.REPORT}
    names[keys_pb2.KEY_SCOPE_READ] = Scope.READ
    if not set(message.scopes) <= set(names):
        raise InvalidArgument.of(
            "api_key.scopes", "holds what is no scope", f"send some of {', '.join(Scope)}"
        )
    return frozenset(names[scope] for scope in message.scopes)


def _environment(message: keys_pb2.ApiKey) -> Environment:
    names = {
        keys_pb2.KEY_ENVIRONMENT_UNSPECIFIED: Environment.TEST,
        keys_pb2.KEY_ENVIRONMENT_TEST: Environment.TEST,
        keys_pb2.KEY_ENVIRONMENT_LIVE: Environment.LIVE,
    }
    if message.environment not in names:
        raise InvalidArgument.of(
            "api_key.environment", "is no environment", f"send one of {', '.join(Environment)}"
        )
    return names[message.environment]


def _role(message: keys_pb2.AdminToken) -> Role | None:
    names = {
        keys_pb2.ADMIN_ROLE_UNSPECIFIED: None,
        keys_pb2.ADMIN_ROLE_VIEWER: Role.VIEWER,
        keys_pb2.ADMIN_ROLE_EDITOR: Role.EDITOR,
        keys_pb2.ADMIN_ROLE_OWNER: Role.OWNER,
    }
    if message.role not in names:
        raise InvalidArgument.of("admin_token.role", "is no role", f"send one of {', '.join(Role)}")
    return names[message.role]


def _instant(message: Any) -> int | None:
    if not message.HasField("expire_time"):
        return None
    time: Timestamp = message.expire_time
    return time.seconds * 1_000_000 + time.nanos // 1000

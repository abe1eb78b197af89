"""From credentials to messages: never the hash, and the secret only of what was just made."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from admin.credentials import Issued
from usageflow.domain.credentials import Credential, Scope
from usageflow.v1 import keys_pb2


def key(credential: Credential, now_us: int) -> keys_pb2.ApiKey:
    """Returns an API key as it is at an instant."""
    return keys_pb2.ApiKey(
        scopes=[
            keys_pb2.KeyScope.Value(f"KEY_SCOPE_{scope}") for scope in Scope if scope in credential.scopes
        ],
        environment=keys_pb2.KeyEnvironment.Value(f"KEY_ENVIRONMENT_{credential.environment}"),
        **_common(credential, now_us),
    )


def token(credential: Credential, now_us: int) -> keys_pb2.AdminToken:
    """Returns an admin token as it is at an instant."""
    return keys_pb2.AdminToken(
        role=keys_pb2.AdminRole.Value(f"ADMIN_ROLE_{credential.role or 'UNSPECIFIED'}"),
        application=credential.application,
        **_common(credential, now_us),
    )


def issued_key(issued: Issued, now_us: int) -> keys_pb2.IssuedApiKey:
    """Returns a new API key with its secret."""
    return keys_pb2.IssuedApiKey(
        api_key=key(issued.credential, now_us), secret=issued.secret, secret_withheld=issued.withheld
    )


def issued_token(issued: Issued, now_us: int) -> keys_pb2.IssuedAdminToken:
    """Returns a new admin token with its secret."""
    return keys_pb2.IssuedAdminToken(
        admin_token=token(issued.credential, now_us), secret=issued.secret, secret_withheld=issued.withheld
    )


def _common(credential: Credential, now_us: int) -> dict[str, Any]:
    state = credential.state_at(now_us)
    return {
        "name": credential.name,
        "uid": credential.credential_id,
        "prefix": credential.prefix,
        "state": keys_pb2.CredentialState.Value(f"CREDENTIAL_STATE_{state}"),
        "create_time": _time(credential.created_us),
        "creator": credential.created_by,
        "expire_time": _time(credential.expires_us),
        "revoke_time": _time(credential.revoked_us),
        "last_use_time": _time(credential.last_used_us),
        "etag": credential.etag,
    }


def _time(at_us: int | None) -> Timestamp | None:
    if at_us is None:
        return None
    return Timestamp(seconds=at_us // 1_000_000, nanos=at_us % 1_000_000 * 1000)

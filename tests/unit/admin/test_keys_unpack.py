"""Whatever a message of keys and tokens holds, it is read or refused by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from admin.credential_rules import ensure_good, ensure_overlap
from admin.handler import keys_unpack
from tests.unit.fakes import steady
from usageflow.domain.credentials import CredentialKind, Role, Scope
from usageflow.domain.errors import InvalidArgument
from usageflow.v1 import keys_pb2

NOW_US = 1_700_000_000_000_000
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
ENUMS = st.integers(0, 4) | INT32
TIMES = st.none() | st.builds(Timestamp, seconds=INT64, nanos=INT32)
NAMES = st.text(max_size=70) | st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
PATHS = st.lists(st.sampled_from(["scopes", "role", "expire_time", "*", "name", ""]) | st.text(), max_size=3)
KEYS = st.builds(
    keys_pb2.ApiKey, name=NAMES, scopes=st.lists(ENUMS, max_size=4), environment=ENUMS, expire_time=TIMES
)
TOKENS = st.builds(keys_pb2.AdminToken, name=NAMES, role=ENUMS, application=st.text(), expire_time=TIMES)
MASKS = st.none() | st.builds(FieldMask, paths=PATHS)


def read(unpack: Callable[[Any], Any], message: Any) -> Any:
    """Returns what was read, None where it was refused with a field."""
    try:
        return unpack(message)
    except InvalidArgument as error:
        assert all(fault.field and fault.fix for fault in error.faults)  # noqa: PT017 - refusing is one of two good ends
        return None


@steady
@given(KEYS)
def test_keys(message: keys_pb2.ApiKey) -> None:
    spec = read(keys_unpack.key_spec, message)
    if spec is not None:
        read(lambda asked: ensure_good(CredentialKind.API_KEY, asked, NOW_US), spec)


@steady
@given(TOKENS)
def test_tokens(message: keys_pb2.AdminToken) -> None:
    spec = read(keys_unpack.token_spec, message)
    if spec is not None:
        read(lambda asked: ensure_good(CredentialKind.ADMIN_TOKEN, asked, NOW_US), spec)


@steady
@given(KEYS, TOKENS, MASKS)
def test_changes_set_what_can_be_changed_alone(
    key: keys_pb2.ApiKey, token: keys_pb2.AdminToken, mask: FieldMask | None
) -> None:
    of_key = keys_pb2.UpdateApiKeyRequest(api_key=key, update_mask=mask)
    of_token = keys_pb2.UpdateAdminTokenRequest(admin_token=token, update_mask=mask)
    assert set(read(keys_unpack.key_changes, of_key) or ()) <= {"scopes", "expires_us"}
    assert set(read(keys_unpack.token_changes, of_token) or ()) <= {"role", "expires_us"}


@steady
@given(st.none() | st.builds(Duration, seconds=INT64, nanos=INT32), TIMES)
def test_rotations(overlap: Duration | None, ends: Timestamp | None) -> None:
    rotation = keys_unpack.rotation(keys_pb2.RotateApiKeyRequest(overlap=overlap, expire_time=ends))
    read(ensure_overlap, rotation.overlap_us)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), {"scopes": frozenset({Scope.READ})}),
        (("expire_time",), {"expires_us": None}),
        (("*",), {"scopes": frozenset({Scope.READ}), "expires_us": None}),
    ],
)
def test_a_mask_says_what_is_set(paths: tuple[str, ...], expected: dict[str, Any]) -> None:
    key = keys_pb2.ApiKey(name="web", scopes=[keys_pb2.KEY_SCOPE_READ])
    request = keys_pb2.UpdateApiKeyRequest(api_key=key, update_mask=FieldMask(paths=paths))
    assert keys_unpack.key_changes(request) == expected


def test_a_role_is_read_by_its_name() -> None:
    token = keys_pb2.AdminToken(name="ann", role=keys_pb2.ADMIN_ROLE_OWNER, application="demo")
    spec = keys_unpack.token_spec(token)
    assert (spec.role, spec.application, spec.expires_us) == (Role.OWNER, "demo", None)

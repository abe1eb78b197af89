from __future__ import annotations

import pytest

from usageflow.domain.credentials import CredentialKind, Role, Scope
from usageflow.domain.errors import NotFound, PermissionDenied
from usageflow.rpc.access import Access
from usageflow.rpc.principal import Principal
from usageflow.rpc.server import credentials_needed
from usageflow.v1 import analytics_pb2, audit_pb2, decision_pb2, keys_pb2

NEEDED = credentials_needed()
KEY = Principal(CredentialKind.API_KEY, "app-1", "uf", "c", "demo", frozenset({Scope.READ}))
BOUND = Principal(CredentialKind.ADMIN_TOKEN, "app-1", "uf", "c", "demo", role=Role.OWNER)
OWNER = Principal(CredentialKind.ADMIN_TOKEN, "", "uf", "c", role=Role.OWNER)


def access(name: str) -> Access:
    (found,) = (each for method, each in NEEDED.items() if method.endswith(f"/{name}"))
    return found


def token(role: Role | None) -> Principal:
    return Principal(CredentialKind.ADMIN_TOKEN, "", "uf", "c", role=role)


def refused(name: str, caller: Principal) -> str:
    """Returns why a caller is refused, "" where he is not."""
    try:
        access(name).ensure(caller)
    except PermissionDenied as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("method", "role"),
    [
        ("Apply", Role.EDITOR),
        ("QueryUsage", Role.VIEWER),
        ("ListPending", Role.VIEWER),
        ("ReconcileBilling", Role.VIEWER),
        ("GetBillPreview", Role.VIEWER),
        ("FlushUsage", Role.EDITOR),
        ("MoveBillingParts", Role.EDITOR),
        ("HoldBilling", Role.EDITOR),
        ("ResumeDestination", Role.EDITOR),
        ("CorrectUsage", Role.OWNER),
        ("ListEvents", Role.VIEWER),
        ("TailEvents", Role.VIEWER),
        ("ListHeadroom", Role.VIEWER),
        ("ListAuditEntries", Role.VIEWER),
        ("Explain", Role.VIEWER),
        ("ExportSnapshot", Role.OWNER),
        ("EraseCustomer", Role.OWNER),
        ("EraseIdentity", Role.OWNER),
        ("ListApiKeys", Role.OWNER),
        ("CreateAdminToken", Role.OWNER),
        ("RevokeApiKey", Role.OWNER),
    ],
)
def test_a_role_opens_what_it_covers(method: str, role: Role) -> None:
    let_in = [each for each in Role if not refused(method, token(each))]
    assert let_in == [each for each in Role if each.covers(role)]
    assert refused(method, token(None)) == "ROLE_TOO_LOW"


@pytest.mark.parametrize(
    ("scope", "methods"),
    [
        (Scope.AGENT, {"Check", "BatchCheck", "Report", "RegisterEndpoints", "WatchPlan"}),
        (Scope.REPORT, {"Report", "RegisterEndpoints", "WatchPlan"}),
    ],
)
def test_scopes_of_the_data_plane_open_nothing_else(scope: Scope, methods: set[str]) -> None:
    caller = Principal(CredentialKind.API_KEY, "app-1", "uf", "c", "demo", frozenset({scope}))
    names = [method.rpartition("/")[2] for method in NEEDED]
    assert {name for name in names if not refused(name, caller)} == methods


def test_a_reading_key_only_looks() -> None:
    assert not refused("QueryUsage", KEY)
    assert not refused("Explain", KEY)
    assert refused("Check", KEY) == "SCOPE_MISSING"
    assert refused("Apply", KEY) == "CREDENTIAL_KIND"
    assert refused("Check", OWNER) == "CREDENTIAL_KIND"


@pytest.mark.parametrize("caller", [KEY, BOUND])
def test_who_belongs_to_an_application_stays_inside_it(caller: Principal) -> None:
    request = analytics_pb2.QueryUsageRequest()
    access("QueryUsage").confine(caller, request)
    access("QueryUsage").confine(caller, request)
    assert request.application == "demo"
    request.application = "other"
    with pytest.raises(NotFound) as raised:
        access("QueryUsage").confine(caller, request)
    assert raised.value.reason == "APPLICATION_NOT_FOUND"
    with pytest.raises(PermissionDenied):
        access("Explain").confine(caller, decision_pb2.ExplainRequest(application="other"))
    with pytest.raises(PermissionDenied) as denied:
        access("ListAdminTokens").confine(caller, keys_pb2.ListAdminTokensRequest())
    assert denied.value.reason == "BOUND_CREDENTIAL"


def test_nobody_else_is_confined() -> None:
    request = audit_pb2.ListAuditEntriesRequest()
    access("ListAuditEntries").confine(OWNER, request)
    assert request.application == ""
    access("ListAuditEntries").confine(BOUND, request)
    assert request.application == "demo"

"""API keys and admin tokens over gRPC, on a real service."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from tests.integration.conftest import Running
from usageflow.client._core.rpc_status import read_details
from usageflow.domain.keys import is_well_formed
from usageflow.runtime.bootstrap import FIRST_TOKEN
from usageflow.v1 import admin_pb2, audit_pb2, keys_pb2, plan_pb2, policies_pb2

AGENT, REPORT, READ = keys_pb2.KEY_SCOPE_AGENT, keys_pb2.KEY_SCOPE_REPORT, keys_pb2.KEY_SCOPE_READ
ACTIVE, EXPIRED, REVOKED = (
    keys_pb2.CREDENTIAL_STATE_ACTIVE,
    keys_pb2.CREDENTIAL_STATE_EXPIRED,
    keys_pb2.CREDENTIAL_STATE_REVOKED,
)


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


def in_a_day() -> Timestamp:
    return Timestamp(seconds=int(time.time()) + 86_400)


class Desk:
    """An owner at a service."""

    def __init__(self, running: Running) -> None:
        self.running = running

    async def do(self, method: str, **fields: Any) -> Any:
        call = getattr(self.running.admin, method)
        return await call(getattr(keys_pb2, f"{method}Request")(**fields), metadata=self.running.as_admin)

    async def refused(self, method: str, **fields: Any) -> tuple[grpc.StatusCode, str, Any]:
        """Returns the status, the reason and the details of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self.do(method, **fields)
        details = read_details(dict(failure.value.trailing_metadata())["grpc-status-details-bin"])
        return failure.value.code(), details.reason, failure.value

    async def create(self, name: str = "web", *scopes: Any, **fields: Any) -> keys_pb2.IssuedApiKey:
        key = keys_pb2.ApiKey(name=name, scopes=scopes or (AGENT,), **fields.pop("key", {}))
        issued: keys_pb2.IssuedApiKey = await self.do(
            "CreateApiKey", api_key=key, application="demo", **fields
        )
        return issued

    async def opens(self, secret: str) -> grpc.StatusCode:
        """Tells what a key of an agent gets."""
        try:
            await self.running.decision.RegisterEndpoints(
                plan_pb2.RegisterEndpointsRequest(), metadata=bearer(secret)
            )
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def audited(self) -> list[tuple[str, str, str]]:
        request = audit_pb2.ListAuditEntriesRequest(page_size=1000)
        page = await self.running.admin.ListAuditEntries(request, metadata=self.running.as_admin)
        return [(entry.method, entry.action, entry.resource_id) for entry in page.entries]


@pytest.fixture
def desk(service: Running) -> Desk:
    return Desk(service)


async def test_a_key_lives_from_its_creation_to_its_revocation(desk: Desk) -> None:
    issued = await desk.create("web", AGENT, key={"environment": keys_pb2.KEY_ENVIRONMENT_LIVE})
    assert is_well_formed(issued.secret)
    assert issued.secret.startswith(f"{issued.api_key.prefix}")
    assert issued.api_key.prefix.startswith("uf_live_")
    assert await desk.opens(issued.secret) is grpc.StatusCode.OK
    got = await desk.do("GetApiKey", application="demo", name="web")
    assert (got.state, got.etag, list(got.scopes)) == (ACTIVE, "1", [AGENT])
    revoked = await desk.do("RevokeApiKey", application="demo", name="web", etag="1")
    assert (revoked.state, revoked.etag) == (REVOKED, "2")
    started = time.monotonic()
    while await desk.opens(issued.secret) is grpc.StatusCode.OK:
        assert time.monotonic() - started < 1.5
        await asyncio.sleep(0.05)
    assert await desk.do("RevokeApiKey", application="demo", name="web") == revoked
    listed = await desk.do("ListApiKeys", application="demo")
    assert [key.name for key in listed.api_keys] == ["first"]
    listed = await desk.do("ListApiKeys", application="demo", show_deleted=True)
    assert [key.name for key in listed.api_keys] == ["first", "web"]
    uid = issued.api_key.uid
    assert (await desk.audited())[-2:] == [("CreateApiKey", "CREATED", uid), ("RevokeApiKey", "DELETED", uid)]
    code, reason, _ = await desk.refused(
        "UpdateApiKey", application="demo", api_key=keys_pb2.ApiKey(name="web", scopes=[READ])
    )
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CREDENTIAL_REVOKED")


async def test_a_rotated_key_goes_on_until_the_overlap_is_over(desk: Desk) -> None:
    first = await desk.create("web", REPORT, READ)
    second = await desk.do("RotateApiKey", application="demo", name="web")
    assert (second.api_key.name, list(second.api_key.scopes)) == ("web-2", [REPORT, READ])
    assert await desk.opens(first.secret) is await desk.opens(second.secret) is grpc.StatusCode.OK
    old = await desk.do("GetApiKey", application="demo", name="web")
    assert abs(old.expire_time.seconds - time.time() - 86_400) < 60
    third = await desk.do("RotateApiKey", application="demo", name="web-2", overlap=Duration(), new_name="c")
    assert third.api_key.name == "c"
    old = await desk.do("GetApiKey", application="demo", name="web-2")
    assert old.state == EXPIRED
    code, reason, _ = await desk.refused(
        "RotateApiKey", application="demo", name="c", overlap=Duration(seconds=91 * 86_400)
    )
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


async def test_an_update_changes_what_is_named(desk: Desk) -> None:
    await desk.create("web", AGENT)

    async def update(key: keys_pb2.ApiKey, *paths: str, etag: str = "") -> Any:
        mask = FieldMask(paths=paths)
        return await desk.do("UpdateApiKey", application="demo", api_key=key, update_mask=mask, etag=etag)

    ends = in_a_day()
    changed = await update(keys_pb2.ApiKey(name="web", expire_time=ends))
    assert (list(changed.scopes), changed.expire_time) == ([AGENT], ends)
    changed = await update(keys_pb2.ApiKey(name="web", scopes=[READ, REPORT]), "scopes", etag="2")
    assert (list(changed.scopes), changed.expire_time) == ([REPORT, READ], ends)
    changed = await update(keys_pb2.ApiKey(name="web", scopes=[READ]), "*")
    assert (list(changed.scopes), changed.HasField("expire_time"), changed.etag) == ([READ], False, "4")
    assert await update(keys_pb2.ApiKey(name="web"), "expire_time") == changed
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await update(keys_pb2.ApiKey(name="web", scopes=[AGENT]), etag="2")
    assert failure.value.code() is grpc.StatusCode.ABORTED
    assert b"etag" in dict(failure.value.trailing_metadata())["grpc-status-details-bin"]


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ({"name": "Web", "scopes": [AGENT]}, "api_key.name"),
        ({"name": "web"}, "api_key.scopes"),
        ({"name": "web", "scopes": [99]}, "api_key.scopes"),
        ({"name": "web", "scopes": [AGENT], "environment": 9}, "api_key.environment"),
        ({"name": "web", "scopes": [AGENT], "expire_time": Timestamp(seconds=1)}, "api_key.expire_time"),
        ({"name": "web", "scopes": [AGENT], "expire_time": Timestamp(seconds=2**62)}, "api_key.expire_time"),
    ],
)
async def test_what_is_wrong_is_named_with_its_fix(desk: Desk, key: dict[str, Any], field: str) -> None:
    code, _, failure = await desk.refused("CreateApiKey", application="demo", api_key=keys_pb2.ApiKey(**key))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    details = dict(failure.trailing_metadata())["grpc-status-details-bin"]
    assert field.encode() in details


async def test_a_request_under_an_id_is_carried_out_once(desk: Desk) -> None:
    first = await desk.create(request_id="r-1")
    again = await desk.create(request_id="r-1")
    assert (again.api_key, again.secret, again.secret_withheld) == (first.api_key, "", True)
    code, reason, _ = await desk.refused(
        "CreateApiKey",
        application="demo",
        api_key=keys_pb2.ApiKey(name="other", scopes=[READ]),
        request_id="r-1",
    )
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    rotated = await desk.do("RotateApiKey", application="demo", name="web", request_id="r-2")
    repeated = await desk.do("RotateApiKey", application="demo", name="web", request_id="r-2")
    assert (repeated.api_key, repeated.secret_withheld) == (rotated.api_key, True)
    code, _, _ = await desk.refused("RevokeApiKey", application="demo", name="web", request_id="r" * 65)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_only_checked_makes_no_key(desk: Desk) -> None:
    checked = await desk.create(validate_only=True)
    assert (checked.api_key.name, checked.secret, checked.secret_withheld) == ("web", "", False)
    code, _, _ = await desk.refused("GetApiKey", application="demo", name="web")
    assert code is grpc.StatusCode.NOT_FOUND
    await desk.create()
    code, _, _ = await desk.refused(
        "CreateApiKey",
        application="demo",
        api_key=keys_pb2.ApiKey(name="web", scopes=[READ]),
        validate_only=True,
    )
    assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_the_last_owner_cannot_lock_everybody_out(desk: Desk) -> None:
    before = await desk.audited()
    owner = keys_pb2.AdminToken(name=FIRST_TOKEN, role=keys_pb2.ADMIN_ROLE_EDITOR)
    ends = keys_pb2.AdminToken(name=FIRST_TOKEN, expire_time=in_a_day())
    for method, fields in (
        ("RevokeAdminToken", {"name": FIRST_TOKEN}),
        ("RevokeAdminToken", {"name": FIRST_TOKEN, "validate_only": True}),
        ("UpdateAdminToken", {"admin_token": owner}),
        ("UpdateAdminToken", {"admin_token": ends}),
        ("RotateAdminToken", {"name": FIRST_TOKEN, "expire_time": in_a_day()}),
    ):
        code, reason, _ = await desk.refused(method, **fields)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LAST_OWNER")
    assert await desk.audited() == before
    issued = await desk.do("RotateAdminToken", name=FIRST_TOKEN)
    assert issued.admin_token.name == f"{FIRST_TOKEN}-2"
    request = keys_pb2.RevokeAdminTokenRequest(name=FIRST_TOKEN)
    await desk.running.admin.RevokeAdminToken(request, metadata=bearer(issued.secret))


async def test_lists_come_in_pages_of_their_own(desk: Desk) -> None:
    for name in "abcde":
        await desk.create(name)
    names, token = [], ""
    while True:
        page = await desk.do("ListApiKeys", application="demo", page_size=2, page_token=token)
        names += [key.name for key in page.api_keys]
        token = page.next_page_token
        if not token:
            break
    assert names == ["a", "b", "c", "d", "e", "first"]
    page = await desk.do("ListApiKeys", application="demo", page_size=2)
    for wrong in (page.next_page_token[:-2], "nonsense", "é"):
        code, _, _ = await desk.refused("ListApiKeys", application="demo", page_token=wrong)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _, _ = await desk.refused(
        "ListApiKeys", application="demo", page_token=page.next_page_token, show_deleted=True
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    few = {"application": "demo", "filter": 'name = "a" OR name = "e"', "order_by": "name desc"}
    listed = await desk.do("ListApiKeys", **few)
    assert [each.name for each in listed.api_keys] == ["e", "a"]
    first = await desk.do("ListApiKeys", **few, page_size=1)
    second = await desk.do("ListApiKeys", **few, page_size=1, page_token=first.next_page_token)
    assert ([each.name for each in second.api_keys], second.next_page_token) == (["a"], "")
    code, _, _ = await desk.refused("ListApiKeys", application="demo", filter="secret = 1")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _, _ = await desk.refused("ListApiKeys", application="demo", page_size=-1)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_last_use_is_written_at_the_end(desk: Desk) -> None:
    issued = await desk.create()
    await desk.opens(issued.secret)
    last_used = desk.running.embedded.last_used
    assert last_used is not None
    await last_used.flush()
    key = await desk.do("GetApiKey", application="demo", name="web")
    assert abs(key.last_use_time.seconds - time.time()) < 60
    assert key.etag == issued.api_key.etag


async def test_the_audit_log_holds_ids_and_nothing_secret(desk: Desk) -> None:
    """Secrets and identities are planted wherever a write takes them."""
    planted = "planted-user-7@example.test"
    customer = policies_pb2.Customer(name="acme", identities=[planted], stripe_customer="cus_planted")
    block = policies_pb2.Block(methods=["*"], path="/x", identity=planted, reason=planted)
    request = admin_pb2.ApplyRequest(application="demo", customers=[customer], blocks=[block])
    await desk.running.admin.Apply(request, metadata=desk.running.as_admin)
    issued = await desk.create()
    rotated = await desk.do("RotateApiKey", application="demo", name="web")
    token = keys_pb2.AdminToken(name="ann", role=keys_pb2.ADMIN_ROLE_OWNER)
    admin = await desk.do("CreateAdminToken", admin_token=token)
    await desk.do("RevokeAdminToken", name="ann")
    secrets = [issued.secret, rotated.secret, admin.secret, desk.running.credentials.admin_token]
    dumped = await desk.running.embedded.database.read(
        lambda connection: str(connection.exec_driver_sql("SELECT * FROM audit_log").all())
    )
    assert "CreateAdminToken" in dumped
    for secret in (*secrets, planted, "cus_planted"):
        assert secret not in dumped
        assert secret[-20:] not in dumped

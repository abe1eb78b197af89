"""The standard methods over a real channel: masks, etags, pages, request ids, deletion and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.integration.conftest import Running
from usageflow.runtime.bootstrap import ensure_application, ensure_policies
from usageflow.v1 import (
    admin_pb2,
    application_methods_pb2,
    directory_methods_pb2,
    policies_pb2,
    policy_methods_pb2,
    revisions_pb2,
)

APP = "demo"


class Admin:
    """Calls a method by its name with the fields of its request."""

    def __init__(self, service: Running) -> None:
        self._service = service

    async def __call__(self, method: str, **fields: Any) -> Any:
        described = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods_by_name[method]
        request = _MESSAGES[described.input_type.name](**fields)
        return await getattr(self._service.admin, method)(request, metadata=self._service.as_admin)

    async def refused(self, method: str, **fields: Any) -> tuple[str, str, dict[str, str]]:
        """Returns code, reason and metadata of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self(method, **fields)
        status = rpc_status.from_call(raised.value)  # type: ignore[arg-type]
        info = error_details_pb2.ErrorInfo()
        assert status is not None
        assert status.details[0].Unpack(info)
        return raised.value.code().name, info.reason, dict(info.metadata)


def _messages() -> Iterator[tuple[str, Any]]:
    for module in (
        admin_pb2,
        application_methods_pb2,
        directory_methods_pb2,
        policy_methods_pb2,
        revisions_pb2,
    ):
        for name in module.DESCRIPTOR.message_types_by_name:
            yield name, getattr(module, name)


_MESSAGES = dict(_messages())


@pytest.fixture
def admin(service: Running) -> Admin:
    return Admin(service)


def policy(name: str, path: str = "/x", **fields: Any) -> policies_pb2.Policy:
    return policies_pb2.Policy(name=name, match=policies_pb2.Match(path=path), **fields)


def hourly(limit: int) -> policies_pb2.Limit:
    return policies_pb2.Limit(
        limit=limit, window=Duration(seconds=3600), scope=policies_pb2.LIMIT_SCOPE_SHARED
    )


def test_every_method_of_the_contract_is_there(service: Running) -> None:
    handler = service.embedded.plane.handler
    for method in admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods:
        assert callable(getattr(handler, method.name)), method.name


async def test_a_policy_is_made_changed_deleted_and_brought_back(admin: Admin) -> None:
    made = await admin("CreatePolicy", application=APP, policy=policy("new", limits=[hourly(5)]))
    assert (made.name, made.limits[0].limit, bool(made.etag), made.HasField("create_time")) == (
        "new",
        5,
        True,
        True,
    )
    assert await admin("GetPolicy", application=APP, name="new") == made
    assert (await admin.refused("CreatePolicy", application=APP, policy=policy("new")))[:2] == (
        "ALREADY_EXISTS",
        "ALREADY_EXISTS",
    )
    changed = await admin(
        "UpdatePolicy",
        application=APP,
        policy=policy("new", path="/y", message="slower", priority=7),
        update_mask=FieldMask(paths=["match.path", "message"]),
        etag=made.etag,
    )
    assert (changed.match.path, changed.message, changed.priority, changed.limits) == (
        "/y",
        "slower",
        0,
        made.limits,
    )
    assert changed.revision == made.revision + 1
    deleted = await admin("DeletePolicy", application=APP, name="new", etag=changed.etag)
    assert deleted.HasField("delete_time")
    assert (await admin.refused("UpdatePolicy", application=APP, policy=policy("new")))[0] == "NOT_FOUND"
    listed = await admin("ListPolicies", application=APP, filter="name = new", show_deleted=True)
    assert [each.name for each in listed.policies] == ["new"]
    assert not (await admin("ListPolicies", application=APP, filter="name = new")).policies
    back = await admin("UndeletePolicy", application=APP, name="new")
    assert (back.match.path, back.create_time, back.HasField("delete_time")) == (
        "/y",
        made.create_time,
        False,
    )
    assert (await admin.refused("UndeletePolicy", application=APP, name="new"))[1] == "NOT_DELETED"


async def test_of_two_editors_with_one_etag_one_wins_and_the_other_learns_the_present_etag(
    admin: Admin,
) -> None:
    made = await admin("CreatePolicy", application=APP, policy=policy("raced"))

    async def edit(message: str) -> Any:
        mask = FieldMask(paths=["message"])
        wanted = policy("raced", message=message)
        return await admin("UpdatePolicy", application=APP, policy=wanted, update_mask=mask, etag=made.etag)

    answers = await asyncio.gather(edit("a"), edit("b"), return_exceptions=True)
    lost = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert (len(won), [error.code().name for error in lost]) == (1, ["ABORTED"])
    _, _, metadata = await admin.refused(
        "UpdatePolicy", application=APP, policy=policy("raced", message="c"), etag=made.etag
    )
    assert metadata == {"etag": won[0].etag}


async def test_fifty_writers_at_once_lose_no_revision(admin: Admin) -> None:
    before = (await admin("GetRevision", application=APP)).revision.revision
    made = await asyncio.gather(
        *(admin("CreatePolicy", application=APP, policy=policy(f"w-{n}")) for n in range(50))
    )
    assert sorted(each.revision for each in made) == list(range(before + 1, before + 51))
    listed = await admin("ListPolicies", application=APP, filter="name:w-", page_size=100)
    assert len(listed.policies) == 50


async def test_a_fault_names_the_field_of_the_resource(admin: Admin) -> None:
    wrong = policy("wrong", path="no-slash", strategy="nobody", limits=[hourly(0)])
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await admin("CreatePolicy", application=APP, policy=wrong)
    assert "policy.limits[0].limit" in (raised.value.details() or "")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await admin("CreatePolicy", application=APP, policy=policy("wrong", strategy="nobody"))
    assert (raised.value.details() or "").startswith("policy.strategy: there is no strategy")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await admin("DeleteStrategy", application=APP, name="by-user")
    assert "would be wrong" in (raised.value.details() or "")


async def test_pages_follow_one_another_while_things_change(admin: Admin) -> None:
    await asyncio.gather(
        *(
            admin("CreatePolicy", application=APP, policy=policy(f"p-{n:02}", priority=n % 3))
            for n in range(12)
        )
    )
    seen, token = [], ""
    for turn in range(5):
        page = await admin(
            "ListPolicies",
            application=APP,
            filter='name = "p-*"',
            order_by="priority desc",
            page_size=5,
            page_token=token,
        )
        seen += [(each.priority, each.name) for each in page.policies]
        token = page.next_page_token
        if turn == 0:
            await admin("DeletePolicy", application=APP, name=page.policies[-1].name)
        if not token:
            break
    assert len(seen) == len(set(seen)) == 12
    assert [priority for priority, _ in seen] == sorted((n % 3 for n in range(12)), reverse=True)
    first = await admin("ListPolicies", application=APP, page_size=1)
    refused = await admin.refused(
        "ListPolicies", application=APP, page_token=first.next_page_token, filter="priority > 1"
    )
    assert refused[:1] == ("INVALID_ARGUMENT",)


async def test_a_request_id_is_carried_out_once(admin: Admin) -> None:
    fields: dict[str, Any] = {"application": APP, "request_id": "r-1"}
    made = await admin("CreatePolicy", policy=policy("once"), **fields)
    assert await admin("CreatePolicy", policy=policy("once"), **fields) == made
    assert (await admin.refused("CreatePolicy", policy=policy("other"), **fields))[1] == "REQUEST_ID_REUSED"
    assert (
        await admin.refused("CreatePolicy", policy=policy("other"), application=APP, request_id="x" * 65)
    )[0] == "INVALID_ARGUMENT"


async def test_what_is_only_validated_is_not_saved(admin: Admin) -> None:
    before = (await admin("GetRevision", application=APP)).revision.revision
    for method, fields in (
        ("CreatePolicy", {"policy": policy("dry")}),
        ("CreateCustomer", {"customer": policies_pb2.Customer(name="dry")}),
        ("CreateBlock", {"block": policies_pb2.Block(path="/dry")}),
        ("CreateEndpoint", {"endpoint": {"name": "GET /dry"}}),
        ("DeleteStrategy", {"name": "nobody"}),
    ):
        if method == "DeleteStrategy":
            assert (await admin.refused(method, application=APP, validate_only=True, **fields))[
                0
            ] == "NOT_FOUND"
        else:
            await admin(method, application=APP, validate_only=True, **fields)
    await admin("CreateApplication", application={"name": "dry"}, validate_only=True)
    assert (await admin("GetRevision", application=APP)).revision.revision == before
    assert (await admin.refused("GetCustomer", application=APP, name="dry"))[0] == "NOT_FOUND"
    assert (await admin.refused("GetApplication", name="dry"))[0] == "NOT_FOUND"


async def test_a_customer_needs_no_revision_and_keeps_identities_that_are_read_and_sent_back(
    admin: Admin,
) -> None:
    before = (await admin("GetRevision", application=APP)).revision.revision
    wanted = policies_pb2.Customer(name="acme", identities=["u-1", "u-2"], stripe_customer="cus_1")
    made = await admin("CreateCustomer", application=APP, customer=wanted)
    assert all(each.startswith("hash:") and len(each) == 17 for each in made.identities)
    found = await admin("ListCustomers", application=APP, filter='identity = "u-2"')
    assert [each.name for each in found.customers] == ["acme"]
    made.identities.append("u-3")
    mask = FieldMask(paths=["identities"])
    changed = await admin("UpdateCustomer", application=APP, customer=made, update_mask=mask, etag=made.etag)
    assert (len(changed.identities), changed.stripe_customer) == (3, "cus_1")
    other = policies_pb2.Customer(name="other", identities=["u-3"])
    assert (await admin.refused("CreateCustomer", application=APP, customer=other))[0] == "INVALID_ARGUMENT"
    await admin("DeleteCustomer", application=APP, name="acme")
    await admin("CreateCustomer", application=APP, customer=other)
    refused = await admin.refused("UndeleteCustomer", application=APP, name="acme")
    assert refused[0] == "INVALID_ARGUMENT"
    await admin("DeleteCustomer", application=APP, name="other")
    back = await admin("UndeleteCustomer", application=APP, name="acme")
    assert back.identities == changed.identities
    assert (await admin("GetRevision", application=APP)).revision.revision == before


async def test_a_block_is_named_by_its_id(admin: Admin) -> None:
    wanted = policies_pb2.Block(path="/secret", identity="mallory", reason="abuse")
    made = await admin("CreateBlock", application=APP, block=wanted)
    assert (len(made.id), made.identity[:5]) == (20, "hash:")
    assert (await admin.refused("CreateBlock", application=APP, block=wanted))[0] == "ALREADY_EXISTS"
    made.reason = "fraud"
    changed = await admin("UpdateBlock", application=APP, block=made, etag=made.etag)
    assert (changed.reason, changed.path, changed.etag != made.etag) == ("fraud", "/secret", True)
    moved = policies_pb2.Block(id=made.id, path="/other")
    assert (await admin.refused("UpdateBlock", application=APP, block=moved))[0] == "INVALID_ARGUMENT"
    await admin("DeleteBlock", application=APP, id=made.id)
    assert made.id not in [each.id for each in (await admin("ListBlocks", application=APP)).blocks]
    back = await admin("UndeleteBlock", application=APP, id=made.id)
    assert back.reason == "fraud"


async def test_an_application_that_is_deleted_is_not_there_until_it_is_brought_back(
    admin: Admin, service: Running
) -> None:
    settings = {"name": "shop", "decision_log_percent": 5}
    made = await admin("CreateApplication", application=settings)
    assert (made.retention_days, made.decision_log_percent, made.capture) == (36, 5, 2)
    changed = await admin("UpdateApplication", application={"name": "shop", "retention_days": 90})
    assert (changed.retention_days, changed.decision_log_percent) == (90, 5)
    await admin("CreatePolicy", application="shop", policy=policy("a"))
    await service.embedded.decision.snapshots.refresh()
    assert len(service.embedded.decision.snapshots.in_force()) == 2
    await admin("DeleteApplication", name="shop")
    await service.embedded.decision.snapshots.refresh()
    assert len(service.embedded.decision.snapshots.in_force()) == 1
    assert (await admin.refused("GetPolicy", application="shop", name="a"))[0] == "NOT_FOUND"
    assert (await admin.refused("CreateApplication", application={"name": "shop"}))[0] == "ALREADY_EXISTS"
    await admin("UndeleteApplication", name="shop")
    assert (await admin("GetPolicy", application="shop", name="a")).name == "a"


async def test_endpoints_are_registered_by_hand_too(admin: Admin) -> None:
    made = await admin("CreateEndpoint", application=APP, endpoint={"name": "get /by-hand/:id"})
    assert (made.name, made.number > 0) == ("GET /by-hand/{id}", True)
    listed = await admin("ListEndpoints", application=APP, filter='template = "/by-*"')
    assert [each.name for each in listed.endpoints] == [made.name]
    await admin("DeleteEndpoint", application=APP, name=made.name)
    assert not (await admin("ListEndpoints", application=APP, filter='template = "/by-*"')).endpoints
    back = await admin("UndeleteEndpoint", application=APP, name=made.name)
    assert back.number == made.number


async def test_revisions_are_listed_compared_tagged_and_gone_back_to(admin: Admin) -> None:
    start = (await admin("GetRevision", application=APP)).revision.revision
    await admin("TagRevision", application=APP, tag="good")
    await admin(
        "CreatePolicy", application=APP, policy=policy("later", limits=[hourly(5)]), message="why not"
    )
    changed = policy("later", limits=[hourly(6)])
    await admin("UpdatePolicy", application=APP, policy=changed, update_mask=FieldMask(paths=["limits"]))
    diff = await admin("DiffRevisions", application=APP)
    (difference,) = diff.differences
    (field,) = difference.fields
    assert (difference.name, field.path, field.before.number_value, field.after.number_value) == (
        "later",
        "limits[default].limit",
        5,
        6,
    )
    listed = (await admin("ListRevisions", application=APP, page_size=2)).revisions
    assert [(each.revision, each.current, each.message) for each in listed] == [
        (start + 2, True, ""),
        (start + 1, False, "why not"),
    ]
    rolled = await admin("RollBack", application=APP, revision="good")
    assert (rolled.revision, [change.name for change in rolled.changes]) == (start + 3, ["later"])
    now = await admin("GetRevision", application=APP)
    assert (now.revision.message, "later" in [each.name for each in now.policies]) == (
        f"roll back to {start}",
        False,
    )
    assert (await admin("GetRevision", application=APP, revision="good")).revision.tags == ["good"]
    await admin("DeleteTag", application=APP, tag="good")
    assert (await admin.refused("GetRevision", application=APP, revision="good"))[0] == "NOT_FOUND"


async def test_going_back_leaves_no_customer_on_a_plan_that_is_gone(admin: Admin) -> None:
    start = (await admin("GetRevision", application=APP)).revision.revision
    await admin("CreateCustomerPlan", application=APP, plan=policies_pb2.CustomerPlan(name="gold"))
    await admin("CreateCustomer", application=APP, customer=policies_pb2.Customer(name="rich", plan="gold"))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await admin("RollBack", application=APP, revision=str(start))
    assert "the customer 'rich' is on it" in (raised.value.details() or "")


async def test_a_service_whose_first_application_was_deleted_starts_again(
    admin: Admin, service: Running
) -> None:
    await admin("DeleteApplication", name=APP)
    control = service.embedded.control
    assert not await ensure_application(control, service.credentials)
    assert not await ensure_policies(control, service.embedded.applying)
    await admin("UndeleteApplication", name=APP)
    assert not await ensure_application(control, service.credentials)

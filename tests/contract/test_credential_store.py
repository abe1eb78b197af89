"""The contract of CredentialStore."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.causes import NOBODY, by
from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import Credential, CredentialKind, Role, Scope
from usageflow.domain.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from usageflow.domain.listing import EVERYTHING, Comparison, Condition, Operator, Order, Query
from usageflow.storage.audit import AuditLog, AuditQuery
from usageflow.storage.credentials import CredentialChange, CredentialSet, CredentialStore
from usageflow.storage.ports import ControlStore

TOKENS = CredentialSet(CredentialKind.ADMIN_TOKEN)
ANN = by("ann")


def token(number: int, **fields: Any) -> Credential:
    secret = number.to_bytes(32, "big")
    made = Credential(
        f"t-{number}", CredentialKind.ADMIN_TOKEN, "", "uf_admin_ab", secret, name=f"n-{number}"
    )
    return replace(made, **({"role": Role.OWNER} | fields))


def key(number: int, application_id: str, **fields: Any) -> Credential:
    of_key: dict[str, Any] = {"kind": CredentialKind.API_KEY, "application_id": application_id, "role": None}
    of_key |= {"prefix": "uf_live_ab", "scopes": frozenset({Scope.READ}), "credential_id": f"k-{number}"}
    return token(number, **(of_key | fields))


def request(request_id: str, payload: bytes = b"1", method: str = "CreateApiKey") -> Cause:
    change = Change(Action.CREATED, "api_key", "name", "id")
    return replace(ANN, method=method, request_id=request_id, payload_hash=payload, changes=(change,))


async def make(store: CredentialStore, *credentials: Credential) -> None:
    for each in credentials:
        await store.write_credentials(CredentialChange(new=each), cause=NOBODY)


async def change(store: CredentialStore, present: Credential, **fields: Any) -> Credential:
    written, fresh = await store.write_credentials(
        CredentialChange(changed=replace(present, **fields)), cause=NOBODY
    )
    assert fresh
    return written


async def test_what_is_made_is_found_by_name_and_by_its_hash(
    credentials: CredentialStore, control: ControlStore, clock: ManualClock, application_id: str
) -> None:
    made = key(1, application_id, expires_us=9, created_by="t-1")
    stored, fresh = await credentials.write_credentials(CredentialChange(new=made), cause=NOBODY)
    expected = replace(made, created_us=clock.now_us(), application="demo")
    assert (stored, fresh) == (expected, True)
    where = CredentialSet(CredentialKind.API_KEY, application_id)
    assert await credentials.get_credential(where, "n-1") == expected
    assert await control.find_credential(made.secret_hash) == expected
    assert await credentials.get_credential(TOKENS, "n-1") is None


async def test_names_are_unique_in_their_set_alone(
    credentials: CredentialStore, control: ControlStore, application_id: str
) -> None:
    other = await control.create_application("other", [], cause=NOBODY)
    await make(credentials, key(1, application_id), token(2, name="n-1"))
    await make(credentials, key(3, other.application_id, name="n-1"))
    for again in (key(4, application_id, name="n-1"), token(5, name="n-1")):
        with pytest.raises(AlreadyExists):
            await make(credentials, again)
    where = CredentialSet(CredentialKind.API_KEY, application_id)
    assert await credentials.names_of_credentials(where) == {"n-1"}


async def test_keys_of_no_application_are_refused(credentials: CredentialStore) -> None:
    with pytest.raises(NotFound):
        await make(credentials, key(1, "nobody"))


async def test_lists_are_in_order_of_names_and_go_on_after_one(
    credentials: CredentialStore, application_id: str
) -> None:
    await make(credentials, *(key(number, application_id) for number in (3, 1, 2, 4)))
    where = CredentialSet(CredentialKind.API_KEY, application_id)
    found = await credentials.get_credential(where, "n-2")
    assert found is not None
    await change(credentials, found, revoked_us=7)

    async def names(**fields: Any) -> list[str]:
        query = Query((Order("name"),), **({"limit": 9} | fields))
        return [each.name for each in await credentials.list_credentials(where, query)]

    assert await names() == ["n-1", "n-3", "n-4"]
    assert await names(show_deleted=True, after=("n-1",), limit=2) == ["n-2", "n-3"]
    assert await credentials.names_of_credentials(where) == {"n-1", "n-2", "n-3", "n-4"}
    everything = Query((Order("name"),), 9, show_deleted=True)
    assert list(await credentials.list_credentials(TOKENS, everything)) == []


async def test_lists_are_filtered_and_sorted(credentials: CredentialStore, application_id: str) -> None:
    both = frozenset({Scope.AGENT, Scope.READ})
    await make(credentials, *(key(number, application_id) for number in (1, 2)))
    await make(credentials, key(3, application_id, scopes=both, expires_us=5, created_by="ann"))
    await make(credentials, key(4, application_id, scopes=both))
    where = CredentialSet(CredentialKind.API_KEY, application_id)

    async def names(condition: Condition, *order: Order) -> list[str]:
        query = Query((*order, Order("name")), 9, condition)
        return [each.name for each in await credentials.list_credentials(where, query)]

    assert await names(Comparison("scopes", Operator.HAS, "AGENT")) == ["n-3", "n-4"]
    assert await names(Comparison("creator", Operator.EQUAL, "ann")) == ["n-3"]
    assert await names(EVERYTHING, Order("expire_time")) == ["n-1", "n-2", "n-4", "n-3"]
    assert await names(EVERYTHING, Order("expire_time", descending=True)) == ["n-3", "n-1", "n-2", "n-4"]
    with pytest.raises(InvalidArgument):
        await names(Comparison("secret_hash", Operator.EQUAL, "x"))


async def test_a_change_raises_the_version_and_an_old_one_is_refused(
    credentials: CredentialStore, application_id: str
) -> None:
    await make(credentials, key(1, application_id))
    where = CredentialSet(CredentialKind.API_KEY, application_id)
    first = await credentials.get_credential(where, "n-1")
    assert first is not None
    second = await change(credentials, first, scopes=frozenset(Scope), expires_us=5)
    assert (second.version, second.scopes, second.expires_us) == (first.version + 1, frozenset(Scope), 5)
    with pytest.raises(Aborted) as raised:
        await change(credentials, first, expires_us=6)
    assert raised.value.etag == second.etag
    assert await credentials.get_credential(where, "n-1") == second
    with pytest.raises(NotFound):
        await change(credentials, key(2, application_id))


@pytest.mark.parametrize(
    "fields", [{"revoked_us": 1}, {"expires_us": 2**50}, {"role": Role.EDITOR}, {"role": Role.VIEWER}]
)
async def test_the_last_owner_stays_one(credentials: CredentialStore, fields: dict[str, Any]) -> None:
    application = token(2, expires_us=2**50)
    await make(credentials, token(1), application, token(3, role=Role.EDITOR))
    first = await credentials.get_credential(TOKENS, "n-1")
    assert first is not None
    with pytest.raises(FailedPrecondition) as raised:
        await change(credentials, first, **fields)
    assert raised.value.reason == "LAST_OWNER"
    assert await credentials.get_credential(TOKENS, "n-1") == first
    await make(credentials, token(4))
    await change(credentials, first, **fields)


async def test_of_two_last_owners_only_one_can_be_ended(
    credentials: CredentialStore, other_credentials: CredentialStore
) -> None:
    await make(credentials, token(1), token(2))
    first, second = [await credentials.get_credential(TOKENS, name) for name in ("n-1", "n-2")]
    assert first is not None
    assert second is not None
    done = await asyncio.gather(
        change(credentials, first, revoked_us=1),
        change(other_credentials, second, revoked_us=1),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in done) == ["Credential", "FailedPrecondition"]


async def test_a_rotation_is_whole_or_nothing(credentials: CredentialStore) -> None:
    await make(credentials, token(1), token(2))
    old = await credentials.get_credential(TOKENS, "n-1")
    assert old is not None
    ending = replace(old, expires_us=9)
    with pytest.raises(AlreadyExists):
        await credentials.write_credentials(CredentialChange(token(3, name="n-2"), ending), cause=NOBODY)
    assert await credentials.get_credential(TOKENS, "n-1") == old
    made, _ = await credentials.write_credentials(CredentialChange(token(3), ending), cause=NOBODY)
    assert made.name == "n-3"
    assert await credentials.get_credential(TOKENS, "n-1") == replace(ending, version=old.version + 1)


async def test_what_is_only_checked_is_not_stored(
    credentials: CredentialStore, audit: AuditLog, application_id: str
) -> None:
    new = CredentialChange(new=key(1, application_id))
    checked, fresh = await credentials.write_credentials(new, cause=request("r"), validate_only=True)
    assert (checked.name, fresh) == ("n-1", False)
    assert (
        await credentials.names_of_credentials(CredentialSet(CredentialKind.API_KEY, application_id)) == set()
    )
    assert await credentials.credential_of_request(request("r")) is None
    rows, head = await audit.audit_entries(AuditQuery())
    assert (list(rows), head.sequence) == ([], 0)


async def test_a_request_that_is_repeated_changes_nothing(
    credentials: CredentialStore, other_credentials: CredentialStore, audit: AuditLog, application_id: str
) -> None:
    made = [CredentialChange(new=key(number, application_id)) for number in (1, 2)]
    done = await asyncio.gather(
        credentials.write_credentials(made[0], cause=request("r")),
        other_credentials.write_credentials(made[1], cause=request("r")),
    )
    assert sorted(fresh for _, fresh in done) == [False, True]
    assert done[0][0] == done[1][0]
    assert await credentials.credential_of_request(request("r")) == done[0][0]
    rows, _ = await audit.audit_entries(AuditQuery())
    assert [row.link.entry.request_id for row in rows] == ["r"]


async def test_another_request_under_the_same_id_is_refused_but_not_anothers(
    credentials: CredentialStore, application_id: str
) -> None:
    await credentials.write_credentials(CredentialChange(new=key(1, application_id)), cause=request("r"))
    for other in (request("r", b"2"), request("r", method="RotateApiKey")):
        with pytest.raises(AlreadyExists) as raised:
            await credentials.credential_of_request(other)
        assert raised.value.reason == "REQUEST_ID_REUSED"
        with pytest.raises(AlreadyExists):
            await credentials.write_credentials(CredentialChange(new=key(2, application_id)), cause=other)
    bob = replace(request("r", b"2"), actor=by("bob").actor)
    _, fresh = await credentials.write_credentials(CredentialChange(new=key(2, application_id)), cause=bob)
    assert fresh


async def test_uses_are_stored_beside_the_version_and_never_go_back(credentials: CredentialStore) -> None:
    await make(credentials, token(1), token(2))
    await credentials.record_uses({"t-1": 50, "nobody": 1})
    await credentials.record_uses({"t-1": 40, "t-2": 60})
    found = [await credentials.get_credential(TOKENS, name) for name in ("n-1", "n-2")]
    assert [(each.last_used_us, each.version) for each in found if each] == [(50, 1), (60, 1)]
    await credentials.record_uses({})


async def test_the_audit_log_is_read_in_order_with_names_and_by_filters(
    credentials: CredentialStore, audit: AuditLog, clock: ManualClock, application_id: str
) -> None:
    start_us = clock.now_us()
    actor = replace(ANN.actor, credential_id="t-1")
    await make(credentials, token(1))
    for number, (kind, where) in enumerate([("api_key", application_id), ("admin_token", "")] * 2):
        clock.advance(seconds=1)
        cause = replace(request(f"r-{number}"), actor=actor if number else ANN.actor)
        cause = replace(cause, changes=(Change(Action.CREATED, kind, "name", f"id-{number}"),))
        made = key(10 + number, where) if where else token(10 + number)
        await credentials.write_credentials(CredentialChange(new=made), cause=cause)

    async def found(**fields: Any) -> list[str]:
        rows, head = await audit.audit_entries(AuditQuery(**fields))
        assert head.sequence == 4
        return [row.link.entry.resource_id for row in rows]

    assert await found() == ["id-0", "id-1", "id-2", "id-3"]
    assert await found(after=1, limit=2) == ["id-1", "id-2"]
    assert await found(actor_id="t-1") == ["id-1", "id-2", "id-3"]
    assert await found(application_id=application_id) == ["id-0", "id-2"]
    assert await found(kind="admin_token") == ["id-1", "id-3"]
    assert await found(since_us=start_us + 2_000_000, until_us=start_us + 4_000_000) == ["id-1", "id-2"]
    (first, second, *_), head = await audit.audit_entries(AuditQuery())
    assert (first.actor_name, first.application) == ("", "demo")
    assert (second.actor_name, second.application) == ("n-1", "")
    assert len(head.digest) == 32

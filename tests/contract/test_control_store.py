"""The contract of ControlStore."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.causes import NOBODY, by
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import Credential, CredentialKind, Role, Scope
from usageflow.domain.errors import FailedPrecondition, NotFound, UsageFlowError
from usageflow.domain.policies import Block, Limit, Match, Metering, Policy, PolicySet, Strategy
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import Application, ApplicationState, ChangeSet, ControlStore, NumberKind

_LIMIT = Limit.model_validate({"name": "hourly", "limit": 100, "window": "1h30m"})
_STRATEGY = {"name": "by-user", "sources": [{"in": "header", "name": "X-User"}]}
_POLICY = Policy(
    name="transactions",
    match=Match(methods=("POST",), path="/api/*"),
    limits=(_LIMIT,),
    metering=Metering(price="price_123"),
    message="Genug für heute ☂",
)
POLICIES = PolicySet(strategies=(Strategy.model_validate(_STRATEGY),), policies=(_POLICY,))
BLOCK = Block(methods=("GET", "PUT"), path="/internal/*", identity="user-9", reason="abuse")
ENDPOINT, POLICY, ATTRIBUTE = NumberKind.ENDPOINT, NumberKind.POLICY, NumberKind.ATTRIBUTE


_NO_CHANGE: dict[str, Any] = {"policies": None, "blocks_upserted": (), "blocks_deleted": (), "names": ()}


def change_of(**changes: Any) -> ChangeSet:
    """Returns a change set; what is not named is empty."""
    return ChangeSet(**(_NO_CHANGE | changes))


async def carry_out(control: ControlStore, application_id: str, change: ChangeSet) -> ApplicationState:
    """Changes the application from whatever it is now and returns what it became."""
    now = (await control.load(application_id)).application
    await control.change(application_id, change, cause=by("ann"), expected_plan_version=now.plan_version)
    return await control.load(application_id)


def credential(number: int, kind: CredentialKind = CredentialKind.API_KEY) -> Credential:
    """A credential that is stored as it is made: named, and made by the clock of these tests."""
    return Credential(
        f"credential-{number}",
        kind,
        "",
        f"uf_{number}",
        bytes([number]) * 32,
        name=f"name-{number}",
        scopes=frozenset({Scope.REPORT, Scope.READ}) if kind is CredentialKind.API_KEY else frozenset(),
        role=None if kind is CredentialKind.API_KEY else Role.EDITOR,
        created_us=ManualClock().now_us(),
    )


async def test_a_new_application_is_at_revision_0_with_an_empty_policy_set(control: ControlStore) -> None:
    application = await control.create_application("demo", [], cause=NOBODY)
    assert (application.name, application.revision) == ("demo", 0)
    state = await control.load(application.application_id)
    assert state == ApplicationState(application, PolicySet(), (), {}, ())
    assert await control.policies_at(application.application_id, 0) == PolicySet()


async def test_an_application_is_found_by_name(control: ControlStore) -> None:
    application = await control.create_application("demo", [], cause=NOBODY)
    await control.create_application("other", [], cause=NOBODY)
    assert await control.find_application("demo") == application
    assert await control.find_application("Demo") is None


async def test_credentials_belong_to_the_application_and_admin_tokens_to_none(control: ControlStore) -> None:
    token = credential(2, CredentialKind.ADMIN_TOKEN)
    application = await control.create_application("demo", [credential(1), token], cause=NOBODY)
    found = await control.find_credential(bytes([1]) * 32)
    assert found == replace(credential(1), application_id=application.application_id, application="demo")
    assert await control.find_credential(bytes([2]) * 32) == token
    assert await control.find_credential(bytes([3]) * 32) is None


async def test_api_keys_are_listed_for_their_application_alone(control: ControlStore) -> None:
    keys = [credential(number) for number in (3, 1)]
    application = await control.create_application(
        "demo", [*keys, credential(2, CredentialKind.ADMIN_TOKEN)], cause=NOBODY
    )
    await control.create_application("other", [credential(4)], cause=NOBODY)
    owned = [replace(item, application_id=application.application_id, application="demo") for item in keys]
    assert list(await control.api_keys(application.application_id)) == [owned[1], owned[0]]
    assert list(await control.api_keys("nobody")) == []


async def test_a_taken_name_is_refused_and_nothing_is_stored(control: ControlStore) -> None:
    application = await control.create_application("demo", [], cause=NOBODY)
    with pytest.raises(FailedPrecondition) as raised:
        await control.create_application("demo", [credential(1)], cause=NOBODY)
    assert raised.value.reason == "ALREADY_EXISTS"
    assert await control.find_application("demo") == application
    assert await control.find_credential(bytes([1]) * 32) is None


async def test_a_stored_credential_is_refused_and_no_application_is_made(control: ControlStore) -> None:
    await control.create_application("demo", [credential(1)], cause=NOBODY)
    with pytest.raises(FailedPrecondition) as raised:
        await control.create_application("other", [credential(2), credential(1)], cause=NOBODY)
    assert raised.value.reason == "ALREADY_EXISTS"
    assert await control.find_application("other") is None
    assert await control.find_credential(bytes([2]) * 32) is None


async def test_plan_versions_name_every_application(control: ControlStore) -> None:
    assert dict(await control.plan_versions()) == {}
    made = [await control.create_application(name, [], cause=NOBODY) for name in ("a", "b")]
    assert dict(await control.plan_versions()) == {
        application.application_id: application.plan_version for application in made
    }


async def test_an_unknown_application_is_not_found(control: ControlStore) -> None:
    with pytest.raises(NotFound):
        await control.load("nobody")
    with pytest.raises(NotFound):
        await control.change("nobody", change_of(), cause=by("ann"), expected_plan_version=1)
    with pytest.raises(NotFound):
        await control.register_endpoints("nobody", [EndpointName("GET", "/")], now_us=1)
    assert await control.find_application("nobody") is None
    assert await control.policies_at("nobody", 0) is None


async def test_policies_make_the_next_revision_and_old_ones_stay(
    control: ControlStore, application_id: str
) -> None:
    first = await carry_out(control, application_id, change_of(policies=POLICIES))
    assert (first.application.revision, first.policies) == (1, POLICIES)
    second = await carry_out(control, application_id, change_of(policies=PolicySet()))
    assert (second.application.revision, second.policies) == (2, PolicySet())
    assert await control.policies_at(application_id, 1) == POLICIES
    assert await control.policies_at(application_id, 3) is None


async def test_a_change_without_policies_keeps_the_revision_and_raises_the_plan_version(
    control: ControlStore, application_id: str
) -> None:
    before = await carry_out(control, application_id, change_of(policies=POLICIES))
    now = before.application.plan_version
    change = change_of(blocks_upserted=(BLOCK,))
    after = await control.change(application_id, change, cause=by("ann"), expected_plan_version=now)
    assert after.revision == before.application.revision
    assert after.plan_version > before.application.plan_version
    state = await control.load(application_id)
    assert (state.application, state.policies, state.blocks) == (after, POLICIES, (BLOCK,))
    assert (await control.plan_versions())[application_id] == after.plan_version


async def test_a_block_is_replaced_and_deleted_by_methods_path_and_identity(
    control: ControlStore, application_id: str
) -> None:
    others = tuple(
        BLOCK.model_copy(update=update) for update in ({"identity": ""}, {"path": "/"}, {"methods": ("GET",)})
    )
    await carry_out(control, application_id, change_of(blocks_upserted=(BLOCK, *others)))
    fraud = BLOCK.model_copy(update={"reason": "fraud"})
    state = await carry_out(control, application_id, change_of(blocks_upserted=(fraud,)))
    assert set(state.blocks) == {fraud, *others}
    state = await carry_out(control, application_id, change_of(blocks_deleted=(BLOCK,)))
    assert set(state.blocks) == set(others)
    state = await carry_out(control, application_id, change_of(blocks_deleted=(BLOCK,)))
    assert set(state.blocks) == set(others)


async def test_numbers_rise_from_1_per_application_and_kind(
    control: ControlStore, application_id: str
) -> None:
    names = ((POLICY, "b"), (POLICY, "a"), (ATTRIBUTE, "a"))
    state = await carry_out(control, application_id, change_of(names=names))
    assert state.numbers == {(POLICY, "b"): 1, (POLICY, "a"): 2, (ATTRIBUTE, "a"): 1}
    other = await control.create_application("other", [], cause=NOBODY)
    state = await carry_out(control, other.application_id, change_of(names=((POLICY, "z"),)))
    assert state.numbers == {(POLICY, "z"): 1}


async def test_a_name_keeps_its_number(control: ControlStore, application_id: str) -> None:
    await carry_out(control, application_id, change_of(names=((POLICY, "a"), (POLICY, "b"))))
    names = ((POLICY, "c"), (POLICY, "b"), (POLICY, "c"), (POLICY, "a"))
    state = await carry_out(control, application_id, change_of(names=names))
    assert state.numbers == {(POLICY, "a"): 1, (POLICY, "b"): 2, (POLICY, "c"): 3}


async def test_many_names_get_numbers_without_a_gap(control: ControlStore, application_id: str) -> None:
    names = tuple((POLICY, f"policy-{index}") for index in range(1300))
    await carry_out(control, application_id, change_of(names=names[::2]))
    state = await carry_out(control, application_id, change_of(names=names))
    assert sorted(state.numbers.values()) == list(range(1, 1301))


async def test_a_number_is_never_used_again(
    control: ControlStore, application_id: str, forget_numbers: Callable[[], Awaitable[None]]
) -> None:
    await carry_out(control, application_id, change_of(names=((POLICY, "a"), (POLICY, "b"))))
    await control.register_endpoints(application_id, [EndpointName("GET", "/a")], now_us=1)
    await forget_numbers()
    state = await carry_out(control, application_id, change_of(names=((POLICY, "c"), (POLICY, "a"))))
    assert state.numbers == {(POLICY, "c"): 3, (POLICY, "a"): 4}
    assert await control.register_endpoints(application_id, [EndpointName("GET", "/b")], now_us=2) == [2]


async def test_a_change_of_another_plan_version_changes_nothing(
    control: ControlStore, application_id: str
) -> None:
    before = await carry_out(control, application_id, change_of(policies=POLICIES, blocks_upserted=(BLOCK,)))
    change = change_of(policies=PolicySet(), blocks_deleted=(BLOCK,), names=((POLICY, "a"),))
    for expected in (before.application.plan_version - 1, before.application.plan_version + 1):
        with pytest.raises(FailedPrecondition) as raised:
            await control.change(application_id, change, cause=by("bob"), expected_plan_version=expected)
        assert raised.value.reason == "CHANGED_MEANWHILE"
    assert await control.load(application_id) == before


async def test_of_two_changes_at_once_exactly_one_wins(
    control: ControlStore, other_control: ControlStore, application_id: str
) -> None:
    for turn in range(10):
        now = (await control.load(application_id)).application
        names = [f"a-{turn}", f"b-{turn}"]
        results = await asyncio.gather(
            *(
                store.change(
                    application_id,
                    change_of(policies=POLICIES, names=((POLICY, name),)),
                    cause=by(name),
                    expected_plan_version=now.plan_version,
                )
                for store, name in zip((control, other_control), names, strict=True)
            ),
            return_exceptions=True,
        )
        assert sorted(_result(result) for result in results) == ["CHANGED_MEANWHILE", "changed"]
        state = await other_control.load(application_id)
        assert state.application.revision == now.revision + 1
        assert len(state.numbers) == turn + 1


def _result(result: Application | BaseException) -> str:
    if isinstance(result, Application):
        return "changed"
    assert isinstance(result, UsageFlowError)
    return result.reason


async def test_registered_endpoints_get_numbers_in_order(control: ControlStore, application_id: str) -> None:
    orders, users = EndpointName("GET", "/orders/{id}"), EndpointName("POST", "/users")
    assert await control.register_endpoints(application_id, [users, orders, users], now_us=1) == [1, 2, 1]
    state = await control.load(application_id)
    assert set(state.endpoints) == {orders, users}
    assert state.numbers == {(ENDPOINT, "POST /users"): 1, (ENDPOINT, "GET /orders/{id}"): 2}


async def test_new_endpoints_raise_the_plan_version_once_and_known_ones_do_not(
    control: ControlStore, application_id: str
) -> None:
    endpoints = [EndpointName("GET", "/a"), EndpointName("GET", "/b")]
    before = (await control.plan_versions())[application_id]
    numbers = await control.register_endpoints(application_id, endpoints, now_us=1)
    assert (await control.plan_versions())[application_id] == before + 1
    assert await control.register_endpoints(application_id, endpoints, now_us=2) == numbers
    assert await control.register_endpoints(application_id, [], now_us=2) == []
    assert (await control.plan_versions())[application_id] == before + 1
    more = [*endpoints, EndpointName("GET", "/c")]
    assert await control.register_endpoints(application_id, more, now_us=3) == [*numbers, 3]
    assert (await control.plan_versions())[application_id] == before + 2


async def test_an_endpoint_that_only_had_a_number_is_new(control: ControlStore, application_id: str) -> None:
    before = await carry_out(control, application_id, change_of(names=((ENDPOINT, "GET /a"),)))
    assert await control.register_endpoints(application_id, [EndpointName("GET", "/a")], now_us=1) == [1]
    after = await control.load(application_id)
    assert after.application.plan_version == before.application.plan_version + 1
    assert after.endpoints == (EndpointName("GET", "/a"),)


async def test_concurrent_registrations_agree_on_numbers(
    control: ControlStore, other_control: ControlStore, application_id: str
) -> None:
    endpoints = [EndpointName("GET", f"/{index}") for index in range(20)]
    answers = await asyncio.gather(
        *(
            store.register_endpoints(application_id, endpoints[start:], now_us=start)
            for start in range(0, 20, 2)
            for store in (control, other_control)
        )
    )
    numbers = (await control.load(application_id)).numbers
    by_endpoint = [numbers[ENDPOINT, f"GET /{index}"] for index in range(20)]
    assert sorted(by_endpoint) == list(range(1, 21))
    assert all(list(answer) == by_endpoint[20 - len(answer) :] for answer in answers)


async def test_a_state_is_of_one_instant(
    control: ControlStore, other_control: ControlStore, application_id: str
) -> None:
    async def keep_changing() -> None:
        for turn in range(30):
            block = BLOCK.model_copy(update={"path": f"/{turn}"})
            await carry_out(control, application_id, change_of(policies=POLICIES, blocks_upserted=(block,)))

    changing = asyncio.create_task(keep_changing())
    states = []
    while not changing.done():
        states.append(await other_control.load(application_id))
    await changing
    assert all(len(state.blocks) == state.application.revision for state in states)

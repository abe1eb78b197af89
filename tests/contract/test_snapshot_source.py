"""The contract of SnapshotSource and CredentialSource, the parts of ControlStore that an edge replica has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.causes import NOBODY
from tests.contract.test_control_store import BLOCK, change_of
from tests.unit.fakes import limit, policy, strategy
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import NotFound
from usageflow.domain.policies import PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.file import Exported, FileControlStore, encode, replace_file
from usageflow.storage.ports import (
    ApplicationState,
    ControlStore,
    CredentialSource,
    NumberKind,
    SnapshotSource,
)

KEYS = [Credential(f"c-{n}", CredentialKind.API_KEY, "", f"uf_{n}", bytes([n]) * 32) for n in (1, 2)]
POLICIES = PolicySet(
    strategies=(strategy(),),
    policies=(policy("transactions", "/api/*", limits=[limit(5)], strategy="by-user"),),
)
NAMES = ((NumberKind.POLICY, "transactions"), (NumberKind.ATTRIBUTE, "header X-User"))


class Source(SnapshotSource, CredentialSource, Protocol):
    """What is under contract."""


@dataclass(frozen=True)
class Desk:
    """A source of two applications, and what they were made to be."""

    source: Source
    states: dict[str, ApplicationState]


async def _sql(control: ControlStore, folder: Path) -> Source:
    return control


async def _file(control: ControlStore, folder: Path) -> Source:
    exported = [
        Exported(await control.load(key), bytes(32), tuple(await control.api_keys(key)))
        for key in await control.plan_versions()
    ]
    replace_file(folder / "snapshot.json", [encode(exported)])
    return FileControlStore.open(folder / "snapshot.json")


Opener = Callable[[ControlStore, Path], Awaitable[Source]]


@pytest.fixture(params=[_sql, _file], ids=["sql", "file"])
async def desk(request: pytest.FixtureRequest, control: ControlStore, tmp_path: Path) -> Desk:
    opener: Opener = request.param
    states = {}
    block = BLOCK.model_copy(update={"identity": "ab" * 32})
    changes: dict[str, dict[str, Any]] = {
        "demo": {"policies": POLICIES, "blocks_upserted": (block,), "names": NAMES},
        "other": {"blocks_upserted": (block,)},
    }
    for key, (name, fields) in zip(KEYS, changes.items(), strict=True):
        made = await control.create_application(name, [key], cause=NOBODY)
        await control.change(
            made.application_id, change_of(**fields), cause=NOBODY, expected_plan_version=made.plan_version
        )
        await control.register_endpoints(made.application_id, [EndpointName("GET", "/a/{id}")], now_us=1)
        states[name] = await control.load(made.application_id)
    return Desk(await opener(control, tmp_path), states)


async def test_every_application_has_its_plan_version(desk: Desk) -> None:
    applications = [state.application for state in desk.states.values()]
    versions = await desk.source.plan_versions()
    assert dict(versions) == {item.application_id: item.plan_version for item in applications}


async def test_an_application_is_found_by_name(desk: Desk) -> None:
    assert await desk.source.find_application("demo") == desk.states["demo"].application
    assert await desk.source.find_application("Demo") is None


async def test_a_state_is_whole(desk: Desk) -> None:
    for state in desk.states.values():
        assert await desk.source.load(state.application.application_id) == state
    with pytest.raises(NotFound):
        await desk.source.load("nobody")


async def test_the_present_revision_is_there(desk: Desk) -> None:
    ids = {name: state.application.application_id for name, state in desk.states.items()}
    assert await desk.source.policies_at(ids["demo"], 1) == POLICIES
    assert await desk.source.policies_at(ids["other"], 0) == PolicySet()
    assert await desk.source.policies_at(ids["demo"], 2) is None
    assert await desk.source.policies_at("nobody", 0) is None


async def test_a_key_is_found_by_its_hash(desk: Desk) -> None:
    found = await desk.source.find_credential(KEYS[1].secret_hash)
    assert found is not None
    owner = desk.states["other"].application.application_id
    assert (found.kind, found.application_id, found.prefix) == (CredentialKind.API_KEY, owner, "uf_2")
    assert await desk.source.find_credential(bytes(32)) is None

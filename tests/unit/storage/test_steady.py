from __future__ import annotations

from collections.abc import Callable, Coroutine

import pytest

from tests.unit.fakes import FakeControl, limit, policy
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import FailedPrecondition, Unavailable
from usageflow.domain.policies import PolicySet
from usageflow.storage.ports import Versions
from usageflow.storage.steady import Kept, SteadySource

OLD = PolicySet(policies=(policy("old", limits=[limit(1)]),))
NEW = PolicySet(policies=(policy("new", limits=[limit(1)]),))
KEY = Credential("c-1", CredentialKind.API_KEY, "app-1", "uf_1", bytes(32))


def control(policies: PolicySet, *keys: Credential) -> FakeControl:
    made = FakeControl()
    made.add(policies)
    made.credentials |= {key.secret_hash: key for key in keys}
    return made


async def _ready() -> None:
    return


def steady(
    database: FakeControl,
    kept: FakeControl | None = None,
    prepare: Callable[[], Coroutine[None, None, None]] = _ready,
) -> SteadySource:
    clock = ManualClock()
    return SteadySource(
        database, clock, None if kept is None else Kept(kept, clock.now_us() - 5_000_000, prepare)
    )


async def test_the_cache_is_in_force_until_the_database_answers() -> None:
    database, kept = control(NEW), control(OLD)
    database.set("app-1", NEW)
    database.down = True
    source = steady(database, kept)
    assert (source.from_cache, source.age_s) == (True, 5)
    assert await source.versions() == {"app-1": Versions(2)}
    assert (await source.load("app-1")).policies == OLD
    assert await source.directory_changes({}) == {}
    assert await source.policies_at("app-1", 1) == OLD
    database.down = False
    assert await source.plan_versions() == {"app-1": 3}
    assert (source.from_cache, source.age_s) == (False, 0)
    assert (await source.load("app-1")).policies == NEW
    database.down = True
    with pytest.raises(Unavailable):
        await source.versions()


async def test_a_database_that_is_not_ready_does_not_take_over() -> None:
    ready = False

    async def prepare() -> None:
        if not ready:
            raise FailedPrecondition("it is of a newer version")

    database, kept = control(NEW), control(OLD)
    source = steady(database, kept, prepare)
    with pytest.raises(FailedPrecondition):
        await source.versions()
    assert source.from_cache
    ready = True
    await source.versions()
    assert not source.from_cache


async def test_known_keys_count_while_the_database_is_silent() -> None:
    database, kept = control(NEW), control(OLD, KEY)
    database.down = True
    source = steady(database, kept)
    assert await source.find_credential(KEY.secret_hash) == KEY
    with pytest.raises(Unavailable):
        await source.find_credential(bytes([1]) * 32)
    database.down = False
    await source.versions()
    assert await source.find_credential(KEY.secret_hash) is None
    source.remember([KEY])
    assert await source.find_credential(KEY.secret_hash) is None
    database.down = True
    assert await source.find_credential(KEY.secret_hash) == KEY

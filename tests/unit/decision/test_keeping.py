from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from decision.keeping import Keeping
from decision.snapshots import SnapshotRegistry
from tests.unit.fakes import KEY_OF, FakeControl, limit, policy, strategy
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.expressions import refuse_expressions
from usageflow.domain.policies import PolicySet
from usageflow.storage.file import SnapshotCache
from usageflow.storage.notices import LocalNotices
from usageflow.storage.ports import Versions
from usageflow.storage.steady import Kept, SteadySource

ONE = PolicySet(policies=(policy("one", limits=[limit(1)], strategy="by-user"),), strategies=(strategy(),))
TWO = PolicySet(policies=(policy("two", limits=[limit(1)], strategy="by-user"),), strategies=(strategy(),))
BROKEN = PolicySet(policies=(policy("broken", "no/slash"),))
KEY = Credential("c-1", CredentialKind.API_KEY, "app-1", "uf_1", bytes(32))


class Desk:
    """A registry over a database, and what keeps its state."""

    def __init__(self, folder: Path, control: FakeControl, kept: Kept | None = None) -> None:
        self.control = control
        self.source = SteadySource(control, ManualClock(), kept)
        self.cache = SnapshotCache(folder)
        self.snapshots = SnapshotRegistry(self.source, LocalNotices(), KEY_OF)
        self.keeping = Keeping(self.snapshots, control, self.source, KEY_OF, self.cache)

    async def round(self) -> None:
        await self.snapshots.refresh()
        await self.keeping.round()

    async def kept(self) -> dict[str, Versions]:
        cached = self.cache.read(KEY_OF, refuse_expressions)
        return {} if cached is None else dict(await cached.source.versions())


@pytest.fixture
def control() -> FakeControl:
    made = FakeControl()
    made.add(ONE)
    made.credentials[KEY.secret_hash] = KEY
    return made


async def test_what_is_in_force_is_kept(tmp_path: Path, control: FakeControl) -> None:
    desk = Desk(tmp_path, control)
    await desk.round()
    assert await desk.kept() == {"app-1": Versions(2)}
    written = desk.cache.path.stat().st_mtime_ns
    await desk.round()
    assert desk.cache.path.stat().st_mtime_ns == written
    control.set("app-1", TWO)
    control.add(ONE, name="other")
    await desk.round()
    assert await desk.kept() == {"app-1": Versions(3), "app-2": Versions(2)}
    del control.states["app-1"]
    await desk.round()
    assert await desk.kept() == {"app-2": Versions(2)}


async def test_what_does_not_compile_is_not_kept(tmp_path: Path, control: FakeControl) -> None:
    desk = Desk(tmp_path, control)
    await desk.round()
    control.set("app-1", BROKEN)
    await desk.round()
    assert await desk.kept() == {"app-1": Versions(2)}


async def test_a_key_that_is_gone_is_gone_from_the_cache_and_from_memory(
    tmp_path: Path, control: FakeControl
) -> None:
    desk = Desk(tmp_path, control)
    await desk.round()
    cached = desk.cache.read(KEY_OF, refuse_expressions)
    assert cached is not None
    assert await cached.source.find_credential(KEY.secret_hash) == replace(KEY, application="demo")
    control.credentials.clear()
    await desk.round()
    cached = desk.cache.read(KEY_OF, refuse_expressions)
    assert cached is not None
    assert await cached.source.find_credential(KEY.secret_hash) is None


async def test_a_silent_database_and_a_full_disk_stop_nothing(
    tmp_path: Path, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, control)
    await desk.snapshots.refresh()
    control.down = True
    await desk.keeping.round()
    assert await desk.kept() == {}
    control.down = False

    def full(_: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(desk.cache, "write", full)
        await desk.keeping.round()
    await desk.keeping.round()
    assert await desk.kept() == {"app-1": Versions(2)}


async def test_while_the_cache_is_in_force_it_is_left_alone(tmp_path: Path, control: FakeControl) -> None:
    await Desk(tmp_path, control).round()

    async def prepare() -> None:
        return

    down = FakeControl()
    down.down = True
    desk = Desk(tmp_path, down, Kept(control, 0, prepare))
    await desk.round()
    assert desk.snapshots.plan("app-1") is not None
    assert await desk.kept() == {"app-1": Versions(2)}

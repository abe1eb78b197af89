from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.unit.fakes import APPLICATION_KEY, KEY_OF, FakeControl, limit, policy, strategy
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.expressions import refuse_expressions
from usageflow.domain.policies import PolicySet
from usageflow.storage.file import SnapshotCache, encode_application, gather
from usageflow.storage.ports import Versions

POLICIES = PolicySet(
    policies=(policy("one", limits=[limit(1)], strategy="by-user"),), strategies=(strategy(),)
)


async def text_of(control: FakeControl, application_id: str = "app-1") -> bytes:
    return encode_application(await gather(control, application_id, KEY_OF))


@pytest.fixture
def control() -> FakeControl:
    made = FakeControl()
    made.add(POLICIES)
    return made


async def test_what_is_written_is_read_again(tmp_path: Path, control: FakeControl) -> None:
    cache = SnapshotCache(tmp_path / "snapshots")
    assert cache.read(KEY_OF, refuse_expressions) is None
    assert cache.write({"app-1": await text_of(control)})
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    cached = cache.read(KEY_OF, refuse_expressions)
    assert cached is not None
    assert cached.source.key_of("demo") == APPLICATION_KEY
    assert await cached.source.versions() == {"app-1": Versions(2)}
    assert (await cached.source.load("app-1")).policies == POLICIES
    cache.write({})
    assert cache.read(KEY_OF, refuse_expressions) is None
    cache.close()


async def test_one_process_writes_at_a_time(tmp_path: Path, control: FakeControl) -> None:
    first, second = SnapshotCache(tmp_path), SnapshotCache(tmp_path)
    text = await text_of(control)
    assert first.write({"app-1": text})
    assert not second.write({})
    first.close()
    assert second.write({"app-1": text})
    second.close()


async def test_a_cache_of_another_installation_is_refused(tmp_path: Path, control: FakeControl) -> None:
    cache = SnapshotCache(tmp_path)
    cache.write({"app-1": await text_of(control)})
    with pytest.raises(FailedPrecondition, match="another installation"):
        cache.read(lambda _: bytes(32), refuse_expressions)
    cache.close()


@pytest.mark.parametrize("spoil", ["", "{", "[]", '{"format":1,"applications":[]}'])
def test_a_damaged_cache_is_refused(tmp_path: Path, spoil: str) -> None:
    cache = SnapshotCache(tmp_path)
    cache.path.write_text(spoil)
    with pytest.raises(FailedPrecondition, match="cannot use the snapshot"):
        cache.read(KEY_OF, refuse_expressions)


async def test_a_cache_that_contradicts_itself_is_refused(tmp_path: Path, control: FakeControl) -> None:
    cache, text = SnapshotCache(tmp_path), await text_of(control)
    cache.write({"app-1": text, "app-2": text})
    with pytest.raises(FailedPrecondition, match="2 times"):
        cache.read(KEY_OF, refuse_expressions)
    cache.close()

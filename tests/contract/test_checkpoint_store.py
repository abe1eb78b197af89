"""The contract of CheckpointStore."""

from __future__ import annotations

import pytest

from usageflow.domain.errors import InvalidArgument
from usageflow.storage.ports import CheckpointStore, WindowState


def window(key: str, start_us: int = 0, used: int = 1, end_us: int = 1_000) -> WindowState:
    return WindowState(key, start_us, end_us, used)


async def saved(store: CheckpointStore, now_us: int = 0) -> dict[str, WindowState]:
    return {state.key: state for state in await store.load_windows(now_us=now_us)}


async def test_a_store_begins_empty(checkpoints: CheckpointStore) -> None:
    await checkpoints.save_windows([])
    assert await checkpoints.load_windows(now_us=0) == []


async def test_windows_outlive_the_process_that_saved_them(
    checkpoints: CheckpointStore, other_checkpoints: CheckpointStore
) -> None:
    states = [window("a", used=10**12), window("b", used=0), window("ü/☂", start_us=5)]
    await checkpoints.save_windows(states)
    assert await saved(other_checkpoints) == {state.key: state for state in states}


async def test_a_newer_window_replaces_an_older_one(checkpoints: CheckpointStore) -> None:
    await checkpoints.save_windows([window("a", start_us=0, end_us=10, used=9), window("b")])
    newer = window("a", start_us=10, end_us=20, used=1)
    await checkpoints.save_windows([newer])
    assert await saved(checkpoints) == {"a": newer, "b": window("b")}


async def test_an_older_window_replaces_nothing(checkpoints: CheckpointStore) -> None:
    newer = window("a", start_us=10)
    await checkpoints.save_windows([newer])
    await checkpoints.save_windows([window("a", start_us=9, used=5)])
    assert await saved(checkpoints) == {"a": newer}


@pytest.mark.parametrize("used", [0, 5, 8])
async def test_the_same_window_takes_the_state_saved_last(checkpoints: CheckpointStore, used: int) -> None:
    await checkpoints.save_windows([window("a", used=5)])
    await checkpoints.save_windows([window("a", used=used)])
    assert await saved(checkpoints) == {"a": window("a", used=used)}


async def test_within_one_call_the_newest_state_of_a_key_stays(checkpoints: CheckpointStore) -> None:
    newest = window("a", start_us=20, used=2)
    await checkpoints.save_windows([window("a", start_us=20, used=1), newest, window("a", start_us=10)])
    assert await saved(checkpoints) == {"a": newest}


async def test_windows_that_have_ended_are_not_loaded_and_can_be_dropped(
    checkpoints: CheckpointStore,
) -> None:
    await checkpoints.save_windows([window("a", end_us=100), window("b", end_us=101)])
    assert set(await saved(checkpoints, now_us=99)) == {"a", "b"}
    assert set(await saved(checkpoints, now_us=100)) == {"b"}
    assert await checkpoints.drop_ended(now_us=99) == 0
    assert await checkpoints.drop_ended(now_us=100) == 1
    assert set(await saved(checkpoints, now_us=0)) == {"b"}


async def test_all_windows_of_a_call_are_saved_or_none(checkpoints: CheckpointStore) -> None:
    with pytest.raises(InvalidArgument):
        await checkpoints.save_windows([window("a"), window("b", used=2**63)])
    assert await saved(checkpoints) == {}


async def test_many_windows_at_once(checkpoints: CheckpointStore) -> None:
    states = [window(f"key-{index:05d}", used=index) for index in range(5_000)]
    await checkpoints.save_windows(states)
    await checkpoints.save_windows(states)
    assert sorted((await saved(checkpoints)).values(), key=lambda state: state.key) == states

"""Tasks end, also one that loses a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from usageflow.runtime import ending
from usageflow.runtime.ending import end_tasks


async def test_a_task_that_loses_a_cancellation_ends_at_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.01)
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(60)

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert (lost, task.cancelled()) == (2, True)


async def test_whatever_they_end_with_is_taken() -> None:
    async def failing() -> None:
        raise ValueError("broken")

    async def done() -> int:
        return 1

    failed, over = asyncio.create_task(failing()), asyncio.create_task(done())
    await asyncio.sleep(0)
    await end_tasks([failed, over])
    await end_tasks([])
    assert (type(failed.exception()), over.result()) == (ValueError, 1)

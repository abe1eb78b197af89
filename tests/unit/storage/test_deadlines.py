from __future__ import annotations

import asyncio

import pytest

from usageflow.domain.errors import NotFound, Unavailable
from usageflow.storage.deadlines import Deadlines

SOON_S, LATE_S = 0.005, 60.0


async def test_an_answer_is_handed_on_and_so_is_an_error() -> None:
    deadlines = Deadlines()

    async def answer() -> int:
        return 7

    async def fail() -> int:
        raise NotFound("nobody")

    assert await deadlines.ask(answer, LATE_S) == 7
    with pytest.raises(NotFound):
        await deadlines.ask(fail, LATE_S)
    assert await deadlines.ask(answer, LATE_S) == 7


async def test_while_an_answer_is_overdue_nobody_asks_until_it_comes() -> None:
    deadlines, answered, asked = Deadlines(), asyncio.Event(), []

    async def hang() -> None:
        asked.append(1)
        await answered.wait()

    with pytest.raises(Unavailable, match="does not answer"):
        await deadlines.ask(hang, SOON_S)
    with pytest.raises(Unavailable):
        await deadlines.ask(hang, LATE_S)
    assert asked == [1]
    answered.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await deadlines.ask(hang, LATE_S)
    assert asked == [1, 1]


async def test_an_error_that_comes_too_late_is_no_news() -> None:
    deadlines, answered = Deadlines(), asyncio.Event()

    async def fail_late() -> None:
        await answered.wait()
        raise NotFound("nobody")

    with pytest.raises(Unavailable):
        await deadlines.ask(fail_late, SOON_S)
    answered.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    async def answer() -> int:
        return 1

    assert await deadlines.ask(answer, LATE_S) == 1

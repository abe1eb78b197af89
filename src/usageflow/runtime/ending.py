"""Ends tasks for good, whatever they are in the midst of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.5
"""After so long a task is cancelled once more."""


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they have ended, whatever they end with.

    Once is not enough before Python 3.12: ``asyncio.wait_for`` loses a cancellation that comes in the turn in which what it
    waits for is done (https://github.com/python/cpython/issues/86296), and redis-py sends its commands by it.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        ended, waiting = await asyncio.wait(waiting, timeout=AGAIN_S)
        await asyncio.gather(*ended, return_exceptions=True)

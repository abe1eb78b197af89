"""Writers of one thing take turns: one at a time in this process, and again where another process was faster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from usageflow.domain.errors import FailedPrecondition

T = TypeVar("T")

ATTEMPTS = 40
_LONGEST_S = 0.25
"""40 pauses of 0.125 s on average: others must keep writing for about 5 s before somebody gives up."""


class Turns:
    """Puts writers in a row. In-process writers wait for a lock, so they never meet; other processes are met in the store, which refuses
    what was made from an older state.
    """

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pause = pause
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Returns what ``attempt`` returns once the store takes it. Raises what it raises, and FailedPrecondition (reason
        CHANGED_MEANWHILE) where others kept being faster.
        """
        lock = self._locks.setdefault(what, asyncio.Lock())
        async with lock:
            for number in range(ATTEMPTS):
                try:
                    return await attempt()
                except FailedPrecondition as error:
                    if error.reason != "CHANGED_MEANWHILE":
                        raise
                await self._pause(random.uniform(0, min(_LONGEST_S, 0.005 * 2**number)))  # noqa: S311 - no secret
        raise FailedPrecondition(
            "others keep changing this application: try again", reason="CHANGED_MEANWHILE"
        )

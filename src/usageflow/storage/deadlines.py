"""Asking a database that may hang: its answer may never come, and a thread that waits for it cannot be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from usageflow.domain.errors import Unavailable

T = TypeVar("T")

_SILENT = (
    "the database does not answer: decisions go on by what is known; see whether it runs and can be reached"
)


class Deadlines:
    """Waits for answers for a while. As long as one is overdue nobody asks again, so that a database that hangs keeps a few
    threads at most; the overdue answer itself says that it is back.
    """

    def __init__(self) -> None:
        self._overdue: set[asyncio.Future[Any]] = set()

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]], within_s: float) -> T:
        """Returns the answer. Raises Unavailable after ``within_s`` seconds, at once while another is overdue, and whatever the
        question raises.
        """
        if self._overdue:
            raise Unavailable(_SILENT)
        asked = asyncio.ensure_future(question())
        asked.add_done_callback(self._settled)
        done, _ = await asyncio.wait({asked}, timeout=within_s)
        if not done:
            self._overdue.add(asked)
            raise Unavailable(_SILENT)
        return asked.result()

    def _settled(self, asked: asyncio.Future[Any]) -> None:
        self._overdue.discard(asked)
        if not asked.cancelled():
            asked.exception()  # whoever asked may be gone

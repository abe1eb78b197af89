"""The port that tells decision processes of a change before their next poll."""

from __future__ import annotations

import asyncio
from typing import Protocol


class ChangeNotices(Protocol):
    """A hint that something changed; losing one costs at most a poll interval."""

    def publish(self) -> None:
        """Wakes everyone who waits."""

    async def wait(self) -> None:
        """Returns at the next publish, or at once where one came since the last wait."""


class LocalNotices:
    """Notices inside one process, for one waiter."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def publish(self) -> None:
        """See ChangeNotices.publish."""
        self._event.set()

    async def wait(self) -> None:
        """See ChangeNotices.wait."""
        await self._event.wait()
        self._event.clear()

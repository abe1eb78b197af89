"""The port that tells decision processes of a change before their next poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

log = structlog.get_logger()


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
        self.wake()

    def wake(self) -> None:
        """Wakes who waits in this process."""
        self._event.set()

    async def wait(self) -> None:
        """See ChangeNotices.wait."""
        await self._event.wait()
        self._event.clear()


class Relay(Protocol):
    """Carries notices between processes. It may lose them and be cut off: the poll makes up for it."""

    async def run(self) -> None:
        """Tells this process of changes that others published, for ever; it comes back by itself."""


class Announcing(Protocol):
    """A relay that must be told of this process's own changes, because the database does not."""

    async def announce(self) -> None:
        """Tells the other processes. Raises whatever goes wrong."""


class RelayedNotices(LocalNotices):
    """Notices for this process, and by a relay for the others."""

    def __init__(self) -> None:
        super().__init__()
        self._announcing: list[Announcing] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def announce_by(self, relay: Announcing) -> None:
        """Publishes by this relay too."""
        self._announcing.append(relay)

    def publish(self) -> None:
        """See ChangeNotices.publish. Nobody waits for the others to hear of it."""
        self.wake()
        for relay in self._announcing:
            task = asyncio.create_task(_announce(relay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _announce(relay: Announcing) -> None:
    try:
        await relay.announce()
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the poll finds the change
        log.warning("a change was not announced; the others find it within a poll", error=str(error))


PAUSE_S = 1.0
"""Between two attempts to listen."""


async def listen_for_ever(
    listen: Callable[[Callable[[], None]], Coroutine[Any, Any, None]], tell: Callable[[], None], where: str
) -> None:
    """Runs ``listen``, which returns or raises where it is cut off, again and again. ``tell`` is called once it listens, too:
    something may have been missed meanwhile.
    """
    cut_off = False

    def told() -> None:
        nonlocal cut_off
        if cut_off:
            log.info("notices of changes come again", of=where)
        cut_off = False
        tell()

    while True:
        try:
            await listen(told)
            error = "it ended the connection"
        except Exception as failed:  # noqa: BLE001 - whatever is wrong, the poll finds changes
            error = str(failed)
        if not cut_off:
            log.warning(
                "no notices of changes; the poll finds them", of=where, error=error.partition("\n")[0]
            )
        cut_off = True
        await asyncio.sleep(PAUSE_S)

"""Slots of CONCURRENCY limits: which of them are held, which must be renewed when, and which have to be given back.

No I/O, no clock: times are microseconds of any monotonic clock of this process. Not safe for concurrent calls.

A request that was admitted with a slot holds it while it runs. The slot ends by itself when its life is over, so a request that runs longer
than half of it renews it: `due` names slots whose renewal is to be sent now, and each of them ends in `renewed`, `unrenewed` or
`forget`. What `release` ends goes out with the next call, by `releases`; if that call fails they are handed back with `unsent`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

MAX_RELEASES: Final = 10_000
_RETRIES: Final = 8
"""A renewal that failed is tried again after this part of the slot's life."""
_MIN_DELAY_US: Final = 10_000
"""However short a hostile service says that lives are."""


class Slot(NamedTuple):
    """A slot, and how long it lives without a renewal."""

    slot_id: bytes
    life_us: int


class Released(NamedTuple):
    """A slot that was given back; from `ends_us` on it has surely ended by itself."""

    slot_id: bytes
    ends_us: int


class _Held:
    __slots__ = ("delay_us", "ends_us", "life_us")

    def __init__(self, life_us: int) -> None:
        self.life_us = life_us
        self.delay_us = 0
        """The queue that it waits in; 0 while its renewal is on its way."""
        self.ends_us = 0


class SlotMachine:
    """The slots of one client. Of more than `max_releases` that wait, the oldest are dropped and counted: they end by themselves."""

    def __init__(self, max_releases: int = MAX_RELEASES) -> None:
        self._max_releases = max_releases
        self._held: dict[bytes, _Held] = {}
        self._queues: dict[int, dict[bytes, int]] = {}
        """Slots by when they are due, in order: one queue per delay, since what waits equally long is due as it came."""
        self._releases: deque[Released] = deque()
        self.dropped = 0
        """Releases that found no room."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Slots that wait for a call that gives them back."""
        return len(self._releases)

    def hold(self, slot: Slot, now_us: int) -> None:
        """Notes a slot that a request was admitted with."""
        held = self._held.setdefault(slot.slot_id, _Held(slot.life_us))
        self._wait(slot.slot_id, held, _part(slot.life_us, 2), now_us)

    def release(self, slot_id: bytes) -> bool:
        """Ends the holding of a slot, once: False says that it is not held (any more)."""
        held = self._held.get(slot_id)
        if held is None:
            return False
        self.forget([slot_id])
        self._releases.append(Released(slot_id, held.ends_us))
        self._bound()
        return True

    def close(self) -> None:
        """Releases every slot that is held."""
        for slot_id in list(self._held):
            self.release(slot_id)

    def due(self, now_us: int, at_most: int = 1_000) -> list[bytes]:
        """Takes out slots whose renewal is to be sent now, those that are due longest of each delay first."""
        ready: list[bytes] = []
        for queue in self._queues.values():
            for slot_id, due_us in islice(queue.items(), at_most - len(ready)):
                if due_us > now_us:
                    break
                ready.append(slot_id)
        for slot_id in ready:
            self._unqueue(slot_id, self._held[slot_id])
        return ready

    def next_due_us(self) -> int | None:
        """Returns when the next renewal is due; None where no slot waits for one."""
        return min((next(iter(queue.values())) for queue in self._queues.values()), default=None)

    def renewed(self, slot_ids: Iterable[bytes], now_us: int) -> None:
        """Notes slots whose lives have begun anew."""
        for slot_id in slot_ids:
            held = self._held.get(slot_id)
            if held is not None:
                self._wait(slot_id, held, _part(held.life_us, 2), now_us)

    def unrenewed(self, slot_ids: Iterable[bytes], now_us: int) -> None:
        """Notes slots whose renewal nobody answered: it may have been carried out, and is tried again soon."""
        for slot_id in slot_ids:
            held = self._held.get(slot_id)
            if held is not None:
                self._wait(slot_id, held, _part(held.life_us, _RETRIES), now_us)

    def forget(self, slot_ids: Iterable[bytes]) -> None:
        """Drops slots that have ended: there is nothing to renew or to give back."""
        for slot_id in slot_ids:
            held = self._held.pop(slot_id, None)
            if held is not None:
                self._unqueue(slot_id, held)

    def releases(self, now_us: int, at_most: int = 1_000) -> list[Released]:
        """Takes out slots to give back, for a call that goes out now; those that have ended meanwhile are left out."""
        taken: list[Released] = []
        while self._releases and len(taken) < at_most:
            item = self._releases.popleft()
            if item.ends_us > now_us:
                taken.append(item)
        return taken

    def unsent(self, releases: Iterable[Released]) -> None:
        """Hands back what a failed call carried: it goes with the next. Sending it twice does no harm."""
        self._releases.extendleft(reversed(list(releases)))
        self._bound()

    def _wait(self, slot_id: bytes, held: _Held, delay_us: int, now_us: int) -> None:
        self._unqueue(slot_id, held)
        held.delay_us, held.ends_us = delay_us, now_us + held.life_us
        self._queues.setdefault(delay_us, {})[slot_id] = now_us + delay_us

    def _unqueue(self, slot_id: bytes, held: _Held) -> None:
        queue = self._queues.get(held.delay_us)
        if queue is not None:
            del queue[slot_id]
            if not queue:
                del self._queues[held.delay_us]
        held.delay_us = 0

    def _bound(self) -> None:
        while len(self._releases) > self._max_releases:
            self._releases.popleft()
            self.dropped += 1


def _part(life_us: int, parts: int) -> int:
    return max(life_us // parts, _MIN_DELAY_US)

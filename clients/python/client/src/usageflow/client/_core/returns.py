"""Leases that have ended and wait for a call that takes them along."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from usageflow.client._core.lease import Returned


class ReturnBox:
    """First in, first out. Of more than `max_returns` the oldest are dropped: the service ends those leases when they expire."""

    def __init__(self, max_returns: int) -> None:
        self._items: deque[Returned] = deque(maxlen=max_returns)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Returned) -> None:
        """Adds a lease."""
        self._items.append(item)

    def take(self, at_most: int) -> list[Returned]:
        """Takes out the oldest."""
        return [self._items.popleft() for _ in range(min(at_most, len(self._items)))]

    def put_back(self, items: Iterable[Returned]) -> None:
        """Puts what was taken out in front again, as far as there is room."""
        room = (self._items.maxlen or 0) - len(self._items)
        for item in reversed(list(items)[-room:] if room else []):
            self._items.appendleft(item)

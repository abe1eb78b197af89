"""The sets of CONCURRENCY limits in memory, and which of them a slot id stands in."""

from __future__ import annotations

from usageflow.domain.limits import Standing
from usageflow.domain.slots import InFlight
from usageflow.storage.counters import LimitTake


class Slots:
    """Members in flight by counter key."""

    def __init__(self) -> None:
        self._sets: dict[str, InFlight] = {}
        self._keys: dict[str, tuple[str, ...]] = {}

    def standing(self, item: LimitTake, slot_id: str, now_us: int) -> Standing:
        """Returns where a limit stands for a slot."""
        found = self._sets.get(item.key) or InFlight(item.rule.window_us)
        return found.standing(item.rule.limit, item.member or slot_id, now_us)

    def put(self, item: LimitTake, slot_id: str, now_us: int) -> None:
        """Takes a slot; members of their own are not the slot id's to release."""
        found = self._sets.get(item.key)
        if found is None:
            found = self._sets[item.key] = InFlight(item.rule.window_us)
        found.put(item.member or slot_id, now_us)
        if not item.member:
            self._keys[slot_id] = (*self._keys.get(slot_id, ()), item.key)

    def release(self, slot_id: str, now_us: int) -> bool:
        """Frees all slots of an id; tells whether one was in flight."""
        found = [self._sets[key] for key in self._keys.pop(slot_id, ()) if key in self._sets]
        return sum(one.remove(slot_id, now_us) for one in found) > 0

    def renew(self, slot_id: str, now_us: int) -> bool:
        """Lets all slots of an id live on; tells whether one was in flight."""
        found = [self._sets[key] for key in self._keys.get(slot_id, ()) if key in self._sets]
        return sum(one.renew(slot_id, now_us) for one in found) > 0

    def sweep(self, now_us: int) -> int:
        """Forgets empty sets and ids that are in none; returns how many sets went. O(sets + ids)."""
        empty = [key for key, found in self._sets.items() if not found.count(now_us)]
        for key in empty:
            del self._sets[key]
        gone = [
            slot_id
            for slot_id, keys in self._keys.items()
            if not any(self._sets[key].has(slot_id) for key in keys if key in self._sets)
        ]
        for slot_id in gone:
            del self._keys[slot_id]
        return len(empty)

"""The bucket that decides when nobody answers and the fail mode is LOCAL."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_MAX_KEYS: Final = 10_000


@dataclass(frozen=True, slots=True)
class LocalRate:
    """This client's share of a limit: `units` per `window_s` seconds, both above 0."""

    units: float
    window_s: float


class LocalBuckets:
    """One GCRA bucket per key; the least recently used of more than 10,000 are forgotten.

    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """

    def __init__(self, max_keys: int = _MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._tats: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def take(self, key: tuple[object, ...], rate: LocalRate, now: float) -> float:
        """Takes one unit. Returns 0.0 where it fits, else the seconds until it will; `now` is monotonic seconds."""
        interval = rate.window_s / rate.units
        tolerance = max(rate.window_s - interval, 0.0)
        tat = max(self._tats.get(key, now), now)
        wait = tat - tolerance - now
        if wait > 1e-9:  # floating point: less than a nanosecond is no wait
            return wait
        self._tats[key] = tat + interval
        self._tats.move_to_end(key)
        if len(self._tats) > self._max_keys:
            self._tats.popitem(last=False)
        return 0.0

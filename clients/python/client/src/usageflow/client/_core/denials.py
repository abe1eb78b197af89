"""Denials that are answered again without asking: at most one second, and never past the moment at which the cost fits."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from usageflow.client._core.verdict import Verdict

MAX_AGE_US: Final = 1_000_000

Asker: TypeAlias = tuple[int, tuple[str | bytes | None, ...]]
"""Endpoint number, and the values of the attributes that the plan names for it; None: absent."""


@dataclass(slots=True)
class Denial:
    """A denial of `cost` units that holds until `until_us`; it was answered at `answered_us`."""

    cost: int
    until_us: int
    answered_us: int
    verdict: Verdict

    def covers(self, cost: int) -> bool:
        """Tells whether it denies this cost too. 0 is whatever the policies say, so it compares with nothing else."""
        return self.cost == cost or 0 < self.cost <= cost

    def verdict_at(self, now_us: int) -> Verdict:
        """Returns the denial as it stands now: its times have run down since it was answered."""
        return self.verdict.later(now_us - self.answered_us)


class DenialCache:
    """One denial per asker; of more than `max_askers` the oldest is forgotten. Times are monotonic microseconds."""

    def __init__(self, max_askers: int) -> None:
        self._max_askers = max_askers
        self._denials: OrderedDict[Asker, Denial] = OrderedDict()

    def __len__(self) -> int:
        return len(self._denials)

    def find(self, asker: Asker, cost: int, now_us: int) -> Denial | None:
        """Returns the denial that still holds for this cost, or None."""
        held = self._denials.get(asker)
        if held is None:
            return None
        if now_us >= held.until_us:
            del self._denials[asker]
            return None
        return held if held.covers(cost) else None

    def add(self, asker: Asker, cost: int, verdict: Verdict, *, sent_us: int, now_us: int) -> None:
        """Keeps a denial that the service calls cacheable for min(retry_after, 1 s) from when the check was sent, unless one
        is held that denies as much for as long.
        """
        until_us = sent_us + min(verdict.retry_after_us, MAX_AGE_US)
        held = self._denials.get(asker)
        if until_us <= now_us or (held and held.covers(cost) and held.until_us >= until_us):
            return
        self._denials[asker] = Denial(cost, until_us, now_us, verdict)
        self._denials.move_to_end(asker)
        if len(self._denials) > self._max_askers:
            self._denials.popitem(last=False)

    def clear(self) -> None:
        """Forgets all of them: a revision or the directory has changed."""
        self._denials.clear()

"""What a process remembers of names that are in the database, so that most reports need not ask for them.

Only what a transaction that was committed has read or written is remembered. Endpoints and series are never deleted. Identities are,
by any process (``customers erase``), so what is known of them is forgotten after LIFE_US: later at the most, usage of an
identity that was erased gets a pseudonym that nothing links with the old one.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeVar

from usageflow.domain.usage import Series

LIFE_US = 2_000_000
"""How long a pseudonym is remembered since it was read."""

MOST = 200_000
"""Names remembered at a time, of each kind; then it begins anew."""

Key = TypeVar("Key")
Endpoint = tuple[str, str]
"""Method and template: a plain pair, because its hash is taken several times per record."""


@dataclass(slots=True)
class Names:
    """Ids of endpoints and series and pseudonyms of identities, of one application."""

    endpoints: dict[Endpoint, int] = field(default_factory=dict)
    series: dict[Series, int] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)

    def update(self, other: Names) -> None:
        """Adds what the other knows."""
        _add(self.endpoints, other.endpoints)
        _add(self.series, other.series)
        _add(self.identities, other.identities)


def _add(known: dict[Key, int], more: dict[Key, int]) -> None:
    if len(known) + len(more) > MOST:
        known.clear()
    known.update(more)


class Remembered:
    """Names by application id. Several writers may use it at once."""

    def __init__(self) -> None:
        self._names: dict[str, Names] = defaultdict(Names)
        self._identities_since_us = 0
        self._lock = threading.Lock()

    def of(self, application_id: str, now_us: int) -> Names:
        """Returns what is known of an application. It may grow and shrink while it is read."""
        with self._lock:
            if not 0 <= now_us - self._identities_since_us <= LIFE_US:
                self._identities_since_us = now_us
                for names in self._names.values():
                    names.identities = {}
            return self._names[application_id]

    def learn(self, learned: dict[str, Names], now_us: int) -> None:
        """Takes note of names of a transaction that was committed; it began at ``now_us``."""
        with self._lock:
            for application_id, names in learned.items():
                if now_us < self._identities_since_us:
                    names.identities = {}
                self._names[application_id].update(names)

"""What requests ask, remembered by their bytes: a busy service hears the same ones again and again.

Only what the bytes alone decide is remembered (the policies that match, who is asking, which counters); the counters are
asked every time. A memo belongs to one plan and goes with it.
"""

from __future__ import annotations

from decision.judgement import Pending
from usageflow.domain.decisions import Answer, Question
from usageflow.domain.snapshot import Snapshot

_GENERATION = 20_000
"""Requests remembered in each of two generations: about 60 MB at most."""


class Ready:
    """A request as far as it can be decided without counters. ``face`` is the handler's: how answers to it are written;
    ``logged`` is the engine's: the question, with claims in the place of tokens, where it goes to the decision log.
    """

    __slots__ = ("by_name", "face", "lasting", "logged", "prepared")

    def __init__(self, prepared: Answer | Pending, *, lasting: bool, by_name: bool = False) -> None:
        self.prepared = prepared
        self.lasting = lasting
        self.by_name = by_name
        self.face: object = None
        self.logged: tuple[Snapshot, Question] | None = None

    @property
    def base(self) -> Answer:
        """Returns the answer as far as it is known without counters."""
        return self.prepared if isinstance(self.prepared, Answer) else self.prepared.base

    @property
    def pending(self) -> Pending:
        """Returns the question for the counters. Raises TypeError where there is none."""
        if isinstance(self.prepared, Answer):
            raise TypeError("the counters have no say in this")
        return self.prepared


class Memo:
    """Two generations of requests: when the young one is full it becomes the old one, and what is not asked again is forgotten."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: dict[bytes, Ready] = {}
        self._old: dict[bytes, Ready] = {}

    def find(self, request: bytes) -> Ready | None:
        """Returns what was remembered of a request."""
        found = self._young.get(request)
        if found is None and self._old:
            found = self._old.pop(request, None)
            if found is not None:
                self.keep(request, found)
        return found

    def keep(self, request: bytes, ready: Ready) -> None:
        """Remembers a request."""
        if len(self._young) >= _GENERATION:
            self._old, self._young = self._young, {}
        self._young[request] = ready

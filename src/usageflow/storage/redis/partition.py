"""The counters of one partition: each call is one script, and so atomic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack, unpack

from usageflow.domain.clock import Clock
from usageflow.domain.limits import MAX_COUNT
from usageflow.storage.counters import Amendment, LeaseReturn, Release, Renewal, Settlement, Take, Taken
from usageflow.storage.ports import WindowState
from usageflow.storage.redis.link import Argument
from usageflow.storage.redis.questions import Answers, Change, Questions, changes
from usageflow.storage.redis.scripts import AMEND, PEEK, RESTORE, TAKE
from usageflow.storage.redis.server import Servers

_MOST_USED = 2 * MAX_COUNT
"""What settles as much as any more: counts end at MAX_COUNT."""


class Partition:
    """Asks one partition. ``clock`` None: time is Redis's own, as in production."""

    def __init__(self, servers: Servers, number: int, prefix: str, clock: Clock | None) -> None:
        self.base = f"{prefix}:{{p{number}}}:"
        self.epoch = f"{self.base}epoch"
        self.number = number
        self._changed: dict[str, Change] = {}
        self._servers = servers
        self._clock = clock

    def _now_us(self) -> int:
        return 0 if self._clock is None else self._clock.now_us()

    async def take(self, takes: Sequence[Take]) -> list[Taken]:
        """See CounterStore.take."""
        questions = Questions(self.base, takes)
        arguments = questions.arguments(self._now_us())
        told, standings, windows = await self._servers.run(self.number, TAKE, questions.keys, arguments)
        answers = Answers(takes, told, standings, peeked=False)
        self._changed.update(changes(questions, windows, answers.now_us))
        return answers.taken

    async def peek(self, takes: Sequence[Take]) -> list[Taken]:
        """See CounterStore.peek."""
        questions = Questions(self.base, takes)
        arguments = questions.arguments(self._now_us())
        told, standings, _ = await self._servers.run(self.number, PEEK, questions.keys, arguments)
        return Answers(takes, told, standings, peeked=True).taken

    async def amend(self, amendments: Sequence[PartAmendment]) -> list[bool]:
        """See CounterStore.amend."""
        arguments: list[Argument] = [self.base, str(self._now_us())]
        for amendment in amendments:
            arguments += _packed(amendment)
        done, *windows = await self._servers.run(self.number, AMEND, [self.epoch], arguments)
        now_us, *found = unpack(f"<{len(done) // 8}q", done)
        for key, blob in zip(windows[::2], windows[1::2], strict=True):
            start_us, end_us, used = unpack("<3q", blob)
            self._changed[key.decode()[len(self.base) + 2 :]] = (start_us, end_us, used, now_us)
        return [one == 1 for one in found]

    def changed_windows(self) -> list[WindowState]:
        """See CounterStore.changed_windows."""
        changed, self._changed = self._changed, {}
        return [WindowState(key, *window) for key, window in changed.items()]

    async def restore(self, windows: Sequence[WindowState]) -> None:
        """Puts back windows; the epoch is the caller's to set."""
        numbers = [number for each in windows for number in (each.start_us, each.end_us, each.used)]
        keys = [f"{self.base}c:{window.key}" for window in windows]
        arguments: list[Argument] = [self.base, str(self._now_us()), pack(f"<{len(numbers)}d", *numbers)]
        await self._servers.run(self.number, RESTORE, keys, arguments)


@dataclass(frozen=True, slots=True)
class Undo:
    """A part of a take ends as if it had never been."""

    hold_id: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """A part of a take ends with all of its units used."""

    hold_id: str


@dataclass(frozen=True, slots=True)
class Trim:
    """A lease is cut down to ``tokens``, and its life by ``less_us``."""

    lease_id: str
    tokens: int
    less_us: int


PartAmendment = Amendment | Undo | Confirm | Trim


def _packed(amendment: PartAmendment) -> tuple[str, str, str, str]:
    match amendment:
        case Settlement(reservation_id, actual):
            return "S", reservation_id, str(min(actual, _MOST_USED)), "0"
        case LeaseReturn(lease_id, used):
            return "L", lease_id, str(min(used, _MOST_USED)), "0"
        case Trim(lease_id, tokens, less_us):
            return "T", lease_id, str(tokens), str(less_us)
        case Release(name) | Renewal(name) | Undo(name) | Confirm(name):
            return _WORDS[type(amendment)], name, "0", "0"


_WORDS = {Release: "R", Renewal: "N", Undo: "U", Confirm: "C"}

"""Which stored events a watcher was sent. Pure.

Several writers store events at once, so one with a lower number may come to light after one with a higher. The window reaches back by a
few seconds: numbers in it are read again at each look, and those that were sent are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

OVERLAP_US = 6_000_000
"""How far the window reaches back. Writers of reports give up waiting for one another after 5 s."""

BEHIND = 10_000
"""How many numbers before the newest may still come to light when a watcher begins."""


class TailWindow:
    """The numbers above ``after`` that were sent, or stood there before the watcher came."""

    def __init__(self, newest: int) -> None:
        self.after = max(0, newest - BEHIND)
        self._sent: set[int] = set()
        self._marks: deque[tuple[int, int]] = deque()

    @property
    def size(self) -> int:
        """Returns how many numbers it holds."""
        return len(self._sent)

    def add(self, numbers: Iterable[int]) -> None:
        """Takes note of numbers that need not be sent (again)."""
        self._sent.update(number for number in numbers if number > self.after)

    def unsent(self, numbers: Iterable[int]) -> list[int]:
        """Returns those that were not sent, lowest first."""
        return sorted(number for number in numbers if number > self.after and number not in self._sent)

    def jump(self, sent: Sequence[int]) -> None:
        """Begins anew at numbers that were just sent, whatever else stood before them."""
        self.after, self._sent = min(sent) - 1, set(sent)
        self._marks.clear()

    def move(self, newest: int, now_us: int) -> None:
        """Moves on: ``newest`` was the highest number of all at ``now_us``, before the look that was just made."""
        if newest < self.after:  # everything was deleted, and numbers began anew
            self.after, self._sent = newest, set()
            self._marks.clear()
        self._marks.append((now_us, newest))
        before = self.after
        while self._marks and self._marks[0][0] <= now_us - OVERLAP_US:
            self.after = max(self.after, self._marks.popleft()[1])
        if self.after != before:
            self._sent = {number for number in self._sent if number > self.after}

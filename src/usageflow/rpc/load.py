"""Sheds load: so many calls at once and no more, because a queue would only make every answer late."""

from __future__ import annotations

from types import TracebackType

from usageflow.domain.errors import Overloaded

MAX_CALLS = 1_000
"""Calls of one method that may run at once in a process."""

_RETRY_AFTER_S = 0.25
"""Calls take milliseconds: a fuller service has room again long before a second is over."""


class CallCap:
    """Use it in a ``with`` block around a call. Raises Overloaded at once where ``most`` calls are running.

    Each method has its own, so that reports that wait for the database never keep checks out.
    """

    def __init__(self, most: int = MAX_CALLS) -> None:
        self._most = most
        self._running = 0

    def __enter__(self) -> None:
        if self._running >= self._most:
            message = f"{self._running} calls of this method are running already; try again in a moment"
            raise Overloaded(message, retry_after_s=_RETRY_AFTER_S)
        self._running += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running -= 1

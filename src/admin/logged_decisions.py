"""The use-case behind ListDecisions, and the end of what was logged long enough ago."""

from __future__ import annotations

from collections.abc import AsyncIterator

from usageflow.domain.clock import Clock
from usageflow.domain.decision_log import LoggedDecision, decision_of
from usageflow.domain.errors import InvalidArgument
from usageflow.storage.decision_log import START, DecisionLog
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore

PAGE = 500
DEFAULT_SPAN_US = 86_400_000_000


class LoggedDecisions:
    """Reads the decision log, page by page, and forgets what is older than applications keep."""

    def __init__(self, control: ControlStore, decisions: DecisionLog, clock: Clock) -> None:
        self._control = control
        self._decisions = decisions
        self._clock = clock

    async def read(
        self, application: str, *, since_us: int | None, until_us: int | None
    ) -> AsyncIterator[list[LoggedDecision]]:
        """Yields pages in order of time; None means 24 h ago, and now. Raises NotFound, and InvalidArgument for a span that
        ends before it begins.
        """
        found = await application_named(self._control, application)
        now_us = self._clock.now_us()
        start_us = now_us - DEFAULT_SPAN_US if since_us is None else since_us
        end_us = now_us if until_us is None else until_us
        if end_us <= start_us:
            raise InvalidArgument.of("end_time", "is not after start_time", "ask for a span that ends later")
        after = START
        while True:
            page = await self._decisions.read(
                found.application_id, since_us=start_us, until_us=end_us, after=after, limit=PAGE
            )
            if not page:
                return
            after = page[-1][0]
            yield [decision_of(entry) for _, entry in page]

    async def purge(self) -> int:
        """Forgets what is older than each application keeps; returns how many decisions there were."""
        return await self._decisions.purge(now_us=self._clock.now_us())

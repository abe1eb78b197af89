"""The use-case behind QueryUsage."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.clock import Clock
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.usage import UsageGroup, UsageQuery, UsageRow
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore, UsageStore

DEFAULT_SPAN_S = 86_400


class Querying:
    """Answers questions about usage."""

    def __init__(self, control: ControlStore, usage: UsageStore, clock: Clock) -> None:
        self._control = control
        self._usage = usage
        self._clock = clock

    async def query(
        self, application: str, *, since: int | None, until: int | None, group: UsageGroup
    ) -> Sequence[UsageRow]:
        """Returns the rows; ``since`` and ``until`` are Unix seconds, None for the defaults (24 h ago, no end).

        Raises NotFound, and InvalidArgument where ``until`` is not after ``since``.
        """
        found = await application_named(self._control, application)
        start = self._clock.now_us() // 1_000_000 - DEFAULT_SPAN_S if since is None else since
        if until is not None and until <= start:
            raise InvalidArgument.of("end_time", "is not after start_time", "ask for a span that ends later")
        query = UsageQuery(since=start, until=until, group=group, application=found.application_id)
        return await self._usage.query(found.application_id, query)

"""The use-case behind QueryUsage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from usageflow.domain.analytics import (
    UsageAnswer,
    UsageFilter,
    UsageGroup,
    UsageInterval,
    UsageOrder,
    UsageQuery,
)
from usageflow.domain.clock import Clock
from usageflow.domain.hashing import KeyOf
from usageflow.domain.identity import identity_hash
from usageflow.domain.ids import DAY_S
from usageflow.domain.usage_answers import answered
from usageflow.domain.usage_rules import check_query
from usageflow.storage.analytics import UsageAnalytics
from usageflow.storage.naming import application_named
from usageflow.storage.ports import SnapshotSource

DEFAULT_SPAN_S = DAY_S


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks of usage. ``since`` and ``until`` are Unix seconds, None for the defaults (24 h ago, no end); no group and
    no interval: by ENDPOINT.
    """

    application: str
    since: int | None = None
    until: int | None = None
    groups: tuple[UsageGroup, ...] = ()
    interval: UsageInterval | None = None
    filter: UsageFilter = field(default_factory=UsageFilter)
    order: UsageOrder = UsageOrder.REQUESTS
    limit: int = 0


class Querying:
    """Answers questions about usage. ``boundaries`` are those of latency buckets."""

    def __init__(
        self,
        control: SnapshotSource,
        usage: UsageAnalytics,
        clock: Clock,
        key_of: KeyOf,
        boundaries: Sequence[int],
    ) -> None:
        self._control = control
        self._usage = usage
        self._clock = clock
        self._key_of = key_of
        self._boundaries = boundaries

    async def query(self, question: Question) -> UsageAnswer:
        """Returns the answer. Raises NotFound, and InvalidArgument with every fault of the question."""
        found = await application_named(self._control, question.application)
        query = self._query(question)
        minutes_from = self._clock.now_us() // 1_000_000 - found.retention_days * DAY_S
        check_query(query, minutes_from)
        rounded = query.rounded(minutes_from)
        hash_of = partial(identity_hash, hash_key=self._key_of(found.name))
        sums = await self._usage.sums(found.application_id, rounded, hash_of)
        # Percentiles of thousands of rows take a while: others are served meanwhile.
        return await asyncio.to_thread(answered, rounded, sums, self._boundaries)

    def _query(self, question: Question) -> UsageQuery:
        now_s = self._clock.now_us() // 1_000_000
        return UsageQuery(
            since=now_s - DEFAULT_SPAN_S if question.since is None else question.since,
            until=question.until,
            groups=question.groups or (() if question.interval else (UsageGroup.ENDPOINT,)),
            interval=question.interval,
            filter=question.filter,
            order=question.order,
            limit=question.limit,
        )

"""What people ask of reported usage, and sums on their way to an answer. Pure.

Times are Unix time in seconds. Latency is a packed histogram (usageflow.domain.latency).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from usageflow.domain.ids import DAY_S
from usageflow.domain.units import join
from usageflow.domain.usage import EndpointName, Series

MINUTE_S = 60
HOUR_S = 3_600


class UsageGroup(StrEnum):
    """By what usage is grouped, as the contract says."""

    ENDPOINT = "ENDPOINT"
    STATUS = "STATUS"
    STATUS_CLASS = "STATUS_CLASS"
    CUSTOMER = "CUSTOMER"
    IDENTITY = "IDENTITY"
    POLICY = "POLICY"
    REASON = "REASON"
    DEGRADED = "DEGRADED"
    SHADOW_POLICY = "SHADOW_POLICY"


CALLERS = frozenset({UsageGroup.CUSTOMER, UsageGroup.IDENTITY})
"""The groups that tell callers apart: they are kept per hour and day, and per endpoint only."""


class UsageInterval(IntEnum):
    """How many seconds a step of a time series has."""

    MINUTE = MINUTE_S
    HOUR = HOUR_S
    DAY = DAY_S


class UsageOrder(StrEnum):
    """By what rows are ordered, most first."""

    REQUESTS = "REQUESTS"
    UNITS = "UNITS"
    ERRORS = "ERRORS"
    DENIED = "DENIED"
    P95 = "P95"


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """What counts: within a list any of its values, between fields all. ``statuses`` below 10 are classes; in ``endpoints`` an
    empty method or template means any. ``identities`` are as people read them.
    """

    endpoints: tuple[EndpointName, ...] = ()
    customers: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    policies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    denied: bool | None = None
    degraded: bool | None = None
    shadow_denied: bool | None = None

    def names(self, endpoint: EndpointName) -> bool:
        """Tells whether usage of an endpoint counts."""
        return not self.endpoints or any(
            each.method in ("", endpoint.method) and each.template in ("", endpoint.template)
            for each in self.endpoints
        )

    def counts(self, series: Series) -> bool:
        """Tells whether usage under these labels counts, whoever the caller was."""
        return (
            self.names(series.endpoint)
            and (not self.statuses or not {series.status, series.status // 100}.isdisjoint(self.statuses))
            and (not self.policies or series.policy in self.policies)
            and (not self.reasons or series.reason in self.reasons)
            and self.denied in (None, series.denied)
            and self.degraded in (None, bool(series.degraded))
            and self.shadow_denied in (None, bool(series.shadow))
        )


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """From ``since`` (included) to ``until`` (excluded, None: no end), in whole minutes, or whole hours where callers are told
    apart. ``interval`` makes a time series of each group; ``limit`` is the most groups, 0 for all.
    """

    since: int
    until: int | None = None
    groups: tuple[UsageGroup, ...] = ()
    interval: UsageInterval | None = None
    filter: UsageFilter = field(default_factory=UsageFilter)
    order: UsageOrder = UsageOrder.REQUESTS
    limit: int = 0

    @property
    def by_caller(self) -> bool:
        """Tells whether callers are told apart."""
        return bool(CALLERS.intersection(self.groups) or self.filter.customers or self.filter.identities)

    def rounded(self, minutes_from: int = 0) -> UsageQuery:
        """Returns the query over whole minutes or hours: from no later, until no sooner. ``minutes_from`` is the second from which minutes are
        kept: what is older is only known by the hour.
        """
        until = self.until
        if until is not None:
            step = self._step_at(until, minutes_from)
            until = -(-until // step) * step
        step = self._step_at(self.since, minutes_from)
        return replace(self, since=self.since // step * step, until=until)

    def _step_at(self, second: int, minutes_from: int) -> int:
        return HOUR_S if self.by_caller or second < minutes_from else MINUTE_S


class UsageKey(NamedTuple):
    """Which group a row is; None is what was not asked for. ``status`` is a class by STATUS_CLASS, ``policy`` one in SHADOW by
    SHADOW_POLICY.
    """

    endpoint: EndpointName | None = None
    status: int | None = None
    customer: str | None = None
    identity: str | None = None
    policy: str | None = None
    reason: str | None = None
    degraded_reason: str | None = None


def keys_of(series: Series, groups: tuple[UsageGroup, ...]) -> list[UsageKey]:
    """Returns the groups that usage under these labels is in: one, or one per policy in SHADOW by SHADOW_POLICY."""
    values: dict[UsageGroup, tuple[str, Any]] = {
        UsageGroup.ENDPOINT: ("endpoint", series.endpoint),
        UsageGroup.STATUS: ("status", series.status),
        UsageGroup.STATUS_CLASS: ("status", series.status // 100),
        UsageGroup.POLICY: ("policy", series.policy),
        UsageGroup.REASON: ("reason", series.reason),
        UsageGroup.DEGRADED: ("degraded_reason", series.degraded),
    }
    fields: dict[str, Any] = dict(values[group] for group in groups if group in values)
    key = UsageKey()._replace(**fields)
    if UsageGroup.SHADOW_POLICY not in groups:
        return [key]
    return [key._replace(policy=policy) for policy in series.shadow.split("\n")]


@dataclass(slots=True)
class UsageSum:
    """Sums that are being made. ``latency`` holds packed histograms, to be read as one."""

    requests: int = 0
    errors: int = 0
    client_errors: int = 0
    denied: int = 0
    degraded: int = 0
    shadow_denied: int = 0
    whole: int = 0
    pico: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    latency: list[bytes] = field(default_factory=list)

    @property
    def units(self) -> Decimal:
        """Returns the exact units."""
        return join(self.whole, self.pico)

    def add(self, other: UsageSum) -> None:
        """Adds other sums."""
        self.requests += other.requests
        self.errors += other.errors
        self.client_errors += other.client_errors
        self.denied += other.denied
        self.degraded += other.degraded
        self.shadow_denied += other.shadow_denied
        self.whole += other.whole
        self.pico += other.pico
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        self.latency += other.latency


Step = tuple[UsageKey, int]
"""A group, and the start of a step of its series; 0 without an interval."""


@dataclass(slots=True)
class UsageSums:
    """What a store answers: sums per group and step, and of everything that counts, once."""

    rows: dict[Step, UsageSum] = field(default_factory=dict)
    total: UsageSum = field(default_factory=UsageSum)

    def add(self, keys: list[UsageKey], step: int, added: UsageSum) -> None:
        """Adds sums to every group that they are in, and to the total."""
        for key in keys:
            self.rows.setdefault((key, step), UsageSum()).add(added)
        self.total.add(added)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A row of an answer; ``time`` None without an interval. Percentiles are microseconds, None where no latency was reported.

    ``errors`` are responses with status 500 to 599, ``client_errors`` 400 to 499 that we did not deny, ``units`` those of requests
    that were not denied.
    """

    key: UsageKey
    time: int | None
    sums: UsageSum
    percentiles: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """Rows in their order; ``since`` is the first second that they count."""

    rows: tuple[UsageRow, ...]
    since: int
    total: UsageRow

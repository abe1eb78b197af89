"""Rows of usage as people and programs read them, and the question that they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import typer

from usageflow.cli.output import Column
from usageflow.cli.times import format_instant

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from google.protobuf.duration_pb2 import Duration

    from usageflow.v1.analytics_pb2 import QueryUsageRequest, UsageFilter, UsageRow


class By(StrEnum):
    """By what rows are grouped."""

    ENDPOINT = "endpoint"
    STATUS = "status"
    CLASS = "class"
    CUSTOMER = "customer"
    IDENTITY = "identity"
    POLICY = "policy"
    REASON = "reason"
    DEGRADED = "degraded"
    SHADOW = "shadow"
    MINUTE = "minute"


class Every(StrEnum):
    """How long a step of a time series is."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Order(StrEnum):
    """By what rows are ordered, most first."""

    REQUESTS = "requests"
    UNITS = "units"
    ERRORS = "errors"
    DENIED = "denied"
    P95 = "p95"


Latency = Literal["p50", "p95", "p99"]

_GROUPS = {By.CLASS: "STATUS_CLASS", By.SHADOW: "SHADOW_POLICY"}
SUMS = ("requests", "errors", "denied", "units")
LATENCIES: tuple[Latency, ...] = ("p50", "p95", "p99")
FURTHER = ("client_errors", "degraded", "shadow_denied", "request_bytes", "response_bytes")


@dataclass(frozen=True, slots=True)
class Grouping:
    """How rows are grouped: the keys that each has, in order."""

    by: tuple[By, ...]
    every: Every | None

    @classmethod
    def of(cls, by: Sequence[By] | None, every: Every | None) -> Grouping:
        """Returns the grouping of what was written; `--by minute` is `--every minute`. Raises typer.BadParameter."""
        groups = tuple(dict.fromkeys(each for each in by or () if each is not By.MINUTE))
        if by and By.MINUTE in by:
            if every not in (None, Every.MINUTE):
                raise typer.BadParameter("it is --every minute: leave one out", param_hint="--by minute")
            every = Every.MINUTE
        if {By.POLICY, By.SHADOW} <= set(groups) or {By.STATUS, By.CLASS} <= set(groups):
            message = "policy does not go with shadow, nor status with class: ask for one after the other"
            raise typer.BadParameter(message, param_hint="--by")
        return cls(groups if groups or every else (By.ENDPOINT,), every)

    @property
    def keys(self) -> tuple[str, ...]:
        """Returns the names of the keys."""
        return (*((self.every.value,) if self.every else ()), *(each.value for each in self.by))

    def document(self, row: UsageRow) -> dict[str, Any]:
        """Returns a row as programs read it; latencies in milliseconds, None where none was reported."""
        document: dict[str, Any] = {name: self._key(name, row) for name in self.keys}
        document |= {
            "requests": row.requests,
            "errors": row.errors,
            "denied": row.denied,
            "units": Decimal(row.units or 0),
        }
        document |= {name: getattr(row, name) for name in FURTHER}
        for name in LATENCIES:
            known = row.HasField(name)
            document[f"{name}_ms"] = milliseconds(getattr(row, name)) if known else None
        return document

    def _key(self, name: str, row: UsageRow) -> str | int:
        from usageflow.cli.convert import endpoint_title

        if self.every is not None and name == self.every.value:
            return format_instant(row.time.seconds)
        values: dict[str, Any] = {
            By.ENDPOINT: endpoint_title(row.endpoint),
            By.STATUS: row.status,
            By.CLASS: f"{row.status}xx",
            By.CUSTOMER: row.customer,
            By.IDENTITY: row.identity,
            By.POLICY: row.policy,
            By.REASON: row.reason,
            By.DEGRADED: row.degraded_reason,
            By.SHADOW: row.policy,
        }
        return values[name]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of usage; instants in Unix microseconds."""

    application: str
    grouping: Grouping
    start_us: int
    end_us: int | None = None
    filter: UsageFilter | None = None
    order: Order | None = None
    top: int = 0

    def request(self) -> QueryUsageRequest:
        """Returns the request."""
        from usageflow.messages import timestamp_of
        from usageflow.v1 import analytics_pb2

        every = self.grouping.every.name if self.grouping.every else "UNSPECIFIED"
        groups = [
            analytics_pb2.UsageGroup.Value(f"USAGE_GROUP_{_GROUPS.get(each, each.name)}")
            for each in self.grouping.by
        ]
        return analytics_pb2.QueryUsageRequest(
            application=self.application,
            start_time=timestamp_of(self.start_us),
            end_time=timestamp_of(self.end_us) if self.end_us is not None else None,
            group_by=groups,
            interval=analytics_pb2.UsageInterval.Value(f"USAGE_INTERVAL_{every}"),
            filter=self.filter,
            order_by=analytics_pb2.UsageOrder.Value(
                f"USAGE_ORDER_{self.order.name if self.order else 'UNSPECIFIED'}"
            ),
            limit=self.top,
        )


def milliseconds(duration: Duration) -> float:
    """Returns milliseconds, to the microsecond."""
    return round(duration.seconds * 1000 + duration.nanos / 1e6, 3)


def latency_text(value: float | None) -> str:
    """Returns milliseconds in three digits or so: ``1.25 ms``, ``340 ms``, ``12.1 s``."""
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def percent_text(part: int, whole: int) -> str:
    """Returns a share: ``2.5 %``, ``-`` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def columns_of(grouping: Grouping, *, latency: bool) -> list[Column]:
    """Returns the columns of a table of rows."""
    numbers = (*SUMS, *LATENCIES) if latency else SUMS
    return [*(Column(name) for name in grouping.keys), *(Column(name, right=True) for name in numbers)]


def cells_of(grouping: Grouping, document: dict[str, Any], *, latency: bool) -> list[object]:
    """Returns a row's cells. A status is a name, not a number: no thousands separator."""
    cells: list[object] = [str(document[name]) or "-" for name in grouping.keys]
    return cells + sum_cells(document, latency=latency)


def sum_cells(document: dict[str, Any], *, latency: bool) -> list[object]:
    """Returns the cells behind the keys."""
    times = [latency_text(document.get(f"{name}_ms")) for name in LATENCIES] if latency else []
    return [*(document[name] for name in SUMS), *times]

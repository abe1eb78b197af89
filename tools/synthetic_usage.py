"""Much usage at once, minute by minute: what ten million events leave behind, for proofs and benchmarks.

Latencies are lognormal or Pareto per endpoint; everything follows from the seed. Written by tools.synthetic_sums.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usageflow.domain.usage import EndpointName, Series
from usageflow.runtime.resources import latency_boundaries

MINUTE_S = 60
HOUR_S = 3_600

LABELS = (
    (0.80, 200, False, "WITHIN_LIMITS"),
    (0.08, 201, False, "WITHIN_LIMITS"),
    (0.05, 404, False, "WITHIN_LIMITS"),
    (0.02, 500, False, "WITHIN_LIMITS"),
    (0.05, 429, True, "LIMIT_EXCEEDED"),
)
"""Share, status, denied and reason: what requests of an endpoint may end with."""

REQUEST_BYTES, RESPONSE_BYTES = 200, 900
"""Of each request; each uses one unit."""


@dataclass(frozen=True, slots=True)
class Load:
    """``events`` over the ``span_s`` seconds before ``until`` (whole minutes), on ``endpoints`` routes, by ``identities`` callers."""

    events: int
    until: int
    span_s: int = 86_400 + 3_600
    endpoints: int = 100
    identities: int = 20
    seed: int = 7

    @property
    def series(self) -> int:
        """Returns how many series there are: a place for each label of each endpoint."""
        return self.endpoints * len(LABELS)


class Minute(NamedTuple):
    """What was requested from second ``start``: requests by place of a series and latency bucket, and a caller's number by place."""

    start: int
    requests: NDArray[np.int64]
    callers: NDArray[np.int64]


def half_past(now_s: float | None = None) -> int:
    """Returns half past the hour before this one: a span up to it begins and ends with minutes, and is too young to be purged."""
    now = time.time() if now_s is None else now_s
    return int(now) // HOUR_S * HOUR_S - HOUR_S // 2


def latencies_us(chance: np.random.Generator, kind: int, number: int) -> NDArray[np.float64]:
    """Returns heavy-tailed latencies: lognormal for even kinds, Pareto for odd ones."""
    if kind % 2 == 0:
        return chance.lognormal(np.log(20_000), 1.2, number)
    return 5_000 * (1 + chance.pareto(1.3, number))


def buckets_of(latencies: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the latency bucket of each."""
    boundaries = np.array(latency_boundaries(), dtype=np.float64)
    found = np.searchsorted(boundaries, np.floor(latencies))
    return np.minimum(found, len(boundaries) - 1).astype(np.int64)


def minutes_of(load: Load) -> Iterator[Minute]:
    """Yields the minutes of a load in order, each with as many events."""
    chance = np.random.default_rng(load.seed)
    minutes = load.span_s // MINUTE_S
    for number in range(minutes):
        start = load.until - load.span_s + number * MINUTE_S
        yield _minute(load, chance, start, load.events // minutes)


def _minute(load: Load, chance: np.random.Generator, start: int, events: int) -> Minute:
    endpoints = chance.integers(0, load.endpoints, events)
    labels = chance.choice(len(LABELS), events, p=[share for share, *_ in LABELS])
    tails = np.where(endpoints % 2, latencies_us(chance, 1, events), latencies_us(chance, 0, events))
    buckets = len(latency_boundaries())
    slots = (endpoints * len(LABELS) + labels) * buckets + buckets_of(tails)
    requests = np.bincount(slots, minlength=load.series * buckets).reshape(load.series, buckets)
    return Minute(start, requests, chance.integers(0, load.identities, load.series))


def series_at(place: int) -> Series:
    """Returns the series that stands at a place."""
    endpoint, label = divmod(place, len(LABELS))
    _, status, denied, reason = LABELS[label]
    name = EndpointName("GET", f"/api/v1/resource-{endpoint}/{{id}}")
    return Series(name, status, denied, reason, "", "everything")


def identity_of(caller: int) -> str:
    """Returns the identity of the caller with a number."""
    return f"v:user-{caller}"

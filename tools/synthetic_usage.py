"""Much usage at once: what ten million events leave behind, written as deltas and folded, for proofs and benchmarks.

Latencies are lognormal or Pareto per endpoint; everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import numpy as np
from numpy.typing import NDArray

from usageflow.domain.usage import EndpointName, Series, UsageDelta, UsageRecord
from usageflow.runtime.resources import latency_boundaries
from usageflow.storage.sql import Database, SqlAnalytics
from usageflow.storage.sql.usage_rows import append_records

MINUTE_S = 60
_BUCKET_BITS = 16
_LABELS = (
    (0.80, 200, False, "WITHIN_LIMITS"),
    (0.08, 201, False, "WITHIN_LIMITS"),
    (0.05, 404, False, "WITHIN_LIMITS"),
    (0.02, 500, False, "WITHIN_LIMITS"),
    (0.05, 429, True, "LIMIT_EXCEEDED"),
)
FOLDED_AT_ONCE = 20_000
FOLDED_MINUTES = 40


@dataclass(frozen=True, slots=True)
class Load:
    """``events`` over the ``span_s`` seconds before ``until``, on ``endpoints`` routes, by ``identities`` callers."""

    events: int
    until: int
    span_s: int = 86_400 + 3_600
    endpoints: int = 100
    identities: int = 20
    seed: int = 7


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


def minutes_of(load: Load) -> Iterator[list[UsageDelta]]:
    """Yields the deltas of each minute, a delta per series."""
    chance = np.random.default_rng(load.seed)
    minutes = load.span_s // MINUTE_S
    first = (load.until - load.span_s) // MINUTE_S * MINUTE_S
    for minute in range(minutes):
        yield _minute(load, chance, minute, first, load.events // minutes)


def _minute(
    load: Load, chance: np.random.Generator, minute: int, first: int, events: int
) -> list[UsageDelta]:
    """Returns a delta per endpoint and label that has requests in this minute."""
    endpoints = chance.integers(0, load.endpoints, events)
    labels = chance.choice(len(_LABELS), events, p=[share for share, *_ in _LABELS])
    tails = np.where(endpoints % 2, latencies_us(chance, 1, events), latencies_us(chance, 0, events))
    series = endpoints * len(_LABELS) + labels
    slots, requests = np.unique(series << _BUCKET_BITS | buckets_of(tails), return_counts=True)
    histograms: dict[int, list[tuple[int, int]]] = {}
    for slot, number in zip(slots.tolist(), requests.tolist(), strict=True):
        histograms.setdefault(slot >> _BUCKET_BITS, []).append((slot & (1 << _BUCKET_BITS) - 1, number))
    identities = chance.integers(0, load.identities, len(histograms)).tolist()
    second = first + minute * MINUTE_S
    return [
        _delta(divmod(place, len(_LABELS)), f"v:user-{identity}", second, tuple(histogram))
        for (place, histogram), identity in zip(histograms.items(), identities, strict=True)
    ]


def _delta(
    place: tuple[int, int], identity: str, second: int, histogram: tuple[tuple[int, int], ...]
) -> UsageDelta:
    endpoint, label = place
    _, status, denied, reason = _LABELS[label]
    size = sum(number for _, number in histogram)
    name = EndpointName("GET", f"/api/v1/resource-{endpoint}/{{id}}")
    series = Series(name, status, denied, reason, "", "everything")
    return UsageDelta(series, identity, second, size, Decimal(size), 200 * size, 900 * size, histogram)


async def write(database: Database, application_id: str, load: Load) -> int:
    """Writes the load as sums; returns its events."""
    analytics, events = SqlAnalytics(database), 0
    for number, deltas in enumerate(minutes_of(load)):
        record = UsageRecord(f"load-{load.seed}-{number}", 0, bytes(16), tuple(deltas))
        await database.write(partial(append_records, application_id=application_id, records=[record]))
        events += sum(delta.requests for delta in deltas)
        if number % FOLDED_MINUTES == 0:
            await _fold_all(analytics)
    await _fold_all(analytics)
    return events


async def _fold_all(analytics: SqlAnalytics) -> None:
    while await analytics.fold(FOLDED_AT_ONCE):
        pass

"""What deltas add to the tables of sums, worked out before anything is written. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from usageflow.domain.analytics import HOUR_S, MINUTE_S
from usageflow.domain.ids import DAY_S
from usageflow.domain.units import PICO

Key = tuple[Any, ...]
"""The primary key of a row of sums."""

SUMS = ("requests", "whole", "pico", "request_bytes", "response_bytes")
TALLIES = ("errors", "client_errors", "denied", "degraded")
_PICO = SUMS.index("pico") - len(SUMS)

MOST = 2**63 - 1
"""Where a sum of one step stops, because no database holds more: only absurd reports reach it."""


class Delta(NamedTuple):
    """A row of usage_deltas, without its number."""

    application_id: str
    series_id: int
    pseudonym: int
    second: int
    requests: int
    whole: int
    pico: int
    request_bytes: int
    response_bytes: int
    latency: bytes


class SeriesLabels(NamedTuple):
    """What of a series goes into sums per identity."""

    endpoint_id: int
    status: int
    denied: bool
    degraded: bool


class Rolled:
    """Sums per key: numbers in the order of the table's columns, and histograms to be joined."""

    def __init__(self) -> None:
        self.numbers: dict[Key, list[int]] = {}
        self.latency: dict[Key, list[bytes]] = {}

    def add(self, key: Key, numbers: Iterable[int], latency: Iterable[bytes]) -> None:
        """Adds to the sums of a key."""
        known = self.numbers.get(key)
        if known is None:
            self.numbers[key], self.latency[key] = list(numbers), list(latency)
        else:
            self.numbers[key] = list(map(operator.add, known, numbers))
            self.latency[key] += latency

    def over(self, key_of: Callable[[Key], Key]) -> Rolled:
        """Returns the sums of these by other keys."""
        rolled = Rolled()
        for key, numbers in self.numbers.items():
            rolled.add(key_of(key), numbers, self.latency[key])
        return rolled

    def finished(self, key: Key) -> list[int]:
        """Returns the numbers of a key as they are stored: 10^12 of pico are one whole."""
        numbers = self.numbers[key]
        carry, numbers[_PICO] = divmod(numbers[_PICO], PICO)
        numbers[_PICO - 1] += carry
        return numbers if max(numbers) <= MOST else [min(number, MOST) for number in numbers]


class Folding(NamedTuple):
    """What some deltas add to each table, by its name, and when endpoints were used: (first, last second) by id."""

    rolled: Mapping[str, Rolled]
    used: Mapping[int, tuple[int, int]]


def fold(deltas: Iterable[Delta], series: Mapping[int, SeriesLabels]) -> Folding:
    """Returns what deltas add up to. Each table is made from the next finer one, so each delta is looked at once."""
    finest = Rolled()
    used: dict[int, tuple[int, int]] = {}
    for each in deltas:
        key = (each.series_id, each.second // MINUTE_S * MINUTE_S, each.application_id, each.pseudonym)
        finest.add(key, each[4:9], (each.latency,))
        endpoint_id = series[each.series_id].endpoint_id
        first, last = used.get(endpoint_id, (each.second, each.second))
        used[endpoint_id] = (min(first, each.second), max(last, each.second))
    minutes = finest.over(lambda key: key[:2])
    hours = minutes.over(lambda key: (key[0], key[1] // HOUR_S * HOUR_S))
    identity_hours = _of_identities(finest, series)
    rolled = {
        "usage_minutes": minutes,
        "usage_hours": hours,
        "usage_days": hours.over(lambda key: (key[0], key[1] // DAY_S * DAY_S)),
        "identity_hours": identity_hours,
        "identity_days": identity_hours.over(lambda key: (key[0], key[1] // DAY_S * DAY_S, *key[2:])),
    }
    return Folding(rolled, used)


def _of_identities(finest: Rolled, series: Mapping[int, SeriesLabels]) -> Rolled:
    """Returns the sums per application, hour, pseudonym, endpoint and whether it was denied."""
    rolled = Rolled()
    for key, numbers in finest.numbers.items():
        series_id, minute, application_id, pseudonym = key
        labels, requests = series[series_id], numbers[0]
        tallies = (
            requests if 500 <= labels.status <= 599 else 0,
            requests if 400 <= labels.status <= 499 and not labels.denied else 0,
            requests if labels.denied else 0,
            requests if labels.degraded else 0,
        )
        counted = (requests, 0, 0, *numbers[3:]) if labels.denied else numbers  # a denial uses no units
        target = (application_id, minute // HOUR_S * HOUR_S, pseudonym, labels.endpoint_id, labels.denied)
        rolled.add(target, (*tallies, *counted), finest.latency[key])
    return rolled

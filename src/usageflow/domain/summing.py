"""Sums of what many reports add: exact, in whole numbers, and far fewer rows than reports. Pure."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from usageflow.domain.latency import pack
from usageflow.domain.units import PICO, split
from usageflow.domain.usage import EndpointName, MeteringDelta, Series, UsageDelta

MOST_REQUESTS = 10**12
MOST = 2**62
"""No sum grows past these, which 64 bits hold: what would is a further row. What is out of bounds by itself stays alone, so
that nothing hides it from the store, which refuses it.
"""

# Most units and histograms repeat, and working them out takes longer than finding them.
_split = functools.lru_cache(maxsize=4096)(split)
_packed = functools.lru_cache(maxsize=4096)(pack)


class UsageSum(NamedTuple):
    """Usage of one series, identity and second. Units are ``whole`` and ``pico`` (10^-12); ``latency`` is packed."""

    series: Series
    identity: str
    second: int
    requests: int
    whole: int
    pico: int
    request_bytes: int
    response_bytes: int
    latency: bytes


class MeteringSum(NamedTuple):
    """What is billed of one endpoint, identity, policy, price, revision and second."""

    endpoint: EndpointName
    identity: str
    policy: str
    price: str
    revision: int
    second: int
    requests: int
    whole: int
    pico: int


def sum_usage(deltas: Iterable[UsageDelta]) -> list[UsageSum]:
    """Returns the sums of deltas per (series, identity, second), in the order of the first of each."""
    adding = _Adding()
    for series, identity, second, requests, units, request_bytes, response_bytes, latency in deltas:
        whole, pico = _split(units)
        row = adding.add((series, identity, second), requests, whole, pico, request_bytes, response_bytes)
        row[-1].append(_packed(latency))
    return [
        UsageSum(series, identity, second, requests, whole, pico, received, sent, b"".join(latency))
        for (series, identity, second), requests, whole, pico, received, sent, latency in adding.rows
    ]


def sum_metering(deltas: Iterable[MeteringDelta]) -> list[MeteringSum]:
    """Returns the sums of deltas per all that is billed apart, in the order of the first of each."""
    adding = _Adding()
    for delta in deltas:
        whole, pico = _split(delta.units)
        adding.add(delta[:6], delta.requests, whole, pico, 0, 0)
    return [MeteringSum(*row[0], *row[1:4]) for row in adding.rows]


class _Adding:
    """Rows of [key, requests, whole, pico, request bytes, response bytes, histograms]."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self._open: dict[Hashable, list[Any]] = {}

    def add(self, key: Hashable, requests: int, whole: int, pico: int, received: int, sent: int) -> list[Any]:
        """Adds to the open row of the key, or begins another; returns the row."""
        made = [key, requests, whole, pico, received, sent, []]
        if not (
            0 <= requests <= MOST_REQUESTS
            and 0 <= whole <= MOST
            and 0 <= received <= MOST
            and 0 <= sent <= MOST
        ):
            self.rows.append(made)
            return made
        row = self._open.setdefault(
            key, made
        )  # hashing a key takes longer than making a row that is not needed
        if row is not made:
            carry, rest = divmod(row[3] + pico, PICO)
            sums = (row[1] + requests, row[2] + whole + carry, rest, row[4] + received, row[5] + sent)
            if sums[0] <= MOST_REQUESTS and sums[1] <= MOST and sums[3] <= MOST and sums[4] <= MOST:
                row[1:6] = sums
                return row
            self._open[key] = made
        self.rows.append(made)
        return made

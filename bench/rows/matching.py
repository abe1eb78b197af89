"""Matching: the same number of matches among 100,000 policies and among 10, and the obvious matcher next to it.

It waits for nothing, so it is measured in processor time, which a busy machine changes least.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.run import Run
from bench.statistics import median_ratio, ratios_in_turn
from usageflow.domain.matching import Entry, MatchTarget, PatternTrie, target_of_route
from usageflow.domain.patterns import Methods, Pattern, naive_matches

SMALL, LARGE = 10, 100_000
PAIRS = 9
LOOKUPS = 10_000
TARGETS = 1_000
"""Requests that are asked in turn, each for another policy where there are as many."""


@dataclass(frozen=True, slots=True)
class _Size:
    entries: Sequence[Entry[int]]
    trie: PatternTrie[int]
    targets: Sequence[MatchTarget]


def ratio_of_sizes(run: Run) -> float:
    """Returns the time of a lookup among many policies over that among few: the median of pairs."""
    small, large = _size(SMALL), _size(LARGE)
    _check(small, large)
    pairs = ratios_in_turn(PAIRS, lambda: _trie_us(large, LOOKUPS), lambda: _trie_us(small, LOOKUPS))
    for name, place, size in (("10", 1, small), ("100k", 0, large)):
        many = f"{len(size.entries):,} policies"
        run.beside(f"match_us_{name}", f"matching among {many}", median(pair[place] for pair in pairs), "us")
        lookups = LOOKUPS * SMALL // len(size.entries) or 5
        run.beside(f"match_naive_us_{name}", f"naive matching among {many}", _naive_us(size, lookups), "us")
    return median_ratio(pairs)


def _size(policies: int) -> _Size:
    """Returns that many policies: each its own path of three segments, but two that match them all."""
    paths = ["/api/*", "/api/:service/*", *(_path(number) for number in range(policies - 2))]
    entries = [
        Entry(Methods.parse(("POST",)), Pattern.parse(path), 0, f"p{number}", number)
        for number, path in enumerate(paths)
    ]
    chosen = random.Random(1).choices(range(policies - 2), k=TARGETS)
    routes = [(_path(number).replace(":id", "{id}"), {"id": f"order-{number}"}) for number in chosen]
    return _Size(entries, PatternTrie(entries), [target_of_route(*route) for route in routes])


def _path(number: int) -> str:
    return f"/api/service-{number % 300}/resource-{number}/:id"


def _check(*sizes: _Size) -> None:
    for size in sizes:
        for target in size.targets[:3]:
            found = size.trie.lookup("POST", target)
            assert len(found) == 3, found  # noqa: S101 - a bench that matches something else measures nothing
            assert sorted(found) == sorted(_naive(size.entries, target))  # noqa: S101 - as above


def _trie_us(size: _Size, lookups: int) -> float:
    return _us(lambda target: size.trie.lookup("POST", target), size.targets, lookups)


def _naive_us(size: _Size, lookups: int) -> float:
    return _us(lambda target: _naive(size.entries, target), size.targets, lookups)


def _naive(entries: Sequence[Entry[int]], target: MatchTarget) -> Sequence[int]:
    return [
        entry.value
        for entry in entries
        if entry.methods.matches("POST")
        and naive_matches(entry.pattern, target.segments, open_end=target.open_end)
    ]


def _us(look_up: Callable[[MatchTarget], object], targets: Sequence[MatchTarget], lookups: int) -> float:
    asked = [targets[number % len(targets)] for number in range(lookups)]
    started = time.process_time()
    for target in asked:
        look_up(target)
    return (time.process_time() - started) / lookups * 1e6

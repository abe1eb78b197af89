"""The accuracy table: what its cells are, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PROCESSES = (1, 3, 5)
LIMITS = (10, 100, 10_000)
WINDOWS_S = (1, 10, 60)
LOADS = (0.9, 1.0, 1.5, 2.0)
ALGORITHMS = ("FIXED_WINDOW", "TOKEN_BUCKET", "SLIDING_WINDOW")

LEAST_SHARE = 0.99
READING_ERROR = 1
"""Units that a real clock may hide: instants are known only between question and answer."""


class Cell(NamedTuple):
    """A limit under a load; ``load`` 1 means that as many requests come as the limit lets through."""

    processes: int
    algorithm: str
    limit: int
    window_s: int
    load: float


class Row(NamedTuple):
    """What was found. ``unanswered`` requests may have taken, or not."""

    cell: Cell
    simulated: bool
    asked: int
    unanswered: int
    allowed: int
    admitted: int
    beyond: int

    @property
    def share(self) -> float:
        """Returns which share of what is allowed was admitted."""
        return self.admitted / self.allowed if self.allowed else 1.0

    @property
    def holds(self) -> bool:
        """Tells whether nothing is beyond the promise, and nearly all that it allows was admitted."""
        hidden = 0 if self.simulated else self.unanswered + READING_ERROR
        return not self.beyond and self.admitted + hidden >= LEAST_SHARE * self.allowed


def cells(
    windows_s: Iterable[int], limits: Iterable[int], processes: Iterable[int] = PROCESSES
) -> list[Cell]:
    """Returns the cells of these windows and limits, for every algorithm and load."""
    windows, units = tuple(windows_s), tuple(limits)
    return [
        Cell(count, algorithm, limit, window_s, load)
        for count in processes
        for algorithm in ALGORITHMS
        for window_s in windows
        for limit in units
        for load in LOADS
    ]


INTRODUCTION = """# How exact limits are

Several decision processes share one Redis, and each request goes to a random one of them. *allowed* is what the algorithm's promise leaves
room for, worked out from the requests alone; *share* is how much of that was admitted; *beyond* is what was admitted although the promise
had no room, and must be 0. Load 1 means that as many requests come as the limit lets through. With a real clock, real processes are asked
over gRPC for 22 s, and a unit of *allowed* may be a reading error, since instants are known only between question and answer; with a
simulated one, as many counter stores on a real Redis are asked for two windows (limit 10,000) or four. `make prove CASE=accuracy` writes this
page anew, to `bench/out/accuracy.md`.

"""


def page(rows: Iterable[Row]) -> str:
    """Returns the published page."""
    return INTRODUCTION + table(rows)


def table(rows: Iterable[Row]) -> str:
    """Returns the rows as Markdown."""
    heads = [
        "processes",
        "algorithm",
        "limit",
        "window",
        "load",
        "clock",
        "asked",
        "unanswered",
        "allowed",
        "admitted",
        "share",
        "beyond",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in sorted(rows):
        cell, clock = row.cell, "simulated" if row.simulated else "real"
        fields = (*cell[:3], f"{cell.window_s} s", cell.load, clock, row.asked, row.unanswered)
        found = (row.allowed, row.admitted, f"{row.share:.2%}", row.beyond)
        lines.append("| " + " | ".join(str(field) for field in (*fields, *found)) + " |")
    return "\n".join(lines) + "\n"

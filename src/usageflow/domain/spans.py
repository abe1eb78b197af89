"""How a span of time is read from sums of days, hours and minutes. Pure."""

from __future__ import annotations

from typing import NamedTuple

from usageflow.domain.analytics import HOUR_S, MINUTE_S
from usageflow.domain.ids import DAY_S

NO_END = 2**62
"""Stands for the end of a span that has none."""


class Piece(NamedTuple):
    """A part of a span: whole steps of ``step`` seconds, from ``start`` (included) to ``end`` (excluded)."""

    step: int
    start: int
    end: int


def pieces(since: int, until: int | None, longest: int = DAY_S, shortest: int = MINUTE_S) -> list[Piece]:
    """Returns the pieces that make up a span of whole ``shortest`` steps, as few and as long as may be.

    ``longest`` is the longest step that may be used: no longer than the steps of a time series.
    """
    steps = [step for step in (DAY_S, HOUR_S, MINUTE_S) if shortest <= step <= longest]
    return _split(since, NO_END if until is None else until, steps)


def _split(start: int, end: int, steps: list[int]) -> list[Piece]:
    if start >= end:
        return []
    step, *shorter = steps
    if not shorter:
        return [Piece(step, start, end)]
    first = -(-start // step) * step
    last = end if end == NO_END else end // step * step
    if first >= last:
        return _split(start, end, shorter)
    return [*_split(start, first, shorter), Piece(step, first, last), *_split(last, end, shorter)]

"""Budgets and what was measured against them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which side of its budget a value must be on."""

    HIGHER = "higher"
    LOWER = "lower"


class NotMeasured(Exception):
    """A figure could not be measured; the text says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise: ``name`` in files, ``title`` for people, and the value that must be reached or not passed."""

    name: str
    title: str
    limit: float
    unit: str
    better: Better

    def met_by(self, value: float) -> bool:
        """Tells whether a value keeps the promise; the budget itself does."""
        return value >= self.limit if self.better is Better.HIGHER else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """What a budget's measurement said; ``value`` None where it could not be measured, for the reason ``why``."""

    budget: Budget
    value: float | None
    why: str = ""

    @property
    def met(self) -> bool:
        """Tells whether the budget is met: what could not be measured is not."""
        return self.value is not None and self.budget.met_by(self.value)

    @property
    def verdict(self) -> str:
        """Returns the verdict in words; a miss says by how much."""
        if self.value is None:
            return f"not measured: {self.why}"
        if self.met:
            return "met"
        return f"missed by {abs(self.value / self.budget.limit - 1):.0%}"


@dataclass(frozen=True, slots=True)
class Beside:
    """A figure without a budget, measured beside the others in the same run."""

    name: str
    title: str
    value: float
    unit: str

"""Judges what leasing clients admitted, from the instants of their requests alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from tools.prove.lease_clients import Admission, Rule, Shared
from tools.prove.promises import fits_bucket, fullest, over_bucket

LEAST_SHARE = 0.99
_S = 1_000_000
_WARM_WINDOWS = 3
"""After so many windows a bucket's first burst is used up at 1.5 times its rate: what is steady begins then."""

_LIFE_US = _S
"""The longest life of tokens from a bucket."""


class Steady(NamedTuple):
    """A steady load: of ``allowed`` requests ``admitted`` were, ``beyond`` the promise; ``lost`` units may have been taken by calls
    without an answer.
    """

    rule: Rule
    arrived: int
    by_token: int
    allowed: int
    admitted: int
    beyond: int
    lost: int

    @property
    def share(self) -> float:
        """Returns which share of what is allowed was admitted."""
        return self.admitted / self.allowed


def judge_steady(shared: Shared, error_us: int) -> Steady:
    """Judges one identity under a steady load."""
    bucket = shared.rule.algorithm == "TOKEN_BUCKET"
    allowed, admitted, beyond = _steady_bucket(shared, error_us) if bucket else _steady_window(shared)
    arrived = len(shared.arrived)
    return Steady(shared.rule, arrived, shared.by_token, allowed, admitted, beyond, shared.lost)


def _steady_bucket(shared: Shared, error_us: int) -> tuple[int, int, int]:
    rule, arrived = shared.rule, sorted(shared.arrived)
    beyond = _over(shared.admitted, rule.limit, [(0, _rate(rule, 1))], error_us)
    steady_us = arrived[0] + _WARM_WINDOWS * rule.window_s * _S
    allowed = fits_bucket(arrived, rule.limit, rule.window_s * _S)
    middles = [(one.when.early_us + one.when.late_us) // 2 for one in shared.admitted]
    return _since(allowed, steady_us), _since(middles, steady_us), beyond


def _steady_window(shared: Shared) -> tuple[int, int, int]:
    rule, arrived = shared.rule, sorted(shared.arrived)
    window_us = rule.window_s * _S
    used = _by_window(shared.admitted, window_us)
    # Windows whose end is not known lack these; what no window is known to hold cannot be missing from it.
    unknown = len(shared.admitted) - sum(used.values())
    asked = [bisect_left(arrived, end_us) - bisect_left(arrived, end_us - window_us) for end_us in used]
    allowed = max(1, sum(min(rule.limit, count) for count in asked) - unknown)
    beyond = sum(max(0, count - rule.limit) for count in used.values())
    return allowed, sum(used.values()), beyond


def _since(instants: Iterable[int], start_us: int) -> int:
    return sum(at_us >= start_us for at_us in instants)


def _by_window(admitted: Iterable[Admission], window_us: int) -> dict[int, int]:
    return fullest((one.ends_us for one in admitted if one.ends_us is not None), window_us)


def _rate(rule: Rule, factor: float) -> Fraction:
    return Fraction(int(rule.limit * factor), rule.window_s * _S)


def _over(
    admitted: Iterable[Admission], burst: int, rates: Sequence[tuple[int, Fraction]], error_us: int
) -> int:
    return over_bucket([one.when for one in admitted], burst, rates, error_us=error_us)


class Step(NamedTuple):
    """From ``began_us`` some processes may decide by limits times ``factor``, from ``settled_us`` on all do."""

    factor: float
    began_us: int
    settled_us: int


@dataclass
class Steps:
    """The revisions of a run, the first of which holds from the start."""

    each: list[Step] = field(default_factory=lambda: [Step(1.0, 0, 0)])

    def add(self, factor: float, began_us: int, settled_us: int) -> None:
        """Notes a revision."""
        self.each.append(Step(factor, began_us, settled_us))

    def spans(self, after_us: int) -> list[tuple[float, int, int]]:
        """Returns (factor, from, to) for which only one revision counts, ``after_us`` after it was settled."""
        ends = [step.began_us for step in self.each[1:]]
        return [
            (step.factor, step.settled_us + after_us, end_us)
            for step, end_us in zip(self.each, [*ends, 2**62], strict=True)
        ]

    def rates(self, rule: Rule) -> list[tuple[int, Fraction]]:
        """Returns the highest rate that some process may have decided by, from when on."""
        found = [(0, _rate(rule, self.each[0].factor))]
        for before, step in zip(self.each, self.each[1:], strict=False):
            found.append((step.began_us, _rate(rule, max(before.factor, step.factor))))
            found.append((step.settled_us, _rate(rule, step.factor)))
        return found


def over_steps(shared: Shared, steps: Steps, error_us: int) -> int:
    """Returns how many requests were admitted beyond the promise of the highest limit of the whole run, or of the one limit that
    counts in a span between two changes, once the tokens of the one before are gone.
    """
    if shared.rule.algorithm == "TOKEN_BUCKET":
        return _bucket_over_steps(shared, steps, error_us)
    return _windows_over_steps(shared, steps)


def _bucket_over_steps(shared: Shared, steps: Steps, error_us: int) -> int:
    rule = shared.rule
    burst = int(rule.limit * max(step.factor for step in steps.each))
    over = _over(shared.admitted, burst, steps.rates(rule), error_us)
    for factor, from_us, to_us in steps.spans(_LIFE_US):
        inside = [one for one in shared.admitted if from_us <= one.when.early_us and one.when.late_us < to_us]
        over += _over(inside, int(rule.limit * factor), [(0, _rate(rule, factor))], error_us)
    return over


def _windows_over_steps(shared: Shared, steps: Steps) -> int:
    rule, window_us = shared.rule, shared.rule.window_s * _S
    used = _by_window(shared.admitted, window_us)
    over = sum(
        max(0, count - int(rule.limit * max(step.factor for step in steps.each))) for count in used.values()
    )
    for factor, from_us, to_us in steps.spans(0):
        inside = {end: count for end, count in used.items() if from_us <= end - window_us and end < to_us}
        over += sum(max(0, count - int(rule.limit * factor)) for count in inside.values())
    return over

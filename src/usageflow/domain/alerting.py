"""When an alert fires and when it is over. Pure: readings come in, and so does time (Unix microseconds).

An alert is OK, PENDING (the threshold is reached, not yet for long enough) or FIRING. Each verdict moves it by one step; FIRED and
RESOLVED take turns, whatever the verdicts are, and between two FIRED lie at least ``keep_firing_for`` and ``pending_for``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from usageflow.domain.alerts import AlertKind, AlertMeasure, AlertRule
from usageflow.domain.latency import quantile

PERIOD_US = 15_000_000
"""Between two looks at a rule; long windows are looked at less often."""

_LONGEST_PERIOD_US = 300_000_000
_MISSED = 4
"""After so many periods without a look nobody knows whether a condition held without a break: its time begins anew."""


class Verdict(StrEnum):
    """What a reading means: the threshold is reached, it is clear, or something between these."""

    REACHED = "REACHED"
    BETWEEN = "BETWEEN"
    CLEAR = "CLEAR"


class Phase(StrEnum):
    """Where an alert stands."""

    OK = "OK"
    PENDING = "PENDING"
    FIRING = "FIRING"


class Transition(StrEnum):
    """What people are told."""

    FIRED = "FIRED"
    RESOLVED = "RESOLVED"


@dataclass(frozen=True, slots=True)
class Reading:
    """Sums over a window; ``latency`` maps bucket to requests and, as ``errors`` (status 500 to 599), leaves our own denials out.
    ``earlier``: there were requests in the day before the window.
    """

    requests: int = 0
    errors: int = 0
    denied: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class AlertState:
    """An alert between two looks. ``since_us``: when the phase began; ``clear_us``: since when a firing one is clear; ``seen_us``:
    the last look; ``alert_id`` names a firing one.
    """

    phase: Phase = Phase.OK
    since_us: int = 0
    clear_us: int | None = None
    seen_us: int = 0
    value: float = 0.0
    alert_id: str = ""


QUIET = AlertState()


def period_us(rule: AlertRule) -> int:
    """Returns the time between two looks at a rule: a sixtieth of its window, 15 s at least, 5 min at most."""
    if rule.kind is AlertKind.QUOTA:
        return PERIOD_US
    return max(PERIOD_US, min(_LONGEST_PERIOD_US, rule.window_us // 60))


def judge(rule: AlertRule, reading: Reading, boundaries: Sequence[int]) -> tuple[Verdict, float]:
    """Returns what a reading means for a rule (of any kind but QUOTA), and its value. Too few requests are CLEAR."""
    if rule.kind is AlertKind.SILENCE:
        return _silence(rule, reading)
    served = reading.requests - reading.denied
    if rule.kind is AlertKind.DENIALS:
        if rule.measure is AlertMeasure.COUNT:
            return judge_value(rule, rule.threshold, float(reading.denied))
        counted, value = reading.requests, _share(reading.denied, reading.requests)
    elif rule.kind is AlertKind.ERROR_RATE:
        counted, value = served, _share(reading.errors, served)
    else:
        counted = sum(reading.latency.values())
        value = quantile(reading.latency, 0.95, boundaries) / 1000
    if counted < rule.min_requests:
        return Verdict.CLEAR, value
    return judge_value(rule, rule.threshold, value)


def judge_value(rule: AlertRule, threshold: float, value: float) -> tuple[Verdict, float]:
    """Returns what a value means beside a threshold of the rule, and the value."""
    if value >= threshold:
        return Verdict.REACHED, value
    return (Verdict.CLEAR if value < rule.clears_below(threshold) else Verdict.BETWEEN), value


def _silence(rule: AlertRule, reading: Reading) -> tuple[Verdict, float]:
    if reading.requests:
        return Verdict.CLEAR, 0.0
    # Nobody was ever there: no alert begins, but one that fires goes on until somebody comes.
    return (Verdict.REACHED if reading.earlier else Verdict.BETWEEN), rule.window_us / 1e6


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def step(
    state: AlertState, verdict: Verdict, value: float, rule: AlertRule, now_us: int, new_id: str
) -> tuple[AlertState, Transition | None]:
    """Returns the state after a look, and what people are told. ``new_id`` becomes the alert's id where it fires."""
    now_us = max(now_us, state.seen_us)
    unbroken = now_us - state.seen_us <= _MISSED * period_us(rule)
    seen = replace(state, seen_us=now_us, value=value)
    if state.phase is Phase.FIRING:
        return _firing(seen, verdict, rule, unbroken=unbroken)
    if verdict is not Verdict.REACHED:
        return QUIET, None
    since_us = state.since_us if state.phase is Phase.PENDING and unbroken else now_us
    if now_us - since_us < rule.pending_for_us:
        return replace(seen, phase=Phase.PENDING, since_us=since_us), None
    fired = AlertState(Phase.FIRING, now_us, None, now_us, value, new_id)
    return fired, Transition.FIRED


def _firing(
    seen: AlertState, verdict: Verdict, rule: AlertRule, *, unbroken: bool
) -> tuple[AlertState, Transition | None]:
    if verdict is not Verdict.CLEAR:
        return replace(seen, clear_us=None), None
    clear_us = seen.clear_us if seen.clear_us is not None and unbroken else seen.seen_us
    if seen.seen_us - clear_us < rule.keep_firing_for_us:
        return replace(seen, clear_us=clear_us), None
    return QUIET, Transition.RESOLVED

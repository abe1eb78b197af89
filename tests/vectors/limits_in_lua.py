"""Runs the arithmetic of the scripts for Redis by itself: states go in and come out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from usageflow.domain.calendars import Bounds
from usageflow.domain.limits import Bucket, Rule, Sliding, Standing, State, Window
from usageflow.storage.redis.questions import KINDS
from usageflow.storage.redis.scripts import source

_STEPS = """
local function write(state)
  if state.kind == FIXED_WINDOW then
    return { state.kind, state.start, state.stop, state.used, 0, 0 }
  elseif state.kind == TOKEN_BUCKET then
    return { state.kind, state.whole, state.part, state.at, state.rate, state.held or 0 }
  end
  return { state.kind, state.start, state.previous, state.present, 0, 0 }
end

local function read(rule, s)
  if not s or s == cjson.null then
    return nil
  elseif s[1] == FIXED_WINDOW then
    return { kind = s[1], window = rule.window, start = s[2], stop = s[3], used = s[4] }
  elseif s[1] == TOKEN_BUCKET then
    -- What is due never matters here, but only a state that has something due holds units.
    return { kind = s[1], window = rule.window, whole = s[2], part = s[3], at = s[4], rate = s[5], held = s[6],
      leases = 0, due = s[6] > 0 and 1 or nil, last = 1 }
  end
  return { kind = s[1], window = rule.window, start = s[2], previous = s[3], present = s[4] }
end

local function words(numbers)
  local out = {}
  for n = 1, #numbers do
    out[n] = string.format('%.0f', numbers[n])
  end
  return out
end

local function take(rule, state, step)
  local now, cost = step.now, step.cost
  local after = current(state, rule, now)
  local fits = cost <= room(after, rule, now)
  local before = { standing(after, rule, now, cost) }
  if fits then
    debit(after, cost)
  elseif rule.charges then
    local left = room(after, rule, now)
    debit(after, math.max(0, math.min(cost, left)))
  end
  return { fits and 1 or 0, words(before), words({ standing(after, rule, now, cost) }), words(write(after)) }
end

local out = {}
for n, step in ipairs(cjson.decode(ARGV[1])) do
  local rule = step.rule
  local state = read(rule, step.state)
  if step.ends then
    local after = end_hold(state, rule.window, step.now, step.ends[1], step.ends[2], step.ends[3])
    out[n] = after and words(write(after)) or false
  elseif step.product then
    out[n] = words({ muldiv(step.product[1], step.product[2], step.product[3]) })
  else
    out[n] = take(rule, state, step)
  end
end
return out
"""


@dataclass(frozen=True)
class Told:
    """What one take came to."""

    fits: bool
    before: Standing
    after: Standing
    state: State


class LuaLimits:
    """Asks a Redis. Each method is one call for many cases."""

    def __init__(self, client: Redis) -> None:
        self._script = client.register_script(source("arithmetic") + _STEPS)

    def take(self, cases: Sequence[tuple[State | None, Rule, int, int, Bounds | None]]) -> list[Told]:
        """Takes from (state, rule, now_us, cost, bounds)."""
        steps = [
            {"state": _state(state, rule), "rule": _rule(rule, bounds), "now": now_us, "cost": cost}
            for state, rule, now_us, cost, bounds in cases
        ]
        return [
            Told(fits == 1, _standing(before), _standing(after), _read(state, case[1]))
            for case, (fits, before, after, state) in zip(cases, self._run(steps), strict=True)
        ]

    def end_hold(self, cases: Sequence[tuple[State, Rule, int, int, int, int | None]]) -> list[State | None]:
        """Ends holds of (state, rule, now_us, amount, actual, instance_us)."""
        steps = [
            {
                "state": _state(state, rule),
                "rule": _rule(rule, None),
                "now": now_us,
                "ends": [amount, actual, instance_us or 0],
            }
            for state, rule, now_us, amount, actual, instance_us in cases
        ]
        return [
            _read(each, case[1]) if each is not None else None
            for case, each in zip(cases, self._run(steps), strict=True)
        ]

    def divide(self, cases: Sequence[tuple[int, int, int]]) -> list[tuple[int, ...]]:
        """Returns quotient and remainder of a * b / c."""
        found = self._run([{"rule": {"window": 1}, "product": case} for case in cases])
        return [tuple(int(word) for word in each) for each in found]

    def _run(self, steps: Sequence[object]) -> list[Any]:
        return list(self._script(args=[json.dumps(steps)]))


def _rule(rule: Rule, bounds: Bounds | None) -> dict[str, object]:
    packed: dict[str, object] = {
        "kind": KINDS[rule.algorithm],
        "limit": rule.limit,
        "window": rule.window_us,
        "capacity": rule.capacity,
        "charges": rule.charge_denied,
        "aligned": rule.calendar is not None,
    }
    return packed | ({"bounds": bounds} if bounds else {})


def _state(state: State | None, rule: Rule) -> list[int] | None:
    match state:
        case Window(start_us, end_us, used):
            return [1, start_us, end_us, used]
        case Bucket(debt, at_us, rate, held):
            return [2, *divmod(debt, rule.window_us), at_us, rate, held]
        case Sliding(start_us, _, previous, present):
            return [3, start_us, previous, present]
        case _:
            return None


def _read(words: Sequence[bytes], rule: Rule) -> State:
    kind, a, b, c, d, held = (int(word) for word in words)
    if kind == 1:
        return Window(a, b, c)
    if kind == 2:
        return Bucket(a * rule.window_us + b, c, d, held)
    return Sliding(a, rule.window_us, b, c)


def _standing(words: Sequence[bytes]) -> Standing:
    remaining, reset_us, wait_us, window_us = (int(word) for word in words)
    return Standing(remaining, reset_us, None if wait_us < 0 else wait_us, window_us)

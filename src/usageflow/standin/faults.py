"""Faults by script: which requests go wrong, and how."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from usageflow.standin.errors import invalid

KINDS = ("drop_before", "drop_after", "error", "rate_limit", "lock_timeout", "slow")


@dataclass
class Rule:
    """One way to go wrong. ``when`` is before or after the request is carried out (of ``error``); ``count`` is how often at most, 0 for always;
    ``nth`` is which of the requests that fit, 0 for each.
    """

    do: str
    method: str = ""
    path: str = ""
    when: str = "before"
    should_retry: bool = False
    milliseconds: int = 0
    probability: float = 1.0
    count: int = 0
    nth: int = 0
    seed: int = 0
    hits: int = 0
    _fitting: int = 0
    _draw: random.Random = field(default_factory=random.Random)

    def meets(self, method: str, path: str) -> bool:
        """Tells whether it hits a request, and notes that."""
        if (self.method and self.method != method) or not path.startswith(self.path):
            return False
        self._fitting += 1
        if self.nth and self._fitting != self.nth:
            return False
        if (self.count and self.hits >= self.count) or self._draw.random() >= self.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules in force; the first that hits a request counts."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def replace(self, rules: Sequence[Any]) -> None:
        """Makes the rules these. Raises StripeError."""
        self.rules = [_rule(index, each) for index, each in enumerate(rules)]

    def of(self, method: str, path: str) -> Rule | None:
        """Returns what happens to a request, None for nothing."""
        return next((rule for rule in self.rules if rule.meets(method, path)), None)


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "do": str, "method": str, "path": str, "when": str, "should_retry": bool, "milliseconds": int,
    "probability": (int, float), "count": int, "nth": int, "seed": int,
}  # fmt: skip


def _rule(index: int, fields: Any) -> Rule:
    if not isinstance(fields, dict) or fields.get("do") not in KINDS:
        raise invalid(f"rules[{index}].do must be one of {', '.join(KINDS)}", f"rules[{index}].do")
    for name, value in fields.items():
        if name not in _FIELDS:
            message = f"rules[{index}] has a field that there is not: write {', '.join(_FIELDS)}"
            raise invalid(message, f"rules[{index}]")
        if not isinstance(value, _FIELDS[name]):
            raise invalid(f"rules[{index}].{name} has a value of another type", f"rules[{index}].{name}")
    rule = Rule(**fields)
    rule._draw.seed(rule.seed)  # noqa: SLF001 - its own maker
    return rule

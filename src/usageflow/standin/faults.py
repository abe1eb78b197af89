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
    """One way to go wrong. ``when`` is before or after the request is carried out (of ``error``); ``count`` is how often at most, 0 for always."""

    do: str
    method: str = ""
    path: str = ""
    when: str = "before"
    should_retry: bool = False
    milliseconds: int = 0
    probability: float = 1.0
    count: int = 0
    seed: int = 0
    hits: int = 0
    _draw: random.Random = field(default_factory=random.Random)

    def meets(self, method: str, path: str) -> bool:
        """Tells whether it hits a request, and notes that."""
        if (self.method and self.method != method) or not path.startswith(self.path):
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


def _rule(index: int, fields: Any) -> Rule:
    if not isinstance(fields, dict) or fields.get("do") not in KINDS:
        raise invalid(f"rules[{index}].do must be one of {', '.join(KINDS)}", f"rules[{index}].do")
    try:
        rule = Rule(**fields)
    except TypeError:
        names = "do, method, path, when, should_retry, milliseconds, probability, count, seed"
        raise invalid(
            f"rules[{index}] has a field that there is not: write {names}", f"rules[{index}]"
        ) from None
    rule._draw.seed(rule.seed)  # noqa: SLF001 - its own maker
    return rule

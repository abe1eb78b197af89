"""Seeded scripts of what goes wrong while units are billed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

STATES = ("FROZEN", "SENDING", "SENT")
"""States of a part that a meter is killed in, in turn."""

_METER_EVENTS, _INVOICE_ITEMS, _SUBSCRIPTIONS = (
    "/v1/billing/meter_events",
    "/v1/invoiceitems",
    "/v1/subscriptions",
)
_KINDS: tuple[dict[str, Any], ...] = (
    {"do": "drop_before"},
    {"do": "drop_after"},
    {"do": "error", "when": "before"},
    {"do": "error", "when": "after"},
    {"do": "rate_limit"},
    {"do": "rate_limit", "should_retry": True},
    {"do": "lock_timeout"},
    {"do": "slow", "milliseconds": 300},
    {"do": "slow", "milliseconds": 11_000, "count": 3},  # longer than our client waits
)

_PATIENCE_OF_CLIENT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much each script reports, in how many waves."""

    customers: int = 6
    events: int = 1_500
    batches: int = 8
    clients: int = 8
    waves: int = 2


@dataclass(frozen=True, slots=True)
class Script:
    """What goes wrong. ``shared``: two meters over PostgreSQL, else one process over SQLite. ``skew_s`` is how far the clocks of half of the clients are ahead,
    ``stripe_skew_s`` how far Stripe's is; ``database_kills`` is how often PostgreSQL is killed under the writers, in each wave.
    """

    seed: int
    shared: bool
    faults: tuple[dict[str, Any], ...]
    kills: tuple[str, ...]
    skew_s: int
    stripe_skew_s: int
    late_mapping: bool
    emptied: bool
    database_kills: int

    def __str__(self) -> str:
        form = "two meters on PostgreSQL" if self.shared else "SQLite"
        does = ", ".join(sorted({_named(rule) for rule in self.faults}))
        more = [
            f"kills at {'/'.join(self.kills)}" if self.kills else "",
            f"clients' clocks {self.skew_s:+d} s" if self.skew_s else "",
            f"Stripe's clock {self.stripe_skew_s:+d} s" if self.stripe_skew_s else "",
            "late mapping" if self.late_mapping else "",
            "database emptied" if self.emptied else "",
            f"PostgreSQL killed {self.database_kills} times a wave" if self.database_kills else "",
        ]
        return f"script {self.seed} ({'; '.join(filter(None, [form, does, *more]))})"


def _named(rule: dict[str, Any]) -> str:
    if rule.get("milliseconds", 0) > _PATIENCE_OF_CLIENT_MS:
        return "time-out"
    return f"{rule['do']}{' ' + rule['when'] + ' commit' if 'when' in rule else ''}"


def script(seed: int) -> Script:
    """Returns the script of a seed: of any ten in a row, each kind of fault and news is in several."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    faults = tuple(
        {
            **kind,
            "method": "POST",
            "path": path,
            "probability": round(draw.uniform(0.05, 0.35), 2),
            "seed": draw.randrange(2**31),
        }
        for path in (_METER_EVENTS, _INVOICE_ITEMS)
        for kind in draw.sample(_KINDS, 3)
    )
    reads = (
        {
            "do": "error",
            "when": "before",
            "method": "GET",
            "path": _SUBSCRIPTIONS,
            "probability": 0.2,
            "seed": seed,
        },
    )
    return Script(
        seed=seed,
        shared=seed % 2 == 0,
        faults=(*faults, *(reads if seed % 3 == 0 else ())),
        kills=tuple(STATES[(seed + number) % 3] for number in range(draw.randrange(1, 5))),
        skew_s=600 if seed % 5 == 1 else 0,
        stripe_skew_s=draw.choice([-600, 600]) if seed % 5 == 2 else 0,
        late_mapping=seed % 5 == 3,
        emptied=seed % 5 == 4,
        database_kills=2 if seed % 6 == 0 else 0,
    )

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from usageflow.domain.billing import PartState, Target, Window
from usageflow.domain.policies import Trigger
from usageflow.domain.previewing import Line

LINE = Line(Target(Trigger.STRIPE_USAGE, "price_1"), Window(0, 3600), open=Decimal("0.5"))


def test_units_stand_where_their_parts_are() -> None:
    sums = [(state, Decimal(2**number)) for number, state in enumerate(PartState)]
    line = LINE.with_parts(sums)
    assert line.sending == 1 + 2
    assert line.sent == 4
    assert line.open == Decimal("0.5")
    assert line.stuck == 8 + 16 + 32 + 64  # and what was taken back nowhere


def test_stuck_units_cost_nothing_yet() -> None:
    line = replace(LINE, sent=Decimal(1), sending=Decimal(2), stuck=Decimal(64), unit_amount=Decimal("0.1"))
    assert line.amount == Decimal("0.35")
    assert replace(line, unit_amount=None).amount is None

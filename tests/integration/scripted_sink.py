"""A destination that counts what it is sent, and does what a test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from meter.sinks import Finding, Level, Notice, Payer, Reckoned, TermsOf, UnitPrice
from usageflow.domain.billing import HOUR_S, Held, Method, Mode, Outcome, Part, Result, Target, Terms, Window
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.policies import LateUsage

SIGNATURE = "signed"


class ScriptedSink:
    """Sink, Quotes and Notices. ``answer`` is what sending and cancelling answer."""

    name = "scripted"
    needs_mapping = False

    def __init__(self) -> None:
        self.answer = Outcome(Result.TAKEN)
        self.counted: dict[tuple[str, Target, int], Decimal] = {}
        self.calls: Counter[str] = Counter()
        self.notice = Notice({})

    async def check(self, targets: Collection[Target]) -> Sequence[Finding]:
        return [Finding(Level.WARNING, "look at the price", each) for each in targets]

    async def terms(
        self, payer: Payer, target: Target, window: Window, late: LateUsage, *, now_us: int
    ) -> Sequence[TermsOf] | Held:
        method, second = Method.METER_EVENT, window.start_s
        return [TermsOf(window, Terms(method, "acct_1", "test", payer.customer, Mode.DELTA, second))]

    async def send(self, part: Part, *, now_us: int) -> Outcome:
        self.calls["send"] += 1
        if self.answer.result is Result.TAKEN:
            self._count(part, part.value)
        return self.answer

    async def cancel(self, part: Part, *, now_us: int) -> Outcome:
        self.calls["cancel"] += 1
        if self.answer.result is Result.TAKEN:
            self._count(part, -part.value)
        return self.answer

    def _count(self, part: Part, value: Decimal) -> None:
        key = (part.terms.payee, part.target, part.terms.timestamp_s // HOUR_S * HOUR_S)
        self.counted[key] = self.counted.get(key, Decimal(0)) + value

    async def reckoned(self, wanted: Collection[tuple[str, Target]], window: Window) -> Sequence[Reckoned]:
        return [
            Reckoned(*key, value)
            for key, value in self.counted.items()
            if key[:2] in wanted and window.start_s <= key[2] < window.end_s
        ]

    async def prices(self, targets: Collection[Target]) -> Mapping[Target, UnitPrice]:
        return {each: UnitPrice(Decimal("0.25"), "eur") for each in targets}

    async def period(self, payer: Payer, target: Target, *, now_us: int) -> Window | None:
        second = now_us // 1_000_000
        return Window(second - 10 * 86_400, second + 86_400)

    async def read_notice(self, body: bytes, signature: str) -> Notice:
        if signature != SIGNATURE:
            raise InvalidArgument.of("signature", "is not the destination's", "set the endpoint's secret")
        return self.notice

    async def close(self) -> None:
        return

"""What destinations share that take units as they are: no prices, no subscriptions, nothing to look up."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meter.sinks.port import Finding, Level, Payer, Reckoned, TermsOf
from usageflow.domain.billing import Held, Method, Mode, Outcome, Part, Result, Target, Terms, Window
from usageflow.domain.policies import LateUsage


class PlainSink:
    """The half of a Sink that asks nobody: each part sends its own units, for the customer by name."""

    needs_mapping = False

    def __init__(self, name: str, method: Method, place: str) -> None:
        self.name = name
        self._method = method
        self._place = place

    async def check(self, targets: Collection[Target]) -> Sequence[Finding]:
        """See Sink."""
        return [
            Finding(Level.OK, self._place),
            *(Finding(Level.OK, "can be sent", each) for each in sorted(targets)),
        ]

    async def terms(
        self, payer: Payer, target: Target, window: Window, late: LateUsage, *, now_us: int
    ) -> Sequence[TermsOf] | Held:
        """See Sink."""
        del target, late, now_us
        at_s = window.end_s - 1
        return [TermsOf(window, Terms(self._method, self._place, "", payer.customer, Mode.DELTA, at_s))]

    async def cancel(self, part: Part, *, now_us: int) -> Outcome:
        """See Sink."""
        del part, now_us
        return Outcome(Result.REFUSED, "what was sent here cannot be taken back: correct it by --units")

    async def reckoned(self, wanted: Collection[tuple[str, Target]], window: Window) -> Sequence[Reckoned]:
        """See Sink: nothing can be asked here."""
        del wanted, window
        return []

    async def close(self) -> None:
        """See Sink."""


def document_of(part: Part) -> dict[str, str | int]:
    """Returns what is told of a part; units are a decimal as text."""
    return {
        "identifier": part.identifier,
        "customer": part.customer,
        "price": part.target.price,
        "trigger": part.target.trigger.value,
        "event_name": part.target.event_name,
        "window_start": part.window.start_s,
        "window_end": part.window.end_s,
        "kind": part.kind.value,
        "requests": part.requests,
        "units": format(part.value, "f"),
    }

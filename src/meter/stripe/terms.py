"""How a window's units go to Stripe. Pure: what had to be asked was asked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from meter.sinks.port import TermsOf
from meter.stripe.catalog import Account, Billable, MeterFacts, PriceFacts
from meter.stripe.subscriptions import Item
from usageflow.domain.billing import HOUR_S, Held, HoldReason, Method, Mode, Terms, Window, cut, month_of
from usageflow.domain.ids import DAY_S
from usageflow.domain.policies import LateUsage

_STEPS = {"hour": HOUR_S, "day": DAY_S}


def by_meter(
    account: Account, payee: str, meter: MeterFacts, window: Window, now_s: int, at_s: int | None = None
) -> Terms:
    """Returns the terms of meter events. Their time is the window's last second, never its end: that is the next period's. A meter with a window of
    its own counts only the newest event of each, so it gets totals, always newer than the one before.
    """
    details = {
        "event_name": meter.event_name,
        "meter": meter.meter_id,
        "customer_key": meter.customer_key,
        "value_key": meter.value_key,
    }
    own = (Method.METER_EVENT, account.account_id, account.environment, payee)
    last_s = min(window.end_s - 1, now_s) if at_s is None else at_s
    if not meter.window:
        return Terms(*own, Mode.DELTA, last_s, details=details)
    step = _STEPS[meter.window]
    start_s = last_s // step * step
    span = Window(start_s, start_s + step)
    newest_s = min(span.end_s - 1, now_s)
    return Terms(*own, Mode.TOTAL, newest_s, span, resend_safe=True, details=details)


def by_record(account: Account, payee: str, item: Item, installation: str) -> Terms:
    """Returns the terms of usage records: one of the item's present period that is set to the total, whole units only. Each installation sets one at a
    second of its own: records of different seconds add up, so one that begins anew overwrites nothing.
    """
    length_s = max(1, min(item.period.end_s - item.period.start_s, HOUR_S))
    offset_s = int(sha256(installation.encode()).hexdigest()[:8], 16) % length_s
    return Terms(
        Method.USAGE_RECORD,
        account.account_id,
        account.environment,
        payee,
        Mode.TOTAL,
        item.period.start_s + offset_s,
        item.period,
        whole=True,
        resend_safe=True,
        details={"item": item.item_id},
    )


def by_item(
    account: Account, payee: str, window: Window, installation: str, price: PriceFacts | None = None
) -> Terms:
    """Returns the terms of invoice items: one of the UTC month that is set to the total. ``price`` is one that items cannot name, for it is
    recurring: they get its amount.
    """
    month = month_of(window.start_s)
    details = {"installation": installation}
    if price is not None:
        details |= {"unit_amount": format(price.unit_amount or 0, "f"), "currency": price.currency}
    return Terms(
        Method.INVOICE_ITEM,
        account.account_id,
        account.environment,
        payee,
        Mode.TOTAL,
        min(window.end_s - 1, month.end_s - 1),
        month,
        resend_safe=True,
        details=details,
    )


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Who pays by which subscription item, and what becomes of usage whose invoice is final."""

    account: Account
    payee: str
    billable: Billable
    item: Item
    late: LateUsage
    installation: str

    def pieces(self, window: Window, now_s: int) -> Sequence[TermsOf]:
        """Returns the pieces of a window before, within and after the present period."""
        parts = cut(window, frozenset(self.item.period))
        return [TermsOf(piece, self._piece(piece, now_s)) for piece in parts]

    def _piece(self, piece: Window, now_s: int) -> Terms | Held:
        item, meter = self.item, self.billable.meter
        if item.ended and piece.start_s >= item.period.end_s:
            return Held(
                HoldReason.NO_SUBSCRIPTION,
                f"the subscription {item.subscription_id} had ended: start another one",
            )
        late = piece.end_s <= item.period.start_s and (item.last_final or meter is None)
        if late and self.late is not LateUsage.NEXT_PERIOD:
            return self._late(piece)
        if meter is None:
            return by_record(self.account, self.payee, item, self.installation)
        return by_meter(self.account, self.payee, meter, piece, now_s, item.period.start_s if late else None)

    def _late(self, piece: Window) -> Terms | Held:
        price = self.billable.price
        if self.late is LateUsage.HOLD:
            message = f"the invoice of this usage of {self.payee} is final: bill it by hand, or set late_usage: next_period"
            return Held(HoldReason.LATE_USAGE, message)
        if price.unit_amount is None:
            # An item takes an amount, not a recurring price, so a person has to say what these units cost.
            message = f"{price.price_id} has tiers, so an invoice item of its own has no price: bill it by hand, or set late_usage: next_period"
            return Held(HoldReason.LATE_USAGE, message)
        return by_item(self.account, self.payee, piece, self.installation, price)

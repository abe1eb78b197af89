"""How a window's units go to Stripe. Pure: what had to be asked was asked before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from meter.sinks.port import TermsOf
from meter.stripe.catalog import Account, Billable, MeterFacts
from meter.stripe.subscriptions import Item
from usageflow.domain.billing import HOUR_S, Held, HoldReason, Method, Mode, Terms, Window, cut
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


def by_record(account: Account, payee: str, item: Item) -> Terms:
    """Returns the terms of usage records: one of the item's present period that is set to the total, whole units only."""
    return Terms(
        Method.USAGE_RECORD,
        account.account_id,
        account.environment,
        payee,
        Mode.TOTAL,
        item.period.start_s,
        item.period,
        whole=True,
        resend_safe=True,
        details={"item": item.item_id},
    )


def by_item(account: Account, payee: str, window: Window, installation: str) -> Terms:
    """Returns the terms of invoice items: one of the UTC month that is set to the total."""
    month = month_of(window.start_s)
    return Terms(
        Method.INVOICE_ITEM,
        account.account_id,
        account.environment,
        payee,
        Mode.TOTAL,
        min(window.end_s - 1, month.end_s - 1),
        month,
        resend_safe=True,
        details={"installation": installation},
    )


def by_subscription(
    account: Account,
    payee: str,
    billable: Billable,
    item: Item,
    window: Window,
    late: LateUsage,
    now_s: int,
) -> Sequence[TermsOf]:
    """Returns the pieces of a window before and after the bounds of the present period."""
    pieces = cut(window, frozenset(item.period))
    return [TermsOf(piece, _piece(account, payee, billable, item, piece, late, now_s)) for piece in pieces]


def _piece(
    account: Account,
    payee: str,
    billable: Billable,
    item: Item,
    piece: Window,
    late: LateUsage,
    now_s: int,
) -> Terms | Held:
    is_late = piece.end_s <= item.period.start_s and (item.last_final or billable.meter is None)
    if is_late and late is not LateUsage.NEXT_PERIOD:
        # An invoice item cannot name a recurring price, so a person has to say what it costs.
        message = (
            f"the invoice of this usage of {payee} is final: bill it by hand, or set late_usage: next_period"
        )
        return Held(HoldReason.LATE_USAGE, message)
    if billable.meter is None:
        return by_record(account, payee, item)
    at_s = item.period.start_s if is_late else None
    return by_meter(account, payee, billable.meter, piece, now_s, at_s)


def month_of(second: int) -> Window:
    """Returns the UTC month that a second lies in."""
    at = datetime.fromtimestamp(second, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (at.year + 1, 1) if at.month == 12 else (at.year, at.month + 1)
    return Window(int(at.timestamp()), int(at.replace(year=year, month=month).timestamp()))

"""What reported requests come to in money: each policy that bills has its expression. Pure.

A count says of many requests how many units they had, which settles expressions that are linear in the quantity. Any other one is
settled by each request's event, even by one that a count holds already: so every request meters once, however it was reported.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from decision.accounts import Account, Bill
from decision.detail import metadata_of
from decision.reported import ReportedCount, ReportedEvent
from usageflow.domain.expressions import EvaluationFailed, Facts, UsageFacts
from usageflow.domain.identity import PATH_PARAMETER, Attributes, Identity
from usageflow.domain.metered import units_of_line
from usageflow.domain.routes import parameters_of
from usageflow.domain.templates import UNMATCHED
from usageflow.domain.usage import EndpointName, MeteringDelta, MeteringFailure, Series


class Filed(NamedTuple):
    """Under what an event or a count is filed; ``identity`` is the key as it is stored."""

    account: Account
    series: Series
    identity: str


class Metered(NamedTuple):
    """What is billed, one per billing target, and what could not be worked out."""

    deltas: tuple[MeteringDelta, ...] = ()
    failures: tuple[MeteringFailure, ...] = ()


NOTHING = Metered()


def metered_event(event: ReportedEvent, filed: Filed, second: int, time_us: int, units: Decimal) -> Metered:
    """Returns what an event meters: nothing of our own denials, and of what a count holds only what no count can tell."""
    account, series, identity = filed
    if series.denied or (event.counted and account.linear):
        return NOTHING
    if account.plain:
        return Metered(_plain(filed, second, 1, units))
    settled = [bill for bill in account.bills_for(identity) if not (event.counted and bill.linear)]
    facts = facts_of_event(event, account.endpoint, identity, time_us)
    return _settled(
        filed,
        second,
        1,
        [(bill, units if bill.term is None else _evaluated(bill, facts)) for bill in settled],
    )


def metered_count(count: ReportedCount, filed: Filed, second: int, units: Decimal) -> Metered:
    """Returns what a count meters: of linear expressions all, of any other nothing."""
    account, series, identity = filed
    if series.denied:
        return NOTHING
    if account.plain:
        return Metered(_plain(filed, second, count.requests, units))
    found = [
        (bill, _of_line(bill, units, count.requests)) for bill in account.bills_for(identity) if bill.linear
    ]
    return _settled(filed, second, count.requests, found)


def _plain(filed: Filed, second: int, requests: int, units: Decimal) -> tuple[MeteringDelta, ...]:
    account, _, identity = filed
    endpoint, revision = account.endpoint, account.revision
    return tuple(
        [
            MeteringDelta(endpoint, identity, bill.policy, bill.price, revision, second, requests, units)
            for bill in account.bills_for(identity)
        ]
    )


def _settled(
    filed: Filed, second: int, requests: int, found: list[tuple[Bill, Decimal | EvaluationFailed]]
) -> Metered:
    account, _, identity = filed
    endpoint, revision = account.endpoint, account.revision
    deltas, failures = [], []
    for bill, units in found:
        if isinstance(units, EvaluationFailed):
            failures.append(
                MeteringFailure(bill.policy, bill.price, revision, units.message, second * 1_000_000)
            )
        else:
            deltas.append(
                MeteringDelta(endpoint, identity, bill.policy, bill.price, revision, second, requests, units)
            )
    return Metered(tuple(deltas), tuple(failures))


def _evaluated(bill: Bill, facts: Facts) -> Decimal | EvaluationFailed:
    found = bill.term.evaluate(facts) if bill.term is not None else EvaluationFailed("there is no expression")
    return found if isinstance(found, Decimal | EvaluationFailed) else Decimal(repr(found))


def _of_line(bill: Bill, units: Decimal, requests: int) -> Decimal | EvaluationFailed:
    line = bill.term.reads.linear if bill.term is not None else None
    return units if line is None else units_of_line(line, units, requests)


def facts_of_event(event: ReportedEvent, endpoint: EndpointName, identity: str, time_us: int) -> Facts:
    """Returns what metering expressions read of an event that was checked; ``identity`` is the key as it is stored."""
    metadata, client_ip = metadata_of(event.detail_json)
    raw = event.path if event.path.startswith("/") else ""
    values = {} if endpoint.template == UNMATCHED else parameters_of(endpoint.template, raw)
    return Facts(
        endpoint,
        Attributes.of(
            (((PATH_PARAMETER, name), value) for name, value in values.items()), client_ip=client_ip
        ),
        raw_path=raw or None,
        time_us=time_us,
        identity=Identity(identity, "", anonymous=identity.startswith("a:")) if identity else None,
        usage=UsageFacts(1.0 if event.quantity is None else event.quantity, event.status, metadata),
    )

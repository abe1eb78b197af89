"""From open deltas to parts; each function runs inside the caller's transaction.

Whoever makes a part of a ledger holds the ledger's row, so numbers have no gaps and totals add up. Deltas are only ever appended, and claimed
where no part has them: what commits after the claim began stays open, for the next part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, tuple_, update

from usageflow.domain.billing import (
    HOUR_S,
    Amount,
    Mode,
    Part,
    PartKind,
    PartState,
    Target,
    Terms,
    Window,
    amount_of,
    destination_of,
    identifier_of,
)
from usageflow.domain.changes import Cause
from usageflow.domain.units import join, split
from usageflow.storage.billing import BacklogRow, Claim, Correction
from usageflow.storage.sql import receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.billing_rows import (
    LEDGERS,
    PARTS,
    installation_id,
    part_of,
    select_parts,
    write_terms,
)
from usageflow.storage.sql.queries import unit_sums, units_of_sums
from usageflow.storage.sql.statements import chunked, upsert
from usageflow.storage.sql.tables import (
    BILLING_LEDGERS,
    BILLING_PARTS,
    BILLING_SPANS,
    BILLING_STOPS,
    METERING_DELTAS,
)

_DELTAS, _SPANS, _STOPS = METERING_DELTAS.c, BILLING_SPANS.c, BILLING_STOPS.c
_NOTHING = "nothing to send"


class _Key(NamedTuple):
    """What tells ledgers apart, in the order that they are locked in."""

    application_id: str
    customer: str
    target: Target


class _Ledger(NamedTuple):
    ledger_id: int
    key: _Key


class _Draft(NamedTuple):
    """A part that is being made."""

    ledger: _Ledger
    window: Window
    terms: Terms
    kind: PartKind = PartKind.USAGE
    note: str = ""


def backlog(connection: Connection, before_s: int, limit: int) -> list[BacklogRow]:
    """Returns what no part has."""
    hour = _DELTAS.second // HOUR_S * HOUR_S
    bound = func.coalesce(_DELTAS.customer, "")
    key = (
        _DELTAS.application_id,
        _DELTAS.pseudonym,
        bound,
        _DELTAS.policy,
        _DELTAS.price,
        _DELTAS.revision,
        hour,
    )
    sums = (
        func.sum(_DELTAS.requests),
        func.min(_DELTAS.second),
        *unit_sums(_DELTAS.whole, _DELTAS.pico),
    )
    statement = (
        select(*key, *sums)
        .where(_DELTAS.part.is_(None), _DELTAS.second < before_s)
        .group_by(*key)
        .order_by(hour, *key[:6])
        .limit(limit)
    )
    return [_backlog_row(*row) for row in connection.execute(statement)]


def _backlog_row(*row: Any) -> BacklogRow:
    requests, oldest_s, *units = row[7:]
    return BacklogRow._make([*row[:7], int(requests), units_of_sums(*units), oldest_s])


def freeze(connection: Connection, claims: Sequence[Claim], now_us: int) -> list[Part]:
    """Makes a part of each claim that finds open deltas."""
    stopped = {tuple(row) for row in connection.execute(select(*_STOPS[:3]))}
    going = [claim for claim in claims if not _is_stopped(claim, stopped)]
    ledgers = lock_ledgers(connection, [_key(claim) for claim in going])
    # In the ledgers' order, so that two processes never wait for each other's deltas in a circle.
    going.sort(key=lambda claim: (ledgers[_key(claim)].ledger_id, claim.window))
    installed = installation_id(connection)
    made = [_claim(connection, claim, ledgers[_key(claim)], installed, now_us) for claim in going]
    return read_parts(connection, [part_id for part_id in made if part_id])


def correct(connection: Connection, correction: Correction, cause: Cause, now_us: int) -> Part:
    """Makes a part of units that a person adds or takes back; the same request again gets the same part."""
    done = receipts.find_same(connection, cause)
    if done is not None:
        return read_parts(connection, [int(done.resource_id)])[0]
    key = _Key(correction.application_id, correction.customer, correction.target)
    ledger = lock_ledgers(connection, [key])[key]
    draft = _Draft(ledger, correction.window, correction.terms, PartKind.CORRECTION, correction.note)
    part_id = _begin(connection, draft, installation_id(connection), now_us)
    _finish(connection, part_id, draft, 0, correction.units)
    if cause.request_id:
        receipts.claim(connection, cause, correction.application_id, str(part_id), now_us)
    append_entries(connection, cause, correction.application_id, revision=0, now_us=now_us)
    return read_parts(connection, [part_id])[0]


def read_parts(connection: Connection, part_ids: Sequence[int]) -> list[Part]:
    """Returns parts by rising id."""
    rows = (
        row
        for chunk in chunked(part_ids)
        for row in connection.execute(select_parts().where(PARTS.part_id.in_(chunk)))
    )
    return sorted(map(part_of, rows), key=lambda part: part.part_id)


def _key(claim: Claim) -> _Key:
    return _Key(claim.application_id, claim.customer, claim.target)


def _is_stopped(claim: Claim, stopped: set[tuple[Any, ...]]) -> bool:
    customers, prices = {claim.customer, ""}, {claim.target.price, ""}
    return any((claim.application_id, who, what) in stopped for who in customers for what in prices)


def lock_ledgers(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, _Ledger]:
    """Returns the ledgers of these keys, made where they are missing, and holds their rows until the transaction ends."""
    wanted = sorted(set(keys))
    for key in wanted:
        new = upsert(connection, BILLING_LEDGERS).values(
            application_id=key.application_id,
            customer=key.customer,
            trigger=key.target.trigger.value,
            price=key.target.price,
            event_name=key.target.event_name,
        )
        connection.execute(new.on_conflict_do_nothing())
    found: dict[_Key, _Ledger] = {}
    columns = (
        LEDGERS.application_id,
        LEDGERS.customer,
        LEDGERS.trigger,
        LEDGERS.price,
        LEDGERS.event_name,
    )
    for chunk in chunked(wanted, 100):
        spelled = [
            (key.application_id, key.customer, key.target.trigger.value, *key.target[1:]) for key in chunk
        ]
        rows = connection.execute(
            select(LEDGERS.ledger_id, *columns)
            .where(tuple_(*columns).in_(spelled))
            .order_by(LEDGERS.ledger_id)
            .with_for_update()
        )
        for ledger_id, application_id, customer, trigger, price, event_name in rows:
            key = _Key(application_id, customer, Target(trigger, price, event_name))
            found[key] = _Ledger(ledger_id, key)
    return found


def _claim(connection: Connection, claim: Claim, ledger: _Ledger, installed: str, now_us: int) -> int:
    """Returns the id of the part that a claim became, 0 where nothing was open."""
    draft = _Draft(ledger, claim.window, claim.terms)
    part_id = _begin(connection, draft, installed, now_us)
    rows = [
        row
        for condition in _open(claim)
        for row in connection.execute(
            update(METERING_DELTAS)
            .where(condition)
            .values(part=part_id)
            .returning(_DELTAS.requests, _DELTAS.whole, _DELTAS.pico)
        )
    ]
    if not rows:
        connection.execute(delete(BILLING_PARTS).where(PARTS.part_id == part_id))
        return 0
    requests, whole, pico = (sum(column) for column in zip(*rows, strict=True))
    _finish(connection, part_id, draft, requests, join(whole, pico))
    return part_id


def _open(claim: Claim) -> list[ColumnElement[bool]]:
    """Returns the conditions that find a claim's deltas: by pseudonym, and by whom they are bound to."""
    within = and_(
        _DELTAS.application_id == claim.application_id,
        _DELTAS.part.is_(None),
        _DELTAS.price == claim.target.price,
        _DELTAS.second >= claim.window.start_s,
        _DELTAS.second < claim.window.end_s,
        tuple_(_DELTAS.policy, _DELTAS.revision).in_(list(claim.policies)),
    )
    found = [
        and_(within, _DELTAS.customer.is_(None), _DELTAS.pseudonym.in_(chunk))
        for chunk in chunked(claim.pseudonyms)
    ]
    return [*found, and_(within, _DELTAS.customer.in_(claim.bound))] if claim.bound else found


def _begin(connection: Connection, draft: _Draft, installed: str, now_us: int) -> int:
    """Stores a part without units yet; returns its id."""
    key, window, terms = draft.ledger.key, draft.window, draft.terms
    last = connection.scalar(
        select(func.max(PARTS.number)).where(
            PARTS.ledger_id == draft.ledger.ledger_id, PARTS.window_start == window.start_s
        )
    )
    number = (last or 0) + 1
    identifier = identifier_of(
        installed, key.application_id, key.customer, key.target, window, number, terms=terms
    )
    row = insert(BILLING_PARTS).values(
        application_id=key.application_id,
        ledger_id=draft.ledger.ledger_id,
        window_start=window.start_s,
        window_end=window.end_s,
        number=number,
        kind=draft.kind.value,
        requests=0,
        whole=0,
        pico=0,
        value="0",
        identifier=identifier,
        destination=destination_of(terms),
        payee=terms.payee,
        span_start=None if terms.span is None else terms.span.start_s,
        timestamp_s=terms.timestamp_s,
        terms=write_terms(terms),
        state=PartState.FROZEN.value,
        note=draft.note,
        next_us=now_us,
        created_us=now_us,
        updated_us=now_us,
    )
    return int(connection.execute(row.returning(PARTS.part_id)).scalar_one())


def _finish(connection: Connection, part_id: int, draft: _Draft, requests: int, units: Decimal) -> None:
    """Stores the units of a part and what it sends."""
    if draft.terms.mode is Mode.TOTAL:
        value, changes = _total(connection, draft, units)
    else:
        amount = _delta(connection, draft, units)
        value, changes = amount.value, amount.value != 0
    whole, pico = split(units)
    idle = {} if changes else {"state": PartState.SENT.value, "note": _NOTHING, "next_us": 0}
    connection.execute(
        update(BILLING_PARTS)
        .where(PARTS.part_id == part_id)
        .values(requests=requests, whole=whole, pico=pico, value=f"{value:f}", **idle)
    )


def _delta(connection: Connection, draft: _Draft, units: Decimal) -> Amount:
    """Returns what a part of its own units sends; the ledger keeps what is left."""
    mine = LEDGERS.ledger_id == draft.ledger.ledger_id
    carry = connection.execute(select(LEDGERS.carry_whole, LEDGERS.carry_pico).where(mine)).one()
    amount = amount_of(draft.terms, units, carry=join(*carry), before=Decimal(0))
    left = split(amount.carry)
    if left != tuple(carry):
        connection.execute(
            update(BILLING_LEDGERS).where(mine).values(carry_whole=left[0], carry_pico=left[1])
        )
    return amount


def _total(connection: Connection, draft: _Draft, units: Decimal) -> tuple[Decimal, bool]:
    """Returns the total of a part's span with its units, and whether that differs from the last one."""
    terms = draft.terms
    start = draft.window.start_s if terms.span is None else terms.span.start_s
    key = {
        "ledger_id": draft.ledger.ledger_id,
        "payee": terms.payee,
        "method": terms.method.value,
        "start": start,
    }
    row = connection.execute(
        select(_SPANS.whole, _SPANS.pico, _SPANS.value).where(
            *(_SPANS[name] == each for name, each in key.items())
        )
    ).one_or_none()
    before = Decimal(0) if row is None else join(row.whole, row.pico)
    value = amount_of(terms, units, carry=Decimal(0), before=before).value
    whole, pico = split(before + units)
    sums = {"whole": whole, "pico": pico, "value": f"{value:f}"}
    new = upsert(connection, BILLING_SPANS).values(**key, **sums)
    connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=sums))
    last = Decimal(0) if row is None else Decimal(row.value)
    return value, value != last

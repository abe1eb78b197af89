"""From open deltas to parts; each function runs inside the caller's transaction.

Whoever makes a part of a ledger holds the ledger's row, so numbers have no gaps and totals add up. Deltas are only ever appended, and claimed
where no part has them: what commits after the claim began stays open, for the next part.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from usageflow.domain.billing import (
    Part,
    PartKind,
    PartState,
    Terms,
    Window,
    destination_of,
    identifier_of,
)
from usageflow.domain.changes import Cause
from usageflow.domain.errors import FailedPrecondition, NotFound
from usageflow.domain.units import format_units, split
from usageflow.storage.billing import Claim, Correction
from usageflow.storage.sql import receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.billing_ledgers import (
    LedgerKey,
    carried,
    lock_ledgers,
    lock_spans,
    span_key,
    totalled,
)
from usageflow.storage.sql.billing_open import claim_deltas
from usageflow.storage.sql.billing_rows import (
    PARTS,
    installation_id,
    part_of,
    select_parts,
    storable,
    write_terms,
)
from usageflow.storage.sql.queries import unit_sums, units_of_sums
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import BILLING_PARTS, BILLING_STOPS

_STOPS = BILLING_STOPS.c
_NOTHING = "nothing to send"
_NOWHERE = [PartState.REJECTED.value, PartState.EXPIRED.value, PartState.CANCELLED.value]
"""States of parts that count nowhere."""


class _Draft(NamedTuple):
    """A part that is being made; ``span_id`` is the total's that it is of."""

    ledger_id: int
    span_id: int | None
    key: LedgerKey
    window: Window
    terms: Terms
    kind: PartKind = PartKind.USAGE
    note: str = ""


def freeze(connection: Connection, claims: Sequence[Claim], now_us: int) -> list[Part]:
    """Makes a part of each claim that finds open deltas."""
    stopped = {tuple(row) for row in connection.execute(select(*_STOPS[:3]))}
    going = [claim for claim in claims if not _is_stopped(claim, stopped)]
    drafts = _drafts(connection, going)
    installed = installation_id(connection)
    # In the ledgers' order, so that two processes never wait for each other's deltas in a circle.
    ordered = sorted(zip(drafts, going, strict=True), key=lambda pair: (pair[0].ledger_id, pair[0].window))
    made = [_claim(connection, claim, draft, installed, now_us) for draft, claim in ordered]
    return read_parts(connection, [part_id for part_id in made if part_id])


def _drafts(connection: Connection, claims: Sequence[Claim]) -> list[_Draft]:
    """Returns the beginnings of parts, in order of the claims; their ledgers and spans are locked."""
    keys = [LedgerKey(claim.application_id, claim.customer, claim.target) for claim in claims]
    ledgers = lock_ledgers(connection, keys)
    of_claims = [span_key(claim.target, claim.window, claim.terms) for claim in claims]
    spans = lock_spans(connection, [each for each in of_claims if each is not None])
    return [
        _Draft(ledgers[key], None if span is None else spans[span], key, claim.window, claim.terms)
        for key, span, claim in zip(keys, of_claims, claims, strict=True)
    ]


def correct(connection: Connection, correction: Correction, cause: Cause, now_us: int) -> Part:
    """Makes a part of units that a person adds or takes back; the same request again gets the same part."""
    key = LedgerKey(correction.application_id, correction.customer, correction.target)
    ledger_id = lock_ledgers(connection, [key])[key]
    # Behind the lock: the same request, if it is carried out elsewhere, is committed by now.
    done = receipts.find_same(connection, cause)
    if done is not None:
        return _made_before(connection, int(done.resource_id))
    _ensure_left(connection, ledger_id, correction)
    span = span_key(correction.target, correction.window, correction.terms)
    span_id = None if span is None else lock_spans(connection, [span])[span]
    draft = _Draft(
        ledger_id,
        span_id,
        key,
        correction.window,
        correction.terms,
        PartKind.CORRECTION,
        storable(correction.note),
    )
    part_id = _begin(connection, draft, installation_id(connection), now_us)
    _finish(connection, part_id, draft, 0, correction.units)
    receipts.claim(connection, cause, correction.application_id, str(part_id), now_us)
    append_entries(connection, cause, correction.application_id, revision=0, now_us=now_us)
    return read_parts(connection, [part_id])[0]


def _ensure_left(connection: Connection, ledger_id: int, correction: Correction) -> None:
    """Raises FailedPrecondition where more is taken back than the window's parts, with their corrections, still add up to."""
    here = (PARTS.ledger_id == ledger_id, PARTS.window_start == correction.window.start_s)
    sums = connection.execute(
        select(*unit_sums(PARTS.whole, PARTS.pico)).where(*here, PARTS.state.not_in(_NOWHERE))
    ).one()
    left = Decimal(0) if sums[0] is None else units_of_sums(*sums)
    if correction.units < 0 and left + correction.units < 0:
        message = f"only {format_units(left)} units of this window are left to take back: take back less"
        raise FailedPrecondition(message, reason="NOTHING_LEFT")


def _made_before(connection: Connection, part_id: int) -> Part:
    found = read_parts(connection, [part_id])
    if not found:
        raise NotFound(f"part {part_id}, which this request made, is so old that it was deleted")
    return found[0]


def read_parts(connection: Connection, part_ids: Sequence[int]) -> list[Part]:
    """Returns parts by rising id."""
    rows = (
        row
        for chunk in chunked(part_ids)
        for row in connection.execute(select_parts().where(PARTS.part_id.in_(chunk)))
    )
    return sorted(map(part_of, rows), key=lambda part: part.part_id)


def _is_stopped(claim: Claim, stopped: set[tuple[Any, ...]]) -> bool:
    customers, prices = {claim.customer, ""}, {claim.target.price, ""}
    return any((claim.application_id, who, what) in stopped for who in customers for what in prices)


def _claim(connection: Connection, claim: Claim, draft: _Draft, installed: str, now_us: int) -> int:
    """Returns the id of the part that a claim became, 0 where nothing was open."""
    part_id = _begin(connection, draft, installed, now_us)
    claimed = claim_deltas(connection, claim, part_id)
    if claimed is None:
        connection.execute(delete(BILLING_PARTS).where(PARTS.part_id == part_id))
        return 0
    _finish(connection, part_id, draft, *claimed)
    return part_id


def _begin(connection: Connection, draft: _Draft, installed: str, now_us: int) -> int:
    """Stores a part without units yet; returns its id."""
    key, window, terms = draft.key, draft.window, draft.terms
    last = connection.scalar(
        select(func.max(PARTS.number)).where(
            PARTS.ledger_id == draft.ledger_id, PARTS.window_start == window.start_s
        )
    )
    number = (last or 0) + 1
    identifier = identifier_of(
        installed, key.application_id, key.customer, key.target, window, number, terms=terms
    )
    row = insert(BILLING_PARTS).values(
        application_id=key.application_id,
        ledger_id=draft.ledger_id,
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
        span_id=draft.span_id,
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
    counts: Decimal | None = Decimal(0)
    if draft.span_id is None:
        value = carried(connection, draft.ledger_id, draft.terms, units).value
    else:
        value = totalled(connection, draft.span_id, draft.terms, units)
        counts = _counts(connection, draft.span_id, part_id)
    whole, pico = split(units)
    idle = {"state": PartState.SENT.value, "note": draft.note or _NOTHING, "next_us": 0}
    connection.execute(
        update(BILLING_PARTS)
        .where(PARTS.part_id == part_id)
        .values(
            requests=requests,
            whole=whole,
            pico=pico,
            value=format_units(value),
            **(idle if value == counts else {}),
        )
    )


def _counts(connection: Connection, span_id: int, part_id: int) -> Decimal | None:
    """Returns what the destination counts for a span before a part, None where that is not settled."""
    last = connection.execute(
        select(PARTS.state, PARTS.value)
        .where(PARTS.span_id == span_id, PARTS.part_id < part_id)
        .order_by(PARTS.part_id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return Decimal(0)
    return Decimal(last.value) if last.state == PartState.SENT.value else None

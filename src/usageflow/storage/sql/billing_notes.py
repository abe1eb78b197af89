"""Why units are not on their way: holds, stops and pauses; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from usageflow.domain.billing import HoldReason, Target
from usageflow.domain.changes import Cause
from usageflow.domain.policies import Trigger
from usageflow.domain.units import join, split
from usageflow.storage.billing import Hold, Pause, Stop
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.receipts import claim as claim_receipt
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import BILLING_HOLDS, BILLING_PAUSES, BILLING_STOPS

_HOLDS, _PAUSES, _STOPS = BILLING_HOLDS.c, BILLING_PAUSES.c, BILLING_STOPS.c
_KEY = ("customer", "trigger", "price", "event_name", "reason")


def replace_holds(connection: Connection, application_id: str, holds: Sequence[Hold], now_us: int) -> None:
    """Makes an application's holds equal to these. Only the process that freezes writes them."""
    wanted = {_key(hold): hold for hold in holds}
    mine = _HOLDS.application_id == application_id
    there = {
        tuple(row): since_us
        for *row, since_us in connection.execute(
            select(*(_HOLDS[name] for name in _KEY), _HOLDS.since_us).where(mine)
        )
    }
    for key in sorted(there.keys() - wanted.keys()):
        connection.execute(delete(BILLING_HOLDS).where(mine, *_is(key)))
    for key, hold in sorted(wanted.items()):
        whole, pico = split(hold.units)
        values = {
            "message": hold.message[:500],
            "requests": hold.requests,
            "whole": whole,
            "pico": pico,
            "oldest": hold.oldest_s,
            "since_us": there.get(key, now_us),
        }
        new = upsert(connection, BILLING_HOLDS).values(
            application_id=application_id, **dict(zip(_KEY, key, strict=True)), **values
        )
        connection.execute(new.on_conflict_do_update(index_elements=["application_id", *_KEY], set_=values))


def holds(connection: Connection, application_id: str) -> list[Hold]:
    """Returns an application's holds, most units first."""
    rows = connection.execute(select(BILLING_HOLDS).where(_HOLDS.application_id == application_id))
    found = sorted(
        (
            Hold(
                row.customer,
                Target(Trigger(row.trigger), row.price, row.event_name),
                HoldReason(row.reason),
                row.message,
                row.requests,
                join(row.whole, row.pico),
                row.oldest,
                row.since_us,
            )
            for row in rows
        ),
        key=_key,
    )
    found.sort(key=lambda hold: hold.units, reverse=True)
    return found


def _key(hold: Hold) -> tuple[str, ...]:
    return (hold.customer, hold.target.trigger.value, *hold.target[1:], hold.reason.value)


def _is(key: tuple[Any, ...]) -> list[Any]:
    return [_HOLDS[name] == value for name, value in zip(_KEY, key, strict=True)]


def stops(connection: Connection) -> list[Stop]:
    """Returns what people hold."""
    return [Stop(*row) for row in connection.execute(select(*_STOPS[:3]).order_by(*_STOPS[:3]))]


def stop(connection: Connection, wanted: Stop, cause: Cause, now_us: int, *, held: bool) -> bool:
    """Makes a stop, or ends it."""
    if cause.request_id and claim_receipt(connection, cause, wanted.application_id, "", now_us) is not None:
        return False
    if held:
        statement: Any = (
            upsert(connection, BILLING_STOPS)
            .values(**wanted._asdict(), created_us=now_us)
            .on_conflict_do_nothing()
        )
    else:
        named = (_STOPS[name] == value for name, value in wanted._asdict().items())
        statement = delete(BILLING_STOPS).where(*named)
    changed = bool(connection.execute(statement).rowcount)
    if changed:
        append_entries(connection, cause, wanted.application_id, revision=0, now_us=now_us)
    return changed


def pause(connection: Connection, destination: str, message: str, now_us: int) -> None:
    """Pauses a destination."""
    values = {"message": message[:500]}
    new = upsert(connection, BILLING_PAUSES).values(destination=destination, since_us=now_us, **values)
    connection.execute(new.on_conflict_do_update(index_elements=["destination"], set_=values))


def pauses(connection: Connection) -> list[Pause]:
    """Returns what is paused."""
    rows = connection.execute(select(BILLING_PAUSES).order_by(_PAUSES.destination))
    return [Pause(row.destination, row.message, row.since_us) for row in rows]


def resume(connection: Connection, destination: str, cause: Cause, now_us: int) -> bool:
    """Ends a pause."""
    ended = connection.execute(delete(BILLING_PAUSES).where(_PAUSES.destination == destination)).rowcount
    if ended:
        append_entries(connection, cause, "", revision=0, now_us=now_us)
    return bool(ended)

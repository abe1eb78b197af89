"""What ends or goes on: settlements, lease returns, releases and renewals, of a Report or before a BatchCheck's items.

They need no database, so they are carried out even where a report's usage cannot be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from decision.engine import Engine
from usageflow.domain.errors import Fault, Unavailable
from usageflow.storage.counters import Amendment, LeaseReturn, Release, Renewal, Settlement

_PER_CALL = 100
"""Amendments per call of the store."""


class ItemKind(StrEnum):
    """Which list of a call an item stands in."""

    EVENT = "EVENT"
    BATCH = "BATCH"
    SETTLEMENT = "SETTLEMENT"
    RETURN = "RETURN"
    RELEASE = "RELEASE"
    RENEWAL = "RENEWAL"


@dataclass(frozen=True, slots=True)
class ItemFault:
    """An item that was not carried out."""

    kind: ItemKind
    index: int
    item_id: str
    fault: Fault


_FORMS: dict[type[Amendment], tuple[ItemKind, str, Fault]] = {
    Settlement: (
        ItemKind.SETTLEMENT,
        "actual",
        Fault(
            "reservation_id",
            "there is no such reservation (any more)",
            "settle within its hold",
            "NOT_FOUND",
        ),
    ),
    LeaseReturn: (
        ItemKind.RETURN,
        "used",
        Fault("lease_id", "there is no such lease (any more)", "drop it: nothing is left of it", "NOT_FOUND"),
    ),
    Release: (
        ItemKind.RELEASE,
        "",
        Fault("slot_id", "no such slot is held (any more)", "drop it: it was freed already", "NOT_FOUND"),
    ),
    Renewal: (
        ItemKind.RENEWAL,
        "",
        Fault("slot_id", "no such slot is held (any more)", "renew at half of the window", "NOT_FOUND"),
    ),
}

_SILENT = Fault("", "the counters do not answer", "send it again: nothing is done twice", "UNAVAILABLE")


async def amend(engine: Engine, application_id: str, amendments: Sequence[Amendment]) -> list[ItemFault]:
    """Carries out what can be; returns the others, each with its index among those of its kind."""
    faults: list[ItemFault] = []
    placed = _placed(amendments)
    good = [item for item in placed if _bound(*item, faults)]
    for start in range(0, len(good), _PER_CALL):
        chunk = good[start : start + _PER_CALL]
        await asyncio.sleep(
            0
        )  # counters in memory, or an open breaker, make no pause: checks must not wait for all
        try:
            done = await engine.amend(application_id, [amendment for _, amendment in chunk])
        except Unavailable:
            faults += [_fault(index, amendment, _SILENT) for index, amendment in chunk]
            continue
        faults += [
            _fault(index, amendment, _FORMS[type(amendment)][2])
            for (index, amendment), had in zip(chunk, done, strict=True)
            if not had
        ]
    return faults


def _placed(amendments: Sequence[Amendment]) -> list[tuple[int, Amendment]]:
    """Returns each amendment with its index among those of its kind."""
    seen: dict[type[Amendment], int] = {}
    placed = []
    for amendment in amendments:
        index = seen[type(amendment)] = seen.get(type(amendment), -1) + 1
        placed.append((index, amendment))
    return placed


def _bound(index: int, amendment: Amendment, faults: list[ItemFault]) -> bool:
    field = _FORMS[type(amendment)][1]
    number = getattr(amendment, field) if field else 0
    if number >= 0:
        return True
    fault = Fault(field, f"{number} is negative", "send what was really used, 0 or more")
    faults.append(_fault(index, amendment, fault))
    return False


def _fault(index: int, amendment: Amendment, fault: Fault) -> ItemFault:
    return ItemFault(_FORMS[type(amendment)][0], index, _id_of(amendment), fault)


def _id_of(amendment: Amendment) -> str:
    match amendment:
        case Settlement(reservation_id=found) | LeaseReturn(lease_id=found):
            return found
        case Release(slot_id=found) | Renewal(slot_id=found):
            return found

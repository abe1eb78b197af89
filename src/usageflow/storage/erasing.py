"""The port of erasure; tests/contract runs its docstrings on every back end."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from usageflow.domain.changes import Cause


@dataclass(frozen=True, slots=True)
class Erasure:
    """Who is to be forgotten: a customer with all identities of it, or (``customer`` empty) one identity by its raw value."""

    customer: str = ""
    identity: str = ""
    discard_unbilled: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed. Units were open: ``bound`` to the customer, or ``discarded``."""

    identities: int = 0
    events: int = 0
    decisions: int = 0
    blocks: int = 0
    windows: int = 0
    bound: Decimal = Decimal(0)
    discarded: Decimal = Decimal(0)


class ErasureStore(Protocol):
    """The end of personal data. A store that does not answer raises usageflow.domain.errors.Unavailable."""

    async def erase(self, application_id: str, hash_key: bytes, erasure: Erasure, *, cause: Cause) -> Erased:
        """Forgets somebody: open metering deltas are bound to the customer, then the identities' mapping rows, their entries in the
        directory, the customer's row but for its name, blocks, logged decisions, saved windows and the personal detail of events are
        gone; sums and pseudonyms stay. ``hash_key`` is the application's own. Events and logged decisions go first, in transactions of
        their own, everything else in one with the audit entry, so that an erasure which was cut short can be repeated.
        Idempotent. Raises NotFound for a customer who never was, FailedPrecondition (HELD_UNITS) where open units belong to no customer
        and ``discard_unbilled`` is not set; nothing is erased then.
        """

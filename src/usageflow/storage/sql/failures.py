"""Which error of the domain an error of the database becomes, and which is worth another try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)

from usageflow.domain.errors import InvalidArgument, Unavailable

_REFUSED = "holds a value that is out of bounds or refers to what does not exist"

_CONFLICTS = frozenset({"40001", "40P01"})
"""PostgreSQL undid one of two transactions that stood in each other's way (serialization failure, deadlock)."""

_CHECK = "23514"

_AWAY = frozenset({"25006", "25P03", "25P04"})
"""It takes no writes (a standby), or ended a transaction that stood idle or took too long: not the caller's doing."""

_LIMIT_EXCEEDED = "54"
"""The class of values that are too large for an index."""


def is_conflict(error: DBAPIError) -> bool:
    """Tells whether the same work may well succeed when it is done again from its beginning."""
    return sqlstate_of(error) in _CONFLICTS or _lost_its_partition(error)


def _lost_its_partition(error: DBAPIError) -> bool:
    """Tells whether a row was on its way to a partition whose bounds changed meanwhile: no named check refuses it."""
    return sqlstate_of(error) == _CHECK and error.orig.diag.constraint_name is None  # type: ignore[union-attr]


def sqlstate_of(error: DBAPIError) -> str:
    """Returns PostgreSQL's code of an error, empty where there is none: SQLite has no such codes."""
    return getattr(error.orig, "sqlstate", None) or ""


@contextmanager
def translated_errors(advice: str) -> Iterator[None]:
    """Makes domain errors of the database's own; their texts hold no SQL and no values.

    Unavailable, with ``advice`` on what to check: the database itself fails. InvalidArgument (reason DATA_REFUSED): it works
    and refuses a value. Anything else is a mistake in the work and passes through.
    """
    try:
        yield
    except (OverflowError, UnicodeEncodeError) as error:
        # The driver has no types of its own for integers beyond 64 bits and for text that is not Unicode.
        raise _refused() from error
    except DBAPIError as error:
        if _is_refusal(error):
            raise _refused() from error
        if _is_failure(error):
            raise Unavailable(f"the database does not answer: try again; if it stays so, {advice}") from error
        raise


def _refused() -> InvalidArgument:
    return InvalidArgument.of("data", _REFUSED, "correct it; nothing was stored", "DATA_REFUSED")


def _is_refusal(error: DBAPIError) -> bool:
    return isinstance(error, IntegrityError | DataError) or sqlstate_of(error).startswith(_LIMIT_EXCEEDED)


def _is_failure(error: DBAPIError) -> bool:
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return True
    # SQLite reports a damaged file with the base class itself; its subclasses are mistakes of ours.
    return type(error) is DatabaseError or sqlstate_of(error) in _AWAY

"""How sums are read: whole days, whole hours, minutes at the edges, and what is not folded yet.

All of it in the caller's transaction, so that a delta is seen either in its own table or in the sums. The database adds up per
series or pseudonym and step; histograms come back written one behind the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from usageflow.domain.analytics import HOUR_S, MINUTE_S, UsageQuery
from usageflow.domain.ids import DAY_S
from usageflow.domain.spans import NO_END, Piece, pieces
from usageflow.storage.sql.driver import Rows, fetch, is_postgres, joined_blobs
from usageflow.storage.sql.folding import SUMS, TALLIES
from usageflow.storage.sql.statements import join_sum

_BASE = 10**9
_OF_SERIES = {MINUTE_S: "usage_minutes", HOUR_S: "usage_hours", DAY_S: "usage_days"}
_OF_IDENTITIES = {HOUR_S: "identity_hours", DAY_S: "identity_days"}
_LABELLED = "usage_deltas u JOIN usage_series s ON s.series_id = u.series_id"
_TALLIES = {
    "errors": "CASE WHEN s.status BETWEEN 500 AND 599 THEN u.requests ELSE 0 END",
    "client_errors": "CASE WHEN s.status BETWEEN 400 AND 499 AND NOT s.denied THEN u.requests ELSE 0 END",
    "denied": "CASE WHEN s.denied THEN u.requests ELSE 0 END",
    "degraded": "CASE WHEN s.degraded <> '' THEN u.requests ELSE 0 END",
    "whole": "CASE WHEN s.denied THEN 0 ELSE u.whole END",
    "pico": "CASE WHEN s.denied THEN 0 ELSE u.pico END",
}


class Source(NamedTuple):
    """A table to read: its text after FROM, the column of time, what stands for each column that is not simply its name."""

    text: str
    time: str
    span: Piece
    columns: dict[str, str]

    def column(self, name: str) -> str:
        """Returns the text of a column."""
        return self.columns.get(name, f"u.{name}")


class Where(NamedTuple):
    """Further conditions, with a ``?`` per parameter; ``{name}`` stands for a column of the source."""

    conditions: Sequence[str]
    parameters: Sequence[Any]


def sources(query: UsageQuery) -> list[Source]:
    """Returns the tables that answer a query together."""
    names = _OF_IDENTITIES if query.by_caller else _OF_SERIES
    longest = min(query.interval or DAY_S, DAY_S)
    spans = pieces(query.since, query.until, longest, min(names))
    folded = [Source(f"{names[span.step]} u", "u.start", span, {}) for span in spans]
    whole = Piece(1, query.since, NO_END if query.until is None else query.until)
    if not query.by_caller:
        return [*folded, Source("usage_deltas u", "u.second", whole, {})]
    columns = {"endpoint_id": "s.endpoint_id", "refused": "s.denied", **_TALLIES}
    return [*folded, Source(_LABELLED, "u.second", whole, columns)]


def sum_rows(
    connection: Connection, query: UsageQuery, keys: Sequence[str], where: Where, numbers: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Yields (keys, step, numbers, histograms) of every source, a row per group of keys and step in each."""
    for source in sources(query):
        for row in _rows(connection, source, query, keys, where, numbers):
            yield _joined(connection, row, len(keys) + 1)


def distinct(connection: Connection, query: UsageQuery, key: str, where: Where) -> set[Any]:
    """Returns the values of a column in all sources."""
    found: set[Any] = set()
    for source in sources(query):
        text = f"SELECT DISTINCT {source.column(key)} FROM {_from(source, where)}"  # noqa: S608 - our own names
        found.update(value for (value,) in fetch(connection, text, _parameters(source, where)))
    return found


def _rows(
    connection: Connection,
    source: Source,
    query: UsageQuery,
    keys: Sequence[str],
    where: Where,
    numbers: Sequence[str],
) -> Rows:
    grouped = [source.column(key) for key in keys]
    step = f"{source.time} / {query.interval:d} * {query.interval:d}" if query.interval else "0"
    sums = [text for number in numbers for text in _sum(connection, source.column(number))]
    selected = ", ".join([*grouped, step, *sums, joined_blobs(connection, "u.latency")])
    groups = ", ".join([*grouped, step] if query.interval else grouped)
    text = f"SELECT {selected} FROM {_from(source, where)} GROUP BY {groups}"  # noqa: S608 - our own names
    return fetch(connection, text, _parameters(source, where))


def _from(source: Source, where: Where) -> str:
    names = {name: source.column(name) for name in ("series_id", "pseudonym", "endpoint_id", "refused")}
    conditions = [
        condition.format(**names, application_id="u.application_id") for condition in where.conditions
    ]
    spanned = [f"{source.time} >= ?", f"{source.time} < ?", *conditions]
    return f"{source.text} WHERE {' AND '.join(spanned)}"


def _parameters(source: Source, where: Where) -> list[Any]:
    return [source.span.start, source.span.end, *where.parameters]


def _sum(connection: Connection, column: str) -> tuple[str, ...]:
    """Returns the texts of exact sums. PostgreSQL adds 64-bit integers without a bound, SQLite fails beyond 64 bits."""
    if is_postgres(connection):
        return (f"SUM({column})",)
    return (f"SUM(({column}) / {_BASE})", f"SUM(({column}) % {_BASE})")


def _joined(connection: Connection, row: tuple[Any, ...], width: int) -> tuple[Any, ...]:
    *sums, latency = row[width:]
    if is_postgres(connection):
        return (*row[:width], *map(int, sums), latency)
    return (*row[:width], *map(_wide, sums[::2], sums[1::2]), latency)


def _wide(high: int, low: int) -> int:
    return join_sum(high, low, _BASE)


OF_SERIES = SUMS
OF_IDENTITIES = (*TALLIES, *SUMS)

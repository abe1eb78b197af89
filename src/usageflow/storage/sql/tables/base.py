"""What the tables have in common."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Text, text

METADATA = MetaData()

ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is spelled INTEGER."""


def count(name: str, default: str = "0") -> Column[int]:
    """Returns a column of whole numbers that starts at ``default``."""
    return Column(name, BigInteger, nullable=False, server_default=text(default))


def unique_where(name: str, condition: str, *columns: str) -> Index:
    """Returns an index that keeps rows apart for which a condition holds."""
    return Index(name, *columns, unique=True, sqlite_where=text(condition), postgresql_where=text(condition))


def application(*, primary_key: bool = False) -> Column[str]:
    """Returns the column that names the application which a row belongs to."""
    return Column(
        "application_id",
        Text,
        ForeignKey("applications.application_id"),
        primary_key=primary_key,
        nullable=False,
    )

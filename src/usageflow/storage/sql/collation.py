"""Text in PostgreSQL is ordered by its bytes, as in SQLite and in Python, wherever the database was made.

Else the order of names, and with it pages of lists, would differ between back ends, and an update of the system's
locales would silently spoil indices.
"""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import Connection, text

from usageflow.storage.sql.tables import METADATA

_LOCALISED = text(
    "SELECT t.relname, c.attname FROM pg_attribute c"
    " JOIN pg_class t ON t.oid = c.attrelid"
    " JOIN pg_namespace n ON n.oid = t.relnamespace"
    " JOIN pg_collation l ON l.oid = c.attcollation"
    " WHERE n.nspname = current_schema() AND t.relname = ANY(:tables) AND t.relkind IN ('r', 'p')"
    " AND c.attnum > 0 AND NOT c.attisdropped AND l.collname <> 'C' AND c.atttypid = 'text'::regtype"
    " ORDER BY t.relname, c.attnum"
)


def order_text_by_bytes(connection: Connection) -> None:
    """Gives collation "C" to every text column of ours that has another; part of each migration, so that none needs to
    think of it.
    """
    if connection.dialect.name != "postgresql":
        return
    rows = connection.execute(_LOCALISED, {"tables": list(METADATA.tables)}).all()
    for table, columns in groupby(rows, key=lambda row: row[0]):
        actions = ", ".join(f'ALTER COLUMN "{column}" TYPE text COLLATE "C"' for _, column in columns)
        connection.exec_driver_sql(f'ALTER TABLE "{table}" {actions}')

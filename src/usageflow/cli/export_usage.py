"""What `usageflow export --what events|usage` writes: CSV or JSON Lines, one row per event or sum."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from usageflow.cli.output import say
from usageflow.domain.units import format_units

_CHUNK = 500
_RISKY = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins so for a formula."""


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSONL = "jsonl"


def pieces_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], format_: Format) -> Iterator[bytes]:
    """Yields the bytes of a file, UTF-8: CSV as RFC 4180 has it, or a JSON object a line."""
    if format_ is Format.CSV:
        yield _csv([columns])
    chunk: list[Mapping[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield _lines(chunk, columns, format_)
            chunk = []
    if chunk:
        yield _lines(chunk, columns, format_)


def _lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], format_: Format) -> bytes:
    if format_ is Format.CSV:
        return _csv([[cell_of(row[name]) for name in columns] for row in rows])
    return "".join(f"{_json({name: row[name] for name in columns})}\n" for row in rows).encode()


def cell_of(value: object) -> str:
    """Returns a CSV cell: nothing for None, JSON for objects, and text that a spreadsheet would take for a formula behind an
    apostrophe. Numbers stay numbers.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format_units(value)
    if isinstance(value, (int, float)):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if text.startswith(_RISKY) else text


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)  # else a lone CR stays bare
    return text.getvalue().encode("utf-8", "backslashreplace")


def _json(row: Mapping[str, Any]) -> str:
    """Returns a row as JSON in one line; units stay exact."""
    members = (
        f"{json.dumps(name)}: {format_units(value) if isinstance(value, Decimal) else json.dumps(value)}"
        for name, value in row.items()
    )
    return "{" + ", ".join(members) + "}"


def write_pieces(to: str, pieces: Iterable[bytes]) -> None:
    """Writes to standard output ("" or -), or a file that is whole or not there, its owner's alone. Raises Failure."""
    from usageflow.cli.failure import Failure
    from usageflow.storage.file.atomic import replace_file

    if to in ("", "-"):
        for piece in pieces:
            typer.echo(piece, nl=False)
        return
    try:
        replace_file(Path(to), pieces)
    except OSError as error:
        raise Failure(f"cannot write {to}: {error.strerror}; name a file in a folder that exists") from error
    say(f"wrote {to}")

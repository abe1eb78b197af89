"""What people and programs read: tables on a terminal, JSON for both, diagnostics on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from usageflow.domain.units import format_units

if TYPE_CHECKING:  # heavy to import
    from rich.table import Table

_WIDE = 10_000
"""Columns of an output that is not a terminal: nothing is wrapped or cut in a pipe."""


class Output(StrEnum):
    """How a verb prints its result."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers stand right."""

    title: str
    right: bool = False


def print_json(value: object) -> None:
    """Prints a value of dicts, lists, texts, numbers and Decimals; Decimals come out exact, as JSON numbers."""
    typer.echo(to_json(value))


def to_json(value: object, pad: str = "") -> str:
    """Returns indented ASCII JSON. The standard encoder would turn Decimals into floats or texts."""
    inner = pad + "  "
    if isinstance(value, Mapping):
        members = (f"{json.dumps(str(key))}: {to_json(each, inner)}" for key, each in value.items())
        return _bracketed("{", members, "}", pad)
    if isinstance(value, (list, tuple)):
        return _bracketed("[", (to_json(each, inner) for each in value), "]", pad)
    if isinstance(value, Decimal):
        return format_units(value)
    return json.dumps(value)


def _bracketed(start: str, members: Iterable[str], end: str, pad: str) -> str:
    body = f",\n{pad}  ".join(members)
    return f"{start}\n{pad}  {body}\n{pad}{end}" if body else start + end


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], total: Sequence[object] = ()
) -> None:
    """Prints rows under their titles; ``total`` is a last row, set apart."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _WIDE).print(table_of(columns, rows, total))


def table_of(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], total: Sequence[object] = ()
) -> Table:
    """Returns what ``print_table`` prints."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell_text(cell)) for cell in row))
    if total:
        table.add_section()
        table.add_row(*(Text(cell_text(cell), style="bold") for cell in total))
    return table


def print_line(text: str) -> None:
    """Prints one line of a result."""
    typer.echo(printable(text))


def say(text: str) -> None:
    """Prints a diagnostic on stderr."""
    typer.echo("\n".join(printable(line) for line in text.split("\n")), err=True)


def cell_text(cell: object) -> str:
    """Returns the text of a table's cell."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, (int, Decimal)):
        whole, point, fraction = format_units(Decimal(cell)).partition(".")
        return f"{int(whole):,}{point}{fraction}"
    return printable(str(cell))


def printable(text: str) -> str:
    """Returns the text without control characters: reported values must not steer somebody's terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

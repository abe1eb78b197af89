"""PostgreSQL's text of arrays: columns of thousands of rows as one parameter each.

The driver writes lists value by value, in Python, for a microsecond each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def array_text(values: Sequence[int | str | bytes | bool | None]) -> str:
    """Returns an array of one dimension as the server reads it after ``::type[]``."""
    return f"{{{','.join([_WRITERS[type(value)](value) for value in values])}}}"


def columns_of(rows: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """Returns the array of each column."""
    return tuple(map(array_text, zip(*rows, strict=True)))


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _hex(blob: bytes) -> str:
    return f'"\\\\x{blob.hex()}"'


def _null(_: None) -> str:
    return "NULL"


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    int: str,
    bool: str,
    str: _quoted,
    bytes: _hex,
    type(None): _null,
}

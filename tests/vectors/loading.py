"""Reads golden cases strictly: an unknown field, a name that comes twice or an empty folder is an error."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from google.protobuf.json_format import Parse
from google.protobuf.message import Message

FileT = TypeVar("FileT", bound=Message)

ROOT = Path(__file__).parents[2] / "spec" / "vectors"


def files(folder: str, kind: type[FileT]) -> list[FileT]:
    """Returns the files of a folder, in the order of their names, as messages of ``kind``."""
    paths = sorted((ROOT / folder).glob("*.json"))
    parsed = [Parse(path.read_text(encoding="utf-8"), kind()) for path in paths]
    names = [case.name for file in parsed for case in file.cases]  # type: ignore[attr-defined]  # every *File has cases
    if not names or "" in names or len(names) != len(set(names)):
        raise ValueError(f"cases of {folder} need names, each its own: {names}")
    return parsed

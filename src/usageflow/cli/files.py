"""Opens what `-f` names; `-` is standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from usageflow.cli.failure import Failure

STDIN = "-"


def title_of(name: str) -> str:
    """Returns how messages name the file."""
    return "<stdin>" if name == STDIN else name


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Yields the bytes of a file. Raises Failure where it cannot be opened or read."""
    try:
        if name == STDIN:
            yield _stdin()
        else:
            with open(name, "rb") as stream:  # noqa: PTH123 - `-f ''` must be "no such file", not the folder
                yield stream
    except BrokenPipeError:
        raise  # whoever read our output has gone: nothing is wrong with the file
    except OSError as error:
        raise _unreadable(name, error.strerror or str(error)) from error


def _stdin() -> BinaryIO:
    # The interpreter has no such stream where the caller closed it, whatever its type says.
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise _unreadable(STDIN, "it is closed")
    return stream.buffer


def _unreadable(name: str, reason: str) -> Failure:
    return Failure(f"cannot read {title_of(name)}: {reason}; name a file, or - for stdin")


def read_text(name: str, *, most: int) -> str:
    """Returns the text of a UTF-8 file, of which no more than ``most`` + 1 bytes are read. Raises Failure."""
    with opened(name) as stream:
        data = stream.read(most + 1)
    try:
        return data.decode("utf-8-sig", errors="strict" if len(data) <= most else "ignore")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Failure(f"{title_of(name)}:{line}:1: this is not UTF-8; save the file as UTF-8") from error

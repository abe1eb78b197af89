"""A progress bar on stderr, where stderr is a terminal; nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from usageflow.cli.output import printable, say


class Progress(Protocol):
    """What the work tells while it runs."""

    def advance(self, size: int) -> None:
        """So many more bytes, or things, are done."""

    def tell(self, text: str) -> None:
        """Prints a line on stderr, above the bar."""


class _Silent:
    def advance(self, size: int) -> None:
        return

    def tell(self, text: str) -> None:
        say(text)


@contextmanager
def progress_of(stream: BinaryIO) -> Iterator[Progress]:
    """Yields the progress of reading a stream; its end is known for files only."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    with _bar("reporting", _size_of(stream)) as bar:
        yield bar


@contextmanager
def counting(title: str, total: int | None) -> Iterator[Progress]:
    """Yields the progress of work on so many things."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    with _bar(title, total, counts=True) as bar:
        yield bar


@contextmanager
def _bar(title: str, total: int | None, *, counts: bool = False) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress as RichProgress

    columns = [*RichProgress.get_default_columns(), *([MofNCompleteColumn()] if counts else [])]
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        class _Bar:
            def advance(self, size: int) -> None:
                progress.advance(task, size)

            def tell(self, text: str) -> None:
                progress.console.print(printable(text), markup=False, highlight=False)

        yield _Bar()


def _size_of(stream: BinaryIO) -> int | None:
    try:
        return os.fstat(stream.fileno()).st_size or None
    except OSError:
        return None

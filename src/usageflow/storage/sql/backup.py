"""Whole copies of a SQLite file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


def copy_database(source: Path, target: Path) -> None:
    """Copies a database, with what its write-ahead log holds, durably: ``target`` is whole or absent.

    Raises sqlite3.Error and OSError.
    """
    unfinished = target.with_name(f"{target.name}.partial")
    unfinished.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(unfinished)) as copy:
            shutil.copymode(source, unfinished)
            live.backup(copy)
            # The copy stands alone: without this it would expect a log of its own beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
        sync_path(unfinished)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_path(target.parent)


def sync_path(path: Path) -> None:
    """Makes a file's content, or a folder's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

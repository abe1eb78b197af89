"""Makes an identity's checkpointed window that of many identities, as if each had been admitted once before a restart.

usage: python -m bench.helpers.windows DATABASE IDENTITY PATTERN, then a number N: PATTERN % 0 to PATTERN % (N - 1) get a window
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from bench.figures import NotMeasured
from bench.helpers.lines import serve
from usageflow.runtime.clock import SystemClock
from usageflow.storage.sql import SqlCheckpointStore, open_sqlite

CHUNK = 50_000


async def copy(database_path: Path, identity: str, pattern: str, number: int) -> int:
    """Returns how many windows were stored."""
    clock = SystemClock()
    database = open_sqlite(database_path)
    try:
        store = SqlCheckpointStore(database, clock)
        windows = await store.load_windows(now_us=clock.now_us())
        first = next((window for window in windows if window.key.endswith(identity)), None)
        if first is None:
            raise NotMeasured(f"no window of {identity} was checkpointed")
        prefix = first.key.removesuffix(identity)
        for start in range(0, number, CHUNK):
            users = range(start, min(start + CHUNK, number))
            await store.save_windows([replace(first, key=prefix + pattern % user) for user in users])
        return number
    finally:
        await database.close()


if __name__ == "__main__":
    path, identity, pattern = sys.argv[1:]
    serve(lambda number: asyncio.run(copy(Path(path), identity, pattern, number)))

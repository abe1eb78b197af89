"""The CheckpointStore of a process without a database."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.storage.ports import WindowState


class NoCheckpoints:
    """Keeps nothing: long quotas live as long as the counters do. Counters in memory end with their process; those that a
    process shares with others outlive it anyway.
    """

    async def save_windows(self, windows: Sequence[WindowState]) -> None:
        """Forgets them."""

    async def load_windows(self, *, now_us: int) -> Sequence[WindowState]:
        """Returns none."""
        return ()

    async def drop_ended(self, *, now_us: int) -> int:
        """Returns 0."""
        return 0

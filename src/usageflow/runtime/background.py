"""Work that the meter service does while nobody asks."""

from __future__ import annotations

from typing import Protocol


class Background(Protocol):
    """Work that goes on until its task is cancelled, and that any number of processes may do at once."""

    async def run_for_ever(self) -> None:
        """Does it, again and again; what fails is logged and done again later."""

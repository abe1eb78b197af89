"""When credentials were last used: noted in memory with each call, written now and then."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.storage.credentials import CredentialUses

WRITE_EVERY_US = 60_000_000
"""A credential's time is written at most this often."""

_LOOK_S = 5.0
_REMEMBERED = 100_000

log = structlog.get_logger()


class Uses(Protocol):
    """Takes note of uses."""

    def note(self, credential_id: str, now_us: int) -> None:
        """A credential was used now."""


class ForgottenUses:
    """For processes without a database: takes note of nothing."""

    def note(self, credential_id: str, now_us: int) -> None:
        """Does nothing."""


class LastUsed:
    """Collects uses; ``run`` writes them until cancelled, ``flush`` writes what is left."""

    def __init__(self, store: CredentialUses, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[str, int] = {}
        self._written: dict[str, int] = {}

    def note(self, credential_id: str, now_us: int) -> None:
        """A credential was used now."""
        self._noted[credential_id] = now_us

    async def run(self) -> None:
        """Writes for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.write_due()

    async def write_due(self) -> None:
        """Writes the times of credentials that were not written for a minute."""
        ripe_us = self._clock.now_us() - WRITE_EVERY_US
        await self._write([key for key in self._noted if self._written.get(key, ripe_us) <= ripe_us])

    async def flush(self) -> None:
        """Writes all that is noted: at the end of a process."""
        await self._write(list(self._noted))

    async def _write(self, keys: list[str]) -> None:
        if not keys:
            return
        uses = {key: self._noted.pop(key) for key in keys}
        try:
            await self._store.record_uses(uses)
        except UsageFlowError as error:
            self._noted = uses | self._noted
            log.warning("the last uses of credentials were not written; tried again soon", error=str(error))
            return
        now_us = self._clock.now_us()
        if len(self._written) > _REMEMBERED:
            self._written.clear()
        self._written.update(dict.fromkeys(uses, now_us))

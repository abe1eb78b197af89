"""Keeps what is in force for the next start: on disk, for a start without the database, and API keys in memory besides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from decision.snapshots import SnapshotRegistry
from usageflow.domain.credentials import Credential
from usageflow.domain.errors import UsageFlowError
from usageflow.domain.hashing import KeyOf
from usageflow.storage.file import SnapshotCache, encode_application, gather
from usageflow.storage.ports import ControlStore
from usageflow.storage.steady import SteadySource

PAUSE_S = 1.0
KEYS_EVERY_S = 5.0
"""Keys change without a change of policies, so they are looked at now and then."""

SHARE = 20
"""A pause is so many times as long as the round before it: a large application is not written again and again."""

log = structlog.get_logger()

_Stamp = tuple[int, int, tuple[tuple[str, int], ...]]
"""Plan version, version of the directory, ids and versions of API keys: what another content goes with. Uses of keys are none."""


@dataclass(frozen=True, slots=True)
class _Written:
    stamp: _Stamp
    text: bytes


def _versions(keys: Iterable[Credential]) -> tuple[tuple[str, int], ...]:
    return tuple((key.credential_id, key.version) for key in keys)


class Keeping:
    """Writes what changed; run() is its one worker."""

    def __init__(
        self,
        snapshots: SnapshotRegistry,
        control: ControlStore,
        source: SteadySource,
        key_of: KeyOf,
        cache: SnapshotCache,
    ) -> None:
        self._snapshots = snapshots
        self._control = control
        self._source = source
        self._key_of = key_of
        self._cache = cache
        self._written: dict[str, _Written] = {}
        self._unsaved = False
        self._swapped = asyncio.Event()
        snapshots.on_swap(self._swapped.set)

    async def run(self) -> None:
        """Keeps what is in force, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await self.round()
            await asyncio.sleep(max(PAUSE_S, SHARE * (loop.time() - started)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEYS_EVERY_S):
                    await self._swapped.wait()

    async def round(self) -> None:
        """Keeps what changed since the last round; what cannot be read or written now is left for the next."""
        self._swapped.clear()
        if self._source.from_cache:
            return
        try:
            await self._gather()
            if self._unsaved:
                texts = {key: written.text for key, written in self._written.items()}
                self._unsaved = not await asyncio.to_thread(self._cache.write, texts)
        except UsageFlowError as error:
            log.info("cannot read what to keep; will try again", error=str(error))
        except OSError as error:
            log.warning("cannot write the snapshot cache: see the data folder and its disk", error=str(error))

    async def _gather(self) -> None:
        in_force = self._snapshots.in_force()
        for application_id in set(self._written) - set(in_force):
            del self._written[application_id]
            self._unsaved = True
        keys = {key: tuple(await self._control.api_keys(key)) for key in in_force}
        self._source.remember(key for those in keys.values() for key in those)
        for application_id, snapshot in in_force.items():
            stamp = (snapshot.plan_version, snapshot.directory.version, _versions(keys[application_id]))
            known = self._written.get(application_id)
            if known is None or known.stamp != stamp:
                await self._encode(application_id, snapshot.plan_version)

    async def _encode(self, application_id: str, plan_version: int) -> None:
        exported = await gather(self._control, application_id, self._key_of)
        if exported.state.application.plan_version != plan_version:
            return  # not in force yet: it comes by again
        text = await asyncio.to_thread(encode_application, exported)
        stamp = (plan_version, exported.directory_version, _versions(exported.api_keys))
        self._written[application_id] = _Written(stamp, text)
        self._unsaved = True

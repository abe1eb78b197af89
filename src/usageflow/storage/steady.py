"""What a decision process reads: the database while it answers, what was kept of it while it does not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.credentials import Credential
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import PolicySet
from usageflow.storage.deadlines import Deadlines
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.ports import Application, ApplicationState, CredentialSource, SnapshotSource, Versions

KEY_S = 0.4
"""For a credential: a look-up that is renewed behind the calls has an answer, or none, before it counts no longer."""

POLL_S = 2.0
LOAD_S = 30.0

T = TypeVar("T")

log = structlog.get_logger()


class Source(SnapshotSource, CredentialSource, Protocol):
    """What decisions and authentication read."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier process kept, when it wrote that (Unix time in microseconds), and what makes the database ready, which has
    not been done.
    """

    source: Source
    written_us: int
    prepare: Callable[[], Coroutine[Any, Any, None]]


class SteadySource:
    """SnapshotSource and CredentialSource over a database and, until that has answered for the first time, over what an earlier
    process kept of it. API keys that are known from either authenticate while the database is silent.
    """

    def __init__(self, database: Source, clock: Clock, kept: Kept | None = None) -> None:
        self._database = database
        self._clock = clock
        self._kept = kept
        self._answered_us = clock.now_us() if kept is None else kept.written_us
        self._keys: dict[bytes, Credential] = {}
        self._deadlines = Deadlines()

    @property
    def from_cache(self) -> bool:
        """Tells whether what is in force comes from the cache."""
        return self._kept is not None

    @property
    def age_s(self) -> float:
        """Returns the seconds since the database last confirmed what is in force."""
        return max(0, self._clock.now_us() - self._answered_us) / 1_000_000

    def remember(self, keys: Iterable[Credential]) -> None:
        """Keeps these API keys, and no others, for when the database is silent."""
        self._keys = {key.secret_hash: key for key in keys}

    async def versions(self) -> Mapping[str, Versions]:
        """See SnapshotSource."""
        try:
            versions = await self._deadlines.ask(self._poll, POLL_S)
        except Unavailable:
            if self._kept is None:
                raise
            return await self._kept.source.versions()
        self._answered_us = self._clock.now_us()
        if self._kept is not None:
            log.warning("the database answers: its policies take over from those of the cache")
            self._kept = None
        return versions

    async def _poll(self) -> Mapping[str, Versions]:
        if self._kept is not None:
            await self._kept.prepare()
        return await self._database.versions()

    async def plan_versions(self) -> Mapping[str, int]:
        """See SnapshotSource."""
        return {application_id: version.plan for application_id, version in (await self.versions()).items()}

    async def find_application(self, name: str) -> Application | None:
        """See SnapshotSource."""
        return await self._ask(lambda source: source.find_application(name), POLL_S)

    async def load(self, application_id: str) -> ApplicationState:
        """See SnapshotSource."""
        return await self._ask(lambda source: source.load(application_id), LOAD_S)

    async def policies_at(self, application_id: str, revision: int) -> PolicySet | None:
        """See SnapshotSource."""
        return await self._ask(lambda source: source.policies_at(application_id, revision), LOAD_S)

    async def directory_changes(self, known: Mapping[str, int]) -> Mapping[str, DirectoryChanges]:
        """See DirectorySource."""
        return await self._ask(lambda source: source.directory_changes(known), LOAD_S)

    async def find_credential(self, secret_hash: bytes) -> Credential | None:
        """See CredentialSource."""
        try:
            return await self._deadlines.ask(lambda: self._database.find_credential(secret_hash), KEY_S)
        except Unavailable:
            found = self._keys.get(secret_hash)
            if found is None and self._kept is not None:
                found = await self._kept.source.find_credential(secret_hash)
            if found is None:
                raise
            return found

    async def _ask(self, question: Callable[[Source], Coroutine[Any, Any, T]], within_s: float) -> T:
        """Asks the cache as long as that is in force: it never hangs."""
        if self._kept is not None:
            return await question(self._kept.source)
        return await self._deadlines.ask(lambda: question(self._database), within_s)

"""The public keys of token issuers: fetched ahead and in the background, kept while an issuer is silent.

No decision waits for them: a token whose key is not known counts as missing, and asks for a fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.sources import Jwk
from usageflow.domain.tokens import keys_of_document

MAX_AGE_S = 300.0
"""Keys are fetched anew when they are this old."""

RETRY_S = 60.0
"""The least time between two fetches that unknown keys or failures ask for."""

FIRST_RETRY_S = 5.0
"""The same as long as there is no key at all."""

_POLL_S = 1.0

log = structlog.get_logger()


class KeyFetcher(Protocol):
    """Gets JWKS documents."""

    async def fetch(self, url: str) -> bytes:
        """Returns the document at ``url``, of bounded size and in bounded time. Raises Unavailable, which says why."""


@dataclass(slots=True)
class _Issuer:
    """What is known of one address; times are Unix time in microseconds."""

    keys: tuple[Jwk, ...] = ()
    tried_us: int | None = None
    wanting: bool = False
    """A key was missed, or the last fetch failed."""

    def is_due(self, now_us: int) -> bool:
        if self.tried_us is None:
            return True
        pause_s = MAX_AGE_S if not self.wanting else RETRY_S if self.keys else FIRST_RETRY_S
        return now_us - self.tried_us >= pause_s * 1_000_000


class KeyRing:
    """Keys by JWKS address. One task (run) fetches; readers never wait."""

    def __init__(self, fetcher: KeyFetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}
        self._used: dict[str, frozenset[str]] = {}
        self._asked = asyncio.Event()
        self._refreshing = asyncio.Lock()

    def use(self, application_id: str, urls: Iterable[str]) -> None:
        """Says which addresses an application's policies name; keys of addresses that nobody names are forgotten."""
        self._used[application_id] = frozenset(urls)
        wanted = frozenset().union(*self._used.values())
        self._issuers = {url: self._issuers.get(url, _Issuer()) for url in sorted(wanted)}
        self._wake()

    def keys(self, url: str) -> tuple[Jwk, ...]:
        """Returns the last good keys of an address, empty where there never were any."""
        issuer = self._issuers.get(url)
        return issuer.keys if issuer is not None else ()

    def missed(self, url: str) -> None:
        """Notes that a token names a key that is not there; it is fetched in the background, at most once a minute."""
        issuer = self._issuers.get(url)
        if issuer is not None:
            issuer.wanting = True
            self._wake()

    def _wake(self) -> None:
        now_us = self._clock.now_us()
        if any(issuer.is_due(now_us) for issuer in self._issuers.values()):
            self._asked.set()

    async def refresh(self) -> None:
        """Fetches what is due. Never raises for what an issuer does."""
        async with self._refreshing:
            now_us = self._clock.now_us()
            due = [(url, issuer) for url, issuer in self._issuers.items() if issuer.is_due(now_us)]
            await asyncio.gather(*(self._fetch(url, issuer) for url, issuer in due))

    async def _fetch(self, url: str, issuer: _Issuer) -> None:
        issuer.tried_us = self._clock.now_us()
        # Cleared first: a key that is missed while this fetch runs is asked for again.
        issuer.wanting = False
        try:
            keys = keys_of_document(await self._fetcher.fetch(url))
        except Unavailable as error:
            log.warning("cannot fetch keys; verifying with the last ones", url=url, error=str(error))
            issuer.wanting = True
            return
        if not keys:
            log.warning("no public key in the document; verifying with the last ones", url=url)
            issuer.wanting = True
            return
        if keys != issuer.keys:
            log.info("keys fetched", url=url, keys=len(keys))
            issuer.keys = keys

    async def run(self) -> None:
        """Keeps the keys fresh, for ever."""
        while True:
            await self.refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._asked.wait()
            self._asked.clear()

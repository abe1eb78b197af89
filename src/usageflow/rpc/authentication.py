"""From a bearer credential to a Principal, without a look-up on most calls."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

from usageflow.domain.clock import Clock
from usageflow.domain.errors import PermissionDenied, Unauthenticated, Unavailable, UsageFlowError
from usageflow.domain.keys import hash_of, is_well_formed
from usageflow.rpc.principal import Principal
from usageflow.storage.ports import Credential, CredentialKind, CredentialSource

REMEMBER_US = 1_000_000
"""Older look-ups are renewed before the call, those older than half of it behind the call."""

_CACHED = 10_000

_HOW = {
    CredentialKind.API_KEY: "send `authorization: Bearer uf_...` with an API key (USAGEFLOW_API_KEY)",
    CredentialKind.ADMIN_TOKEN: "send `authorization: Bearer uf_admin_...` (USAGEFLOW_ADMIN_TOKEN)",
}


@dataclass(slots=True)
class _Known:
    credential: Credential | None
    at_us: int
    renewing: bool = False


@lru_cache(maxsize=_CACHED)
def principal_of(credential: Credential) -> Principal:
    """Returns whom a credential stands for."""
    return Principal(credential.kind, credential.application_id, credential.prefix, credential.credential_id)


@lru_cache(maxsize=_CACHED)
def _secret_hash(authorization: str, kind: CredentialKind) -> bytes:
    """Returns the hash of a bearer credential. Raises Unauthenticated, which is not remembered."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated(f"no credential: {_HOW[kind]}", reason="CREDENTIAL_MISSING")
    if not is_well_formed(secret.strip()):
        raise Unauthenticated(
            f"this is not a UsageFlow credential: {_HOW[kind]}", reason="CREDENTIAL_MALFORMED"
        )
    return hash_of(secret.strip())


class Authenticator:
    """Looks credentials up and remembers them for a while."""

    def __init__(
        self, credentials: CredentialSource, clock: Clock, *, remember_us: int = REMEMBER_US
    ) -> None:
        """``remember_us``: for how long a look-up counts; a revoked key is dead after this."""
        self._credentials = credentials
        self._clock = clock
        self._remember_us = remember_us
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._renewals: set[asyncio.Task[None]] = set()

    async def authenticate(self, authorization: str | None, kind: CredentialKind) -> Principal:
        """Returns the caller. Raises Unauthenticated for a missing, malformed or unknown credential, PermissionDenied
        for one of the other kind.
        """
        credential = await self._find(_secret_hash(authorization or "", kind))
        if credential is None:
            raise Unauthenticated(
                f"this credential is unknown here: {_HOW[kind]}", reason="CREDENTIAL_UNKNOWN"
            )
        if credential.kind is not kind:
            raise PermissionDenied(
                f"this method needs the other kind of credential: {_HOW[kind]}", reason="CREDENTIAL_KIND"
            )
        return principal_of(credential)

    async def _find(self, secret_hash: bytes) -> Credential | None:
        known = self._known.get(secret_hash)
        age_us = self._clock.now_us() - known.at_us if known is not None else 0
        if known is None:
            return await self._look_up(secret_hash)
        if not 0 <= age_us < self._remember_us:
            return await self._look_up_again(secret_hash, known)
        if age_us >= self._remember_us // 2 and not known.renewing:
            known.renewing = True
            task = asyncio.create_task(self._renew(secret_hash))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)
        return known.credential

    async def _look_up(self, secret_hash: bytes) -> Credential | None:
        credential = await self._credentials.find_credential(secret_hash)
        self._known[secret_hash] = _Known(credential, self._clock.now_us())
        self._known.move_to_end(secret_hash)
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return credential

    async def _look_up_again(self, secret_hash: bytes, known: _Known) -> Credential | None:
        try:
            return await self._look_up(secret_hash)
        except Unavailable:
            # While the database is silent nobody can revoke a key either: decisions go on by what was known last.
            return known.credential

    async def _renew(self, secret_hash: bytes) -> None:
        try:
            await self._look_up(secret_hash)
        except UsageFlowError:
            return  # the next call looks it up itself once a second has passed

"""From a bearer credential to a Principal, without a look-up on most calls."""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from usageflow.domain.attempts import FailureBuckets, address_of
from usageflow.domain.clock import Clock
from usageflow.domain.credentials import Credential, CredentialState
from usageflow.domain.errors import Overloaded, Unauthenticated, Unavailable, UsageFlowError
from usageflow.domain.keys import hash_of, is_well_formed
from usageflow.rpc.last_used import ForgottenUses, Uses
from usageflow.rpc.principal import Principal
from usageflow.storage.ports import CredentialSource

REMEMBER_US = 1_000_000
"""Older look-ups are renewed before the call, those older than half of it behind the call."""

_CACHED = 10_000

_ENDED = {
    CredentialState.REVOKED: "this credential was revoked: use another, or ask an owner for a new one",
    CredentialState.EXPIRED: "this credential has expired: use its successor, or ask an owner for a new one",
}


_NEVER_US = 2**63


@dataclass(slots=True)
class _Known:
    """A look-up: what was found at ``at_us``. It opens something until ``good_until_us``, 0 where it opens nothing."""

    at_us: int
    credential: Credential | None = None
    principal: Principal | None = None
    good_until_us: int = 0
    renewing: bool = False

    @classmethod
    def of(cls, credential: Credential, at_us: int) -> _Known:
        until_us = _NEVER_US if credential.expires_us is None else credential.expires_us
        good_until_us = until_us if credential.revoked_us is None else 0
        return cls(at_us, credential, principal_of(credential), good_until_us)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What comes of calls: uses of good credentials, failures by address, and by reason for metrics."""

    uses: Uses = field(default_factory=ForgottenUses)
    buckets: FailureBuckets = field(default_factory=FailureBuckets)
    failures: dict[str, int] = field(default_factory=dict)


def principal_of(credential: Credential) -> Principal:
    """Returns whom a credential stands for."""
    return Principal(
        credential.kind,
        credential.application_id,
        credential.prefix,
        credential.credential_id,
        credential.application,
        credential.scopes,
        credential.role,
    )


@lru_cache(maxsize=_CACHED)
def _secret_hash(authorization: str, how: str) -> bytes:
    """Returns the hash of a bearer credential. Raises Unauthenticated, which is not remembered."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated(f"no credential: {how}", reason="CREDENTIAL_MISSING")
    if not is_well_formed(secret.strip()):
        raise Unauthenticated(f"this is not a UsageFlow credential: {how}", reason="CREDENTIAL_MALFORMED")
    return hash_of(secret.strip())


class Authenticator:
    """Looks credentials up and remembers them for a while. An address that fails too often is refused before any look-up, unless
    its credential is known to be good: whoever shares the address of a guesser goes on.
    """

    def __init__(
        self,
        credentials: CredentialSource,
        clock: Clock,
        attempts: Attempts | None = None,
        *,
        remember_us: int = REMEMBER_US,
    ) -> None:
        """``remember_us``: for how long a look-up counts; a revoked key is dead after this."""
        self._credentials = credentials
        self._clock = clock
        self._attempts = Attempts() if attempts is None else attempts
        self._uses = self._attempts.uses
        self._remember_us = remember_us
        self._renew_us = remember_us // 2
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._renewals: set[asyncio.Task[None]] = set()

    async def authenticate(
        self, authorization: str | None, how: str, peer: Callable[[], str] = str
    ) -> Principal:
        """Returns the caller. ``how`` tells whoever has no credential what to send; ``peer`` is where the call comes from, as
        gRPC spells it.

        Raises Unauthenticated for a missing, malformed, unknown, expired or revoked credential, Overloaded after too many
        of these from one address.
        """
        try:
            secret_hash = _secret_hash(authorization or "", how)
            now_us = self._clock.now_us()
            known = self._known.get(secret_hash)
            if known is None or known.good_until_us <= now_us:
                self._ensure_room(peer)
            elif 0 <= now_us - known.at_us < self._renew_us and known.principal is not None:
                self._uses.note(known.principal.credential_id, now_us)  # the way of almost every call
                return known.principal
            return self._admitted(await self._find(secret_hash, known, now_us), how, now_us)
        except Unauthenticated as error:
            raise self._failed(error, peer) from None

    def _admitted(self, known: _Known, how: str, now_us: int) -> Principal:
        """Returns whom it stands for now: an expiry counts at the moment of use, however long ago it was looked up."""
        if known.credential is None or known.principal is None:
            raise Unauthenticated(f"this credential is unknown here: {how}", reason="CREDENTIAL_UNKNOWN")
        state = known.credential.state_at(now_us)
        if state is not CredentialState.ACTIVE:
            raise Unauthenticated(_ENDED[state], reason=f"CREDENTIAL_{state}")
        self._uses.note(known.credential.credential_id, now_us)
        return known.principal

    def _ensure_room(self, peer: Callable[[], str]) -> None:
        """Raises Overloaded for an address that has failed too often."""
        wait_us = self._attempts.buckets.wait_us(address_of(peer()), self._clock.now_us())
        if wait_us:
            self._count("THROTTLED")
            message = "too many calls with credentials that open nothing came from this address: correct the credential and wait"
            raise Overloaded(message, retry_after_s=wait_us / 1_000_000, reason="TOO_MANY_FAILURES")

    def _failed(self, error: Unauthenticated, peer: Callable[[], str]) -> UsageFlowError:
        """Counts a failure; returns what to tell. Who sends no credential guesses nothing."""
        if error.reason == "CREDENTIAL_MALFORMED":
            try:
                self._ensure_room(peer)
            except Overloaded as throttled:
                return throttled
        self._count(error.reason)
        if error.reason != "CREDENTIAL_MISSING":
            self._attempts.buckets.failed(address_of(peer()), self._clock.now_us())
        return error

    def _count(self, reason: str) -> None:
        self._attempts.failures[reason] = self._attempts.failures.get(reason, 0) + 1

    async def _find(self, secret_hash: bytes, known: _Known | None, now_us: int) -> _Known:
        if known is None:
            return await self._look_up(secret_hash)
        age_us = now_us - known.at_us
        if not 0 <= age_us < self._remember_us:
            return await self._look_up_again(secret_hash, known)
        if age_us >= self._renew_us and not known.renewing:
            known.renewing = True
            task = asyncio.create_task(self._renew(secret_hash))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)
        return known

    async def _look_up(self, secret_hash: bytes) -> _Known:
        # What is found is as old as the question, not as the answer: a slow database makes no revoked key live longer.
        at_us = self._clock.now_us()
        credential = await self._credentials.find_credential(secret_hash)
        # Whatever a store compares with, this comparison takes as long for a near miss as for any other.
        if credential is None or not hmac.compare_digest(credential.secret_hash, secret_hash):
            known = _Known(at_us)
        else:
            known = _Known.of(credential, at_us)
        self._known[secret_hash] = known
        self._known.move_to_end(secret_hash)
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return known

    async def _look_up_again(self, secret_hash: bytes, known: _Known) -> _Known:
        try:
            return await self._look_up(secret_hash)
        except Unavailable:
            # While the database is silent nobody can revoke a key either: decisions go on by what was known last.
            return known

    async def _renew(self, secret_hash: bytes) -> None:
        try:
            await self._look_up(secret_hash)
        except UsageFlowError:
            return  # the next call looks it up itself once a second has passed

"""The use-cases behind the methods of API keys and admin tokens. A secret leaves this module once, with the answer that made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from admin.aip.fields import FieldType
from admin.aip.paging import next_page
from admin.credential_rules import ensure_good, ensure_overlap
from admin.resources.shared import Listing
from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.clock import Clock
from usageflow.domain.credentials import (
    Credential,
    CredentialKind,
    Environment,
    Role,
    Scope,
    rotated_name,
    scopes_text,
    secret_prefix,
)
from usageflow.domain.errors import Aborted, FailedPrecondition, NotFound
from usageflow.domain.ids import uuid7
from usageflow.domain.keys import display_prefix, hash_of, make_key
from usageflow.domain.listing import Value
from usageflow.storage.credentials import CredentialChange, CredentialSet, CredentialStore
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore

DAY_US = 86_400_000_000
_ATTEMPTS = 10

_FIELDS = {
    "name": FieldType.TEXT,
    "uid": FieldType.TEXT,
    "prefix": FieldType.TEXT,
    "creator": FieldType.TEXT,
    "create_time": FieldType.INSTANT,
    "expire_time": FieldType.INSTANT,
    "revoke_time": FieldType.INSTANT,
    "last_use_time": FieldType.INSTANT,
}
_KEY_FIELDS = {"scopes": FieldType.TEXT}
_TOKEN_FIELDS = {"role": FieldType.TEXT, "application": FieldType.TEXT}
_PLACES: Mapping[str, Callable[[Credential], Value]] = {
    "name": lambda each: each.name,
    "uid": lambda each: each.credential_id,
    "prefix": lambda each: each.prefix,
    "scopes": lambda each: scopes_text(each.scopes),
    "role": lambda each: each.role.value if each.role is not None else "",
    "application": lambda each: each.application or None,
    "creator": lambda each: each.created_by,
    "create_time": lambda each: each.created_us,
    "expire_time": lambda each: each.expires_us,
    "revoke_time": lambda each: each.revoked_us,
    "last_use_time": lambda each: each.last_used_us,
}
"""Where a credential stands in each order, as the store has it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A credential as it is asked for. ``scopes`` and ``environment`` are for keys, ``role`` and ``application`` (empty: unbound) for
    tokens.
    """

    name: str
    scopes: frozenset[Scope] = frozenset()
    environment: Environment = Environment.TEST
    role: Role | None = None
    application: str = ""
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What every change comes with; an empty ``etag`` means whatever version there is."""

    cause: Cause
    etag: str = ""
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a credential is followed by another."""

    new_name: str = ""
    overlap_us: int = DAY_US
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential; ``secret`` is empty where nothing was made. ``withheld``: an earlier answer to the same request told it."""

    credential: Credential
    secret: str = ""
    withheld: bool = False

    def __repr__(self) -> str:
        return f"Issued({self.credential.name!r}, ...)"


class Credentials:
    """Makes, shows, changes and ends credentials."""

    def __init__(
        self,
        store: CredentialStore,
        control: ControlStore,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._control = control
        self._clock = clock
        self._random_bytes = random_bytes

    def now_us(self) -> int:
        """Returns the instant that states are told for."""
        return self._clock.now_us()

    async def keys_of(self, application: str) -> CredentialSet:
        """Returns where an application's keys are. Raises NotFound."""
        return CredentialSet(CredentialKind.API_KEY, await self._application_id(application))

    async def create(self, where: CredentialSet, spec: Spec, call: Call) -> Issued:
        """Makes a credential. Raises InvalidArgument, AlreadyExists, NotFound."""
        earlier = await self._store.credential_of_request(call.cause)
        if earlier is not None:
            return Issued(earlier, withheld=True)
        ensure_good(where.kind, spec, self._clock.now_us())
        bound_to = await self._application_id(spec.application) if spec.application else where.application_id
        made, secret = self._made(where.kind, bound_to, spec, call.cause)
        return await self._issue(CredentialChange(new=made), secret, call)

    async def get(self, where: CredentialSet, name: str) -> Credential:
        """Returns a credential. Raises NotFound."""
        found = await self._store.get_credential(where, name)
        if found is None:
            message = f"there is no {_thing(where.kind)} {name[:64]!r}: list them for their names"
            raise NotFound(message, reason="CREDENTIAL_NOT_FOUND")
        return found

    async def list(self, where: CredentialSet, listing: Listing) -> tuple[Sequence[Credential], str]:
        """Returns a page, and the token of the next one. Raises InvalidArgument."""
        own = _KEY_FIELDS if where.kind is CredentialKind.API_KEY else _TOKEN_FIELDS
        query, mark = listing.query(_FIELDS | own, f"{where.kind} {where.application_id}")
        found = await self._store.list_credentials(where, query)
        return next_page(
            found, query, mark, lambda each: [_PLACES[order.field](each) for order in query.order]
        )

    async def update(
        self, where: CredentialSet, name: str, fields: Mapping[str, Any], call: Call
    ) -> Credential:
        """Sets ``scopes``, ``role`` or ``expires_us``. Raises NotFound, Aborted, InvalidArgument and FailedPrecondition (reasons
        CREDENTIAL_REVOKED, LAST_OWNER).
        """

        def changed(present: Credential) -> CredentialChange:
            _ensure_not_revoked(present)
            checked = Spec(present.name, scopes=present.scopes, role=present.role)
            ensure_good(where.kind, replace(checked, **fields), self._clock.now_us())
            return CredentialChange(changed=replace(present, **fields))

        return (await self._change(where, name, changed, call)).credential

    async def revoke(self, where: CredentialSet, name: str, call: Call) -> Credential:
        """Ends a credential, or leaves it as it is where it is revoked. Raises NotFound, Aborted, FailedPrecondition."""

        def revoked(present: Credential) -> CredentialChange:
            ended_us = present.revoked_us or self._clock.now_us()
            return CredentialChange(changed=replace(present, revoked_us=ended_us))

        return (await self._change(where, name, revoked, call)).credential

    async def rotate(self, where: CredentialSet, name: str, rotation: Rotation, call: Call) -> Issued:
        """Makes a successor and lets the old one end. Raises as ``create`` and ``update``."""
        earlier = await self._store.credential_of_request(call.cause)
        if earlier is not None:
            return Issued(earlier, withheld=True)
        ensure_overlap(rotation.overlap_us)
        new_name = rotation.new_name or rotated_name(name, await self._store.names_of_credentials(where))
        secret = ""

        def rotated(present: Credential) -> CredentialChange:
            nonlocal secret
            spec = Spec(
                new_name, present.scopes, present.environment, present.role, expires_us=rotation.expires_us
            )
            ending = self._ending(present, spec, rotation.overlap_us)
            made, secret = self._made(where.kind, present.application_id, spec, call.cause)
            return CredentialChange(new=made, changed=ending)

        issued = await self._change(where, name, rotated, call)
        return issued if issued.withheld or call.validate_only else replace(issued, secret=secret)

    def _ending(self, present: Credential, successor: Spec, overlap_us: int) -> Credential:
        """Returns what becomes of a credential that is followed by another. Raises FailedPrecondition, InvalidArgument."""
        _ensure_not_revoked(present)
        now_us = self._clock.now_us()
        ensure_good(present.kind, successor, now_us)
        end_us = now_us + overlap_us
        return replace(present, expires_us=min(present.expires_us or end_us, end_us))

    async def _change(
        self, where: CredentialSet, name: str, make: Callable[[Credential], CredentialChange], call: Call
    ) -> Issued:
        """Carries out what ``make`` makes of the present version: again where another change came between, and no version was
        asked for.
        """
        earlier = await self._store.credential_of_request(call.cause)
        if earlier is not None:
            return Issued(earlier, withheld=True)
        for _ in range(_ATTEMPTS):
            present = await self.get(where, name)
            if call.etag not in ("", present.etag):
                message = f"{name!r} was changed meanwhile: load it again and repeat the change"
                raise Aborted(message, etag=present.etag)
            change = make(present)
            if change.new is None and change.changed == present:
                return Issued(present)
            try:
                return await self._issue(change, "", call)
            except Aborted:
                if call.etag:
                    raise
        raise Aborted(f"others keep changing {name!r}: try again", reason="CHANGED_MEANWHILE")

    async def _issue(self, change: CredentialChange, secret: str, call: Call) -> Issued:
        cause = replace(call.cause, changes=tuple(_changes(change)))
        stored, fresh = await self._store.write_credentials(
            change, cause=cause, validate_only=call.validate_only
        )
        return Issued(stored, secret if fresh else "", withheld=not (fresh or call.validate_only))

    def _made(
        self, kind: CredentialKind, application_id: str, spec: Spec, cause: Cause
    ) -> tuple[Credential, str]:
        """Returns a new credential and its secret."""
        secret = make_key(secret_prefix(kind, spec.environment), self._random_bytes(32))
        credential = Credential(
            uuid7(self._clock.now_us(), self._random_bytes(10)),
            kind,
            application_id,
            display_prefix(secret),
            hash_of(secret),
            name=spec.name,
            scopes=spec.scopes,
            role=spec.role,
            created_by=cause.actor.credential_id,
            expires_us=spec.expires_us,
        )
        return credential, secret

    async def _application_id(self, name: str) -> str:
        found = await application_named(self._control, name)
        return found.application_id


def _changes(change: CredentialChange) -> Iterator[Change]:
    if change.new is not None:
        yield _told(Action.CREATED, change.new)
    if change.changed is not None:
        ended = change.changed.revoked_us is not None
        yield _told(Action.DELETED if ended else Action.UPDATED, change.changed)


def _told(action: Action, credential: Credential) -> Change:
    return Change(action, credential.kind.value.lower(), credential.name, credential.credential_id)


def _ensure_not_revoked(credential: Credential) -> None:
    if credential.revoked_us is not None:
        message = f"{credential.name!r} is revoked for ever: create a new one under another name"
        raise FailedPrecondition(message, reason="CREDENTIAL_REVOKED")


def _thing(kind: CredentialKind) -> str:
    return "API key" if kind is CredentialKind.API_KEY else "admin token"

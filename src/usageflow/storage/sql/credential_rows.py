"""Credentials as rows; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, or_, select, update

from usageflow.domain.credentials import Credential, CredentialKind, Role, Scope, scopes_text
from usageflow.domain.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from usageflow.domain.listing import Query
from usageflow.storage.credentials import CredentialSet
from usageflow.storage.sql.listing import paged
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import APPLICATIONS, CREDENTIALS

_C = CREDENTIALS.c
_COLUMNS = (
    _C.credential_id,
    _C.kind,
    _C.application_id,
    _C.prefix,
    _C.secret_hash,
    _C.name,
    _C.scopes,
    _C.role,
    _C.created_us,
    _C.created_by,
    _C.expires_us,
    _C.revoked_us,
    _C.last_used_us,
    _C.version,
    APPLICATIONS.c.name,
)

_FIELDS = {
    "name": _C.name,
    "uid": _C.credential_id,
    "prefix": _C.prefix,
    "scopes": _C.scopes,
    "role": _C.role,
    "application": APPLICATIONS.c.name,
    "creator": _C.created_by,
    "create_time": _C.created_us,
    "expire_time": _C.expires_us,
    "revoke_time": _C.revoked_us,
    "last_use_time": _C.last_used_us,
}


def find(connection: Connection, condition: ColumnElement[bool]) -> Credential | None:
    """Returns the one credential for which the condition holds."""
    row = connection.execute(_select().where(condition)).one_or_none()
    return None if row is None else _credential(row)


def find_all(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[Credential]:
    """Returns the credentials for which the conditions hold, in order of names."""
    found = _select().where(*conditions).order_by(_C.name)
    return [_credential(row) for row in connection.execute(found.limit(limit))]


def listed(connection: Connection, where: CredentialSet, query: Query) -> list[Credential]:
    """Returns a page of the credentials of a set."""
    found = _select().where(inside(where))
    if not query.show_deleted:
        found = found.where(_C.revoked_us.is_(None))
    return [_credential(row) for row in connection.execute(paged(found, query, _FIELDS))]


def inside(where: CredentialSet) -> ColumnElement[bool]:
    """Returns the condition of a set."""
    of_kind = _C.kind == where.kind.value
    if where.kind is CredentialKind.ADMIN_TOKEN:
        return of_kind
    return of_kind & (_C.application_id == where.application_id)


def by_secret(secret_hash: bytes) -> ColumnElement[bool]:
    """Returns the condition of authentication: the secret's hash, and an application that was not deleted."""
    return (_C.secret_hash == secret_hash) & APPLICATIONS.c.deleted_us.is_(None)


def insert(connection: Connection, credential: Credential) -> None:
    """Stores a new credential. Raises AlreadyExists where its name, in its set, or its secret is there already."""
    statement = upsert(connection, CREDENTIALS).on_conflict_do_nothing().values(_values(credential))
    if connection.execute(statement.returning(_C.credential_id)).one_or_none() is None:
        message = (
            f"the name {credential.name!r} is taken: choose another one, revoked credentials keep theirs"
        )
        raise AlreadyExists(message, reason="ALREADY_EXISTS")


def replace(connection: Connection, credential: Credential) -> None:
    """Stores the next version. Raises NotFound, and Aborted where the stored version is not the one that it was made from."""
    changed = (
        update(CREDENTIALS)
        .where(_C.credential_id == credential.credential_id, _C.version == credential.version)
        .values(
            scopes=scopes_text(credential.scopes),
            role=credential.role or "",
            expires_us=credential.expires_us,
            revoked_us=credential.revoked_us,
            version=credential.version + 1,
        )
        .returning(_C.credential_id)
    )
    if connection.execute(changed).one_or_none() is not None:
        return
    present = find(connection, _C.credential_id == credential.credential_id)
    if present is None:
        raise NotFound(f"there is no credential {credential.name[:64]!r}: list them for their names")
    raise Aborted(
        f"{present.name!r} was changed meanwhile: load it again and repeat the change", etag=present.etag
    )


def lock_owners(connection: Connection) -> None:
    """Holds every token that could be the last owner, so that two of them are never ended side by side."""
    owners = select(_C.credential_id).where(_C.role == Role.OWNER.value, _C.revoked_us.is_(None))
    connection.execute(owners.order_by(_C.credential_id).with_for_update()).all()


def ensure_owner_left(connection: Connection) -> None:
    """Raises FailedPrecondition (LAST_OWNER) where no unbound owner is left that neither is revoked nor ever expires."""
    left = select(_C.credential_id).where(
        _C.kind == CredentialKind.ADMIN_TOKEN.value,
        _C.role == Role.OWNER.value,
        _C.application_id.is_(None),
        _C.expires_us.is_(None),
        _C.revoked_us.is_(None),
    )
    if connection.execute(left.limit(1)).one_or_none() is None:
        message = "this is the last owner token that is bound to no application and never expires: create another one first"
        raise FailedPrecondition(message, reason="LAST_OWNER")


def record_uses(connection: Connection, uses: Mapping[str, int]) -> None:
    """Stores when credentials were last used; never an earlier time."""
    for credential_id, used_us in sorted(
        uses.items()
    ):  # in one order, so that two processes never wait for each other
        earlier = or_(_C.last_used_us.is_(None), _C.last_used_us < used_us)
        connection.execute(
            update(CREDENTIALS).where(_C.credential_id == credential_id, earlier).values(last_used_us=used_us)
        )


def _select() -> Select[Any]:
    joined = CREDENTIALS.outerjoin(APPLICATIONS, APPLICATIONS.c.application_id == _C.application_id)
    return select(*_COLUMNS).select_from(joined)


def _values(credential: Credential) -> dict[str, Any]:
    return {
        "credential_id": credential.credential_id,
        "kind": credential.kind.value,
        "application_id": credential.application_id or None,
        "prefix": credential.prefix,
        "secret_hash": credential.secret_hash,
        "name": credential.name or credential.credential_id,
        "scopes": scopes_text(credential.scopes),
        "role": credential.role or "",
        "created_us": credential.created_us,
        "created_by": credential.created_by,
        "expires_us": credential.expires_us,
        "revoked_us": credential.revoked_us,
        "version": credential.version,
    }


def _credential(row: Sequence[Any]) -> Credential:
    (credential_id, kind, application_id, prefix, secret_hash, name, scopes, role, *rest, application) = row
    created_us, created_by, expires_us, revoked_us, last_used_us, version = rest
    return Credential(
        credential_id,
        CredentialKind(kind),
        application_id or "",
        prefix,
        secret_hash,
        name=name,
        scopes=frozenset(map(Scope, scopes.split())),
        role=Role(role) if role else None,
        created_us=created_us,
        created_by=created_by,
        expires_us=expires_us,
        revoked_us=revoked_us,
        last_used_us=last_used_us,
        version=version,
        application=application or "",
    )

"""The reading half of the control store; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from usageflow.domain.applications import Capture
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import NotFound
from usageflow.domain.policies import Block, PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.credentials import CredentialSet
from usageflow.storage.ports import Application, ApplicationState, NumberKind, Versions
from usageflow.storage.sql import credential_rows
from usageflow.storage.sql.tables import (
    APPLICATIONS,
    BLOCKS,
    CREDENTIALS,
    DIRECTORIES,
    ENDPOINTS,
    NUMBERS,
    REVISIONS,
)

APPLICATION_COLUMNS = (
    APPLICATIONS.c.application_id,
    APPLICATIONS.c.name,
    APPLICATIONS.c.revision,
    APPLICATIONS.c.plan_version,
    APPLICATIONS.c.decision_log_percent,
    APPLICATIONS.c.capture,
    APPLICATIONS.c.retention_days,
)


def application_of(row: Sequence[Any]) -> Application:
    """Returns the application of a row of APPLICATION_COLUMNS."""
    application_id, name, revision, plan_version, percent, capture, days = row
    return Application(application_id, name, revision, plan_version, percent, Capture(capture), days)


def unknown_application(application_id: str) -> NotFound:
    """Returns the error of an id that no application has."""
    return NotFound(f"there is no application with the id {application_id[:64]!r}")


def find_application(connection: Connection, condition: ColumnElement[bool]) -> Application | None:
    """Returns the one application for which the condition holds and that is not deleted."""
    present = APPLICATIONS.c.deleted_us.is_(None)
    row = connection.execute(select(*APPLICATION_COLUMNS).where(condition, present)).one_or_none()
    return None if row is None else application_of(row)


def load(connection: Connection, application_id: str) -> ApplicationState:
    """Returns the state of an application. Raises NotFound."""
    application = find_application(connection, APPLICATIONS.c.application_id == application_id)
    if application is None:
        raise unknown_application(application_id)
    return ApplicationState(
        application=application,
        policies=policies_at(connection, application_id, application.revision) or PolicySet(),
        blocks=_blocks(connection, application_id),
        numbers=_numbers(connection, application_id),
        endpoints=_endpoints(connection, application_id),
    )


def versions(connection: Connection) -> dict[str, Versions]:
    """Returns the versions of every application that is not deleted."""
    joined = APPLICATIONS.outerjoin(
        DIRECTORIES, DIRECTORIES.c.application_id == APPLICATIONS.c.application_id
    )
    rows = connection.execute(
        select(APPLICATIONS.c.application_id, APPLICATIONS.c.plan_version, DIRECTORIES.c.version)
        .select_from(joined)
        .where(APPLICATIONS.c.deleted_us.is_(None))
    )
    return {application_id: Versions(plan, directory or 0) for application_id, plan, directory in rows}


def policies_at(connection: Connection, application_id: str, revision: int) -> PolicySet | None:
    """Returns the policy set of a revision."""
    document = connection.scalar(
        select(REVISIONS.c.document).where(
            REVISIONS.c.application_id == application_id, REVISIONS.c.revision == revision
        )
    )
    return None if document is None else PolicySet.model_validate_json(document)


def find_credential(connection: Connection, secret_hash: bytes) -> Credential | None:
    """Returns the credential whose secret has this SHA-256, unless its application was deleted."""
    return credential_rows.find(connection, credential_rows.by_secret(secret_hash))


def api_keys(connection: Connection, application_id: str) -> list[Credential]:
    """Returns the API keys of an application that are not revoked."""
    keys = credential_rows.inside(CredentialSet(CredentialKind.API_KEY, application_id))
    found = credential_rows.find_all(connection, keys, CREDENTIALS.c.revoked_us.is_(None))
    return sorted(found, key=lambda key: key.credential_id)


def _blocks(connection: Connection, application_id: str) -> tuple[Block, ...]:
    documents = connection.scalars(
        select(BLOCKS.c.document)
        .where(BLOCKS.c.application_id == application_id, BLOCKS.c.deleted_us.is_(None))
        .order_by(BLOCKS.c.block_key)
    )
    return tuple(Block.model_validate_json(document) for document in documents)


def _numbers(connection: Connection, application_id: str) -> dict[tuple[NumberKind, str], int]:
    rows = connection.execute(
        select(NUMBERS.c.kind, NUMBERS.c.name, NUMBERS.c.number)
        .where(NUMBERS.c.application_id == application_id)
        .order_by(NUMBERS.c.kind, NUMBERS.c.name)
    )
    kinds = {kind.value: kind for kind in NumberKind}
    return {(kinds[kind], name): number for kind, name, number in rows}


def _endpoints(connection: Connection, application_id: str) -> tuple[EndpointName, ...]:
    rows = connection.execute(
        select(ENDPOINTS.c.method, ENDPOINTS.c.template)
        .where(ENDPOINTS.c.application_id == application_id, ENDPOINTS.c.deleted_us.is_(None))
        .order_by(ENDPOINTS.c.method, ENDPOINTS.c.template)
    )
    return tuple(EndpointName(method, template) for method, template in rows)

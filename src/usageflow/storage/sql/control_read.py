"""The reading half of the control store; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from usageflow.domain.errors import NotFound
from usageflow.domain.policies import Block, PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import Application, ApplicationState, Credential, CredentialKind, NumberKind
from usageflow.storage.sql.tables import APPLICATIONS, BLOCKS, CREDENTIALS, ENDPOINTS, NUMBERS, REVISIONS

APPLICATION_COLUMNS = (
    APPLICATIONS.c.application_id,
    APPLICATIONS.c.name,
    APPLICATIONS.c.revision,
    APPLICATIONS.c.plan_version,
    APPLICATIONS.c.decision_log_percent,
)


def application_of(row: Sequence[Any]) -> Application:
    """Returns the application of a row of APPLICATION_COLUMNS."""
    application_id, name, revision, plan_version, percent = row
    return Application(application_id, name, revision, plan_version, percent)


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


def policies_at(connection: Connection, application_id: str, revision: int) -> PolicySet | None:
    """Returns the policy set of a revision."""
    document = connection.scalar(
        select(REVISIONS.c.document).where(
            REVISIONS.c.application_id == application_id, REVISIONS.c.revision == revision
        )
    )
    return None if document is None else PolicySet.model_validate_json(document)


def find_credential(connection: Connection, secret_hash: bytes) -> Credential | None:
    """Returns the credential whose secret has this SHA-256."""
    table = CREDENTIALS
    columns = (table.c.credential_id, table.c.kind, table.c.application_id, table.c.prefix)
    gone = APPLICATIONS.c.deleted_us
    found = select(*columns, gone).select_from(
        table.outerjoin(APPLICATIONS, APPLICATIONS.c.application_id == table.c.application_id)
    )
    row = connection.execute(found.where(table.c.secret_hash == secret_hash)).one_or_none()
    if row is None or row[-1] is not None:
        return None
    credential_id, kind, application_id, prefix, _ = row
    return Credential(credential_id, CredentialKind(kind), application_id or "", prefix, secret_hash)


def api_keys(connection: Connection, application_id: str) -> list[Credential]:
    """Returns the API keys of an application."""
    table = CREDENTIALS
    rows = connection.execute(
        select(table.c.credential_id, table.c.prefix, table.c.secret_hash)
        .where(table.c.application_id == application_id, table.c.kind == CredentialKind.API_KEY.value)
        .order_by(table.c.credential_id)
    )
    return [
        Credential(credential_id, CredentialKind.API_KEY, application_id, prefix, secret_hash)
        for credential_id, prefix, secret_hash in rows
    ]


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

"""The writing half of the control store; each function runs inside the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from usageflow.domain.blocks import block_id, stored_key
from usageflow.domain.changes import Actor, Cause
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import AlreadyExists, FailedPrecondition
from usageflow.domain.policies import Block, PolicySet
from usageflow.storage.ports import Application, ChangeSet, NumberKind
from usageflow.storage.sql import credential_rows, declared, receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.control_read import (
    APPLICATION_COLUMNS,
    application_of,
    find_application,
    unknown_application,
)
from usageflow.storage.sql.directory_write import change_directory
from usageflow.storage.sql.numbers import assign_numbers
from usageflow.storage.sql.statements import chunked, upsert
from usageflow.storage.sql.tables import APPLICATIONS, BLOCKS, REVISIONS

FIRST_PLAN_VERSION = 1
"""0 is what a client that has no plan sends."""


@dataclass(frozen=True, slots=True)
class NewRevision:
    """Why an application changes, when, and which plan version its changer saw."""

    cause: Cause
    now_us: int
    expected_plan_version: int | None


def create_application(
    connection: Connection, name: str, credentials: Sequence[Credential], cause: Cause, now_us: int
) -> Application:
    """Creates an application with its credentials. Raises FailedPrecondition (ALREADY_EXISTS)."""
    application = Application(str(uuid.uuid4()), name, revision=0, plan_version=FIRST_PLAN_VERSION)
    row = {
        "application_id": application.application_id,
        "name": name,
        "revision": application.revision,
        "plan_version": application.plan_version,
        "created_us": now_us,
        "updated_us": now_us,
    }
    statement = upsert(connection, APPLICATIONS).on_conflict_do_nothing(index_elements=[APPLICATIONS.c.name])
    if connection.execute(statement.values(row).returning(APPLICATIONS.c.name)).one_or_none() is None:
        raise _exists(f"an application named {name!r} exists already: choose another name")
    _store_revision(connection, application, PolicySet(), Actor("", ""), now_us, "")
    for credential in credentials:
        _store_credential(connection, application, credential, now_us)
    receipts.store(connection, cause, application.application_id, revision=0, now_us=now_us)
    append_entries(connection, cause, application.application_id, revision=0, now_us=now_us)
    return application


def change(
    connection: Connection, application_id: str, change: ChangeSet, revision: NewRevision
) -> Application:
    """Carries out a change. Raises NotFound and FailedPrecondition (CHANGED_MEANWHILE)."""
    application = _advance(connection, application_id, change, revision.expected_plan_version)
    now_us, made = revision.now_us, 0
    if change.policies is not None:
        made = application.revision
        _revise(connection, application, change, revision)
    _delete_blocks(connection, application_id, change.blocks_deleted, now_us)
    _store_blocks(connection, application_id, change.blocks_upserted, now_us)
    change_directory(connection, application_id, change, now_us)
    for kind in NumberKind:
        assign_numbers(connection, application_id, kind, [name for of, name in change.names if of is kind])
    receipts.store(connection, revision.cause, application_id, revision=made, now_us=now_us)
    append_entries(connection, revision.cause, application_id, revision=made, now_us=now_us)
    return application


def lock_application(connection: Connection, application_id: str) -> None:
    """Takes the application's row, which keeps changes of one application apart on every dialect. Raises NotFound.

    Rows that refer to the application may still be written meanwhile: reports go on.
    """
    lock = select(APPLICATIONS.c.application_id).where(
        APPLICATIONS.c.application_id == application_id, APPLICATIONS.c.deleted_us.is_(None)
    )
    if connection.execute(lock.with_for_update(key_share=True)).one_or_none() is None:
        raise unknown_application(application_id)


def _advance(
    connection: Connection, application_id: str, change: ChangeSet, expected: int | None
) -> Application:
    """Moves the plan version on, if need be, where it is the expected one: the statement that decides every race."""
    if expected is None:  # a change of customers waits for no one who holds the application's row
        found = find_application(connection, APPLICATIONS.c.application_id == application_id)
        if found is None:
            raise unknown_application(application_id)
        return found
    statement = (
        update(APPLICATIONS)
        .where(
            APPLICATIONS.c.application_id == application_id,
            APPLICATIONS.c.plan_version == expected,
            APPLICATIONS.c.deleted_us.is_(None),
        )
        .values(
            plan_version=APPLICATIONS.c.plan_version + int(change.moves_plan),
            revision=APPLICATIONS.c.revision + (0 if change.policies is None else 1),
        )
        .returning(*APPLICATION_COLUMNS)
    )
    row = connection.execute(statement).one_or_none()
    if row is not None:
        return application_of(row)
    if find_application(connection, APPLICATIONS.c.application_id == application_id) is None:
        raise unknown_application(application_id)
    raise FailedPrecondition(
        "the application was changed meanwhile: load it again and repeat the change",
        reason="CHANGED_MEANWHILE",
    )


def _exists(message: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="ALREADY_EXISTS")


def _revise(
    connection: Connection, application: Application, change: ChangeSet, revision: NewRevision
) -> None:
    """Stores the next revision, and what it changes of each resource."""
    application_id, number = application.application_id, application.revision
    before = connection.scalar(
        select(REVISIONS.c.document).where(
            REVISIONS.c.application_id == application_id, REVISIONS.c.revision == number - 1
        )
    )
    actor, now_us = revision.cause.actor, revision.now_us
    policies = change.policies or PolicySet()
    document = _store_revision(connection, application, policies, actor, now_us, change.message)
    declared.record(connection, application_id, before or "{}", document, number, now_us)


def _store_revision(
    connection: Connection,
    application: Application,
    policies: PolicySet,
    author: Actor,
    now_us: int,
    message: str,
) -> str:
    document = policies.model_dump_json(by_alias=True)
    connection.execute(
        insert(REVISIONS).values(
            application_id=application.application_id,
            revision=application.revision,
            author=author.name,
            author_id=author.credential_id,
            created_us=now_us,
            document=document,
            message=message,
        )
    )
    return document


def _store_credential(
    connection: Connection, application: Application, credential: Credential, now_us: int
) -> None:
    of_application = credential.kind is CredentialKind.API_KEY
    owner = application.application_id if of_application else ""
    try:
        credential_rows.insert(connection, replace(credential, application_id=owner, created_us=now_us))
    except AlreadyExists:
        message = (
            f"the credential {credential.prefix!r}, or one of its name, is stored already: make a new one"
        )
        raise _exists(message) from None


def _delete_blocks(connection: Connection, application_id: str, blocks: Sequence[Block], now_us: int) -> None:
    for chunk in chunked([stored_key(block) for block in blocks]):
        connection.execute(
            update(BLOCKS)
            .where(
                BLOCKS.c.application_id == application_id,
                BLOCKS.c.block_key.in_(chunk),
                BLOCKS.c.deleted_us.is_(None),
            )
            .values(deleted_us=now_us, updated_us=now_us, version=BLOCKS.c.version + 1)
        )


def _store_blocks(connection: Connection, application_id: str, blocks: Sequence[Block], now_us: int) -> None:
    if not blocks:
        return
    statement = upsert(connection, BLOCKS)
    statement = statement.on_conflict_do_update(
        index_elements=[BLOCKS.c.application_id, BLOCKS.c.block_key],
        set_={
            "document": statement.excluded.document,
            "updated_us": statement.excluded.updated_us,
            "deleted_us": None,
            "version": BLOCKS.c.version + 1,
        },
    )
    rows: list[dict[str, Any]] = [
        {
            "application_id": application_id,
            "block_key": stored_key(block),
            "block_id": block_id(block),
            "document": block.model_dump_json(),
            "created_us": now_us,
            "updated_us": now_us,
        }
        for block in blocks
    ]
    connection.execute(statement, rows)

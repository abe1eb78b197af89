"""What people rely on in the control plane: times and versions of resources, revision tags, scopes and roles of credentials,
receipts of requests, the audit log, what decision processes enforce, and the decision log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_GENESIS = bytes(32)
_ALL_SCOPES = "AGENT REPORT READ"
_ADDED = {
    "applications": (
        "updated_us",
        "deleted_us",
        "version",
        "capture",
        "retention_days",
        "decision_log_percent",
    ),
    "credentials": (
        "name",
        "scopes",
        "role",
        "version",
        "created_by",
        "expires_us",
        "revoked_us",
        "last_used_us",
    ),
    "revisions": ("author_id", "message"),
    "blocks": ("block_id", "created_us", "updated_us", "deleted_us", "version"),
    "customers": ("created_us", "updated_us", "deleted_us", "identities"),
    "endpoints": ("deleted_us",),
}
_TABLES = (
    "decision_log",
    "replica_states",
    "replicas",
    "audit_head",
    "audit_log",
    "receipts",
    "revision_tags",
    "resources",
)
_CREDENTIAL_NAMES = (
    ("ux_credentials_key", "API_KEY", ["application_id", "name"]),
    ("ux_credentials_token", "ADMIN_TOKEN", ["name"]),
)
_UNCHANGEABLE = "the audit log is append-only"


def upgrade() -> None:
    """Adds columns and tables; what is there already gets the times of its revision."""
    _extend_applications()
    _extend_credentials()
    _extend_declarations()
    _create_declarations()
    _create_audit()
    _create_replicas()
    _create_decision_log()


def downgrade() -> None:
    """Drops all of it, with what was deleted but could still be brought back. Credentials that the older version would take
    for more than they are go too.
    """
    op.execute(
        sa.text(
            "DELETE FROM credentials WHERE revoked_us IS NOT NULL OR expires_us IS NOT NULL "
            "OR (kind = 'API_KEY' AND scopes <> :scopes) "
            "OR (kind = 'ADMIN_TOKEN' AND (role <> 'OWNER' OR application_id IS NOT NULL)) "
            "OR application_id IN (SELECT application_id FROM applications WHERE deleted_us IS NOT NULL)"
        ).bindparams(scopes=_ALL_SCOPES)
    )
    for table in ("blocks", "endpoints"):
        op.execute(sa.delete(_deletable(table)).where(sa.column("deleted_us").isnot(None)))
    _drop_guards()
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("ux_blocks_id", "blocks")
    for name, _, _ in _CREDENTIAL_NAMES:
        op.drop_index(name, "credentials")
    for table, columns in _ADDED.items():
        for column in columns:
            op.drop_column(table, column)


def _extend_applications() -> None:
    for column in (
        _time("updated_us"),
        sa.Column("deleted_us", sa.BigInteger, nullable=True),
        _count("version", "1"),
        sa.Column("capture", sa.Text, nullable=False, server_default="STANDARD"),
        sa.Column("retention_days", sa.Integer, nullable=False, server_default="36"),
        sa.Column("decision_log_percent", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("applications", column)
    op.execute(sa.text("UPDATE applications SET updated_us = created_us"))


def _extend_credentials() -> None:
    for column in (
        sa.Column("name", sa.Text, nullable=False, server_default=""),
        sa.Column("scopes", sa.Text, nullable=False, server_default=""),
        sa.Column("role", sa.Text, nullable=False, server_default=""),
        _count("version", "1"),
        sa.Column("created_by", sa.Text, nullable=False, server_default=""),
        sa.Column("expires_us", sa.BigInteger, nullable=True),
        sa.Column("revoked_us", sa.BigInteger, nullable=True),
        sa.Column("last_used_us", sa.BigInteger, nullable=True),
    ):
        op.add_column("credentials", column)
    # Until now a credential could do all that its kind can, and had no name.
    op.execute(sa.text("UPDATE credentials SET name = credential_id"))
    op.execute(
        sa.text("UPDATE credentials SET scopes = :scopes WHERE kind = 'API_KEY'").bindparams(
            scopes=_ALL_SCOPES
        )
    )
    op.execute(sa.text("UPDATE credentials SET role = 'OWNER' WHERE kind = 'ADMIN_TOKEN'"))
    for name, kind, columns in _CREDENTIAL_NAMES:
        condition = sa.text(f"kind = '{kind}'")
        op.create_index(
            name, "credentials", columns, unique=True, sqlite_where=condition, postgresql_where=condition
        )


def _extend_declarations() -> None:
    op.add_column("revisions", sa.Column("author_id", sa.Text, nullable=False, server_default=""))
    op.add_column("revisions", sa.Column("message", sa.Text, nullable=False, server_default=""))
    op.add_column("blocks", sa.Column("block_id", sa.Text, nullable=False, server_default=""))
    for table in ("blocks", "customers"):
        op.add_column(table, _time("created_us"))
        op.add_column(table, _time("updated_us"))
        op.add_column(table, sa.Column("deleted_us", sa.BigInteger, nullable=True))
        now_us = op.get_context().opts["now_us"]
        op.execute(sa.update(_deletable(table)).values(created_us=now_us, updated_us=now_us))
    op.add_column("blocks", _count("version", "1"))
    op.add_column("customers", sa.Column("identities", sa.Text, nullable=False, server_default="[]"))
    op.add_column("endpoints", sa.Column("deleted_us", sa.BigInteger, nullable=True))
    _name_blocks()
    op.create_index("ux_blocks_id", "blocks", ["application_id", "block_id"], unique=True)


def _name_blocks() -> None:
    blocks = sa.table("blocks", *(sa.column(name) for name in ("application_id", "block_key", "block_id")))
    connection = op.get_bind()
    for application_id, key in connection.execute(
        sa.select(blocks.c.application_id, blocks.c.block_key)
    ).all():
        named = sa.update(blocks).where(blocks.c.application_id == application_id, blocks.c.block_key == key)
        connection.execute(named.values(block_id=hashlib.sha256(key.encode()).hexdigest()[:20]))


def _create_declarations() -> None:
    resources = op.create_table(
        "resources",
        _application(),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("deleted_us", sa.BigInteger, nullable=True),
        sa.Column("document", sa.Text, nullable=True),
    )
    rows = list(_declared())
    if rows:
        op.bulk_insert(resources, rows)
    op.create_table(
        "revision_tags",
        _application(),
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("author_id", sa.Text, nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("actor_id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("payload_hash", sa.LargeBinary, nullable=False),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_receipts_created", "receipts", ["created_us"])


def _declared() -> Iterator[dict[str, Any]]:
    """Yields a row for each strategy, policy and plan of the revisions in force."""
    found = op.get_bind().execute(
        sa.text(
            "SELECT r.application_id, r.revision, r.created_us, r.document FROM revisions r "
            "JOIN applications a ON a.application_id = r.application_id AND a.revision = r.revision"
        )
    )
    for application_id, number, created_us, document in found.all():
        declared = json.loads(document)
        for kind, field in (("strategy", "strategies"), ("policy", "policies"), ("plan", "plans")):
            for item in declared.get(field, ()):
                yield {
                    "application_id": application_id,
                    "kind": kind,
                    "name": item["name"],
                    "created_us": created_us,
                    "updated_us": created_us,
                    "revision": number,
                    "deleted_us": None,
                    "document": None,
                }


def _create_audit() -> None:
    op.create_table(
        "audit_log",
        sa.Column("sequence", _row_id(), primary_key=True, autoincrement=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("length(digest) = 32", name="ck_audit_log_digest"),
    )
    op.create_index("ix_audit_log_application", "audit_log", ["application_id", "sequence"])
    head = op.create_table(
        "audit_head",
        sa.Column("head_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("head_id = 1", name="ck_audit_head_one"),
    )
    op.bulk_insert(head, [{"head_id": 1, "sequence": 0, "digest": _GENESIS}])
    _create_guards()


def _create_guards() -> None:
    """Makes the database itself refuse to change or to delete an entry: a mistake in our code cannot either."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{verb.lower()} BEFORE {verb} ON audit_log "
                f"BEGIN SELECT RAISE(ABORT, '{_UNCHANGEABLE}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_log_guard() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_UNCHANGEABLE}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_log_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_guard()"
    )


def _drop_guards() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER audit_log_no_{verb}")
        return
    op.execute("DROP TRIGGER audit_log_guard ON audit_log")
    op.execute("DROP FUNCTION audit_log_guard()")


def _create_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("replica_id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("started_us", sa.BigInteger, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("from_cache", sa.Boolean, nullable=False),
    )
    op.create_table(
        "replica_states",
        sa.Column("replica_id", sa.Text, primary_key=True),
        sa.Column("application_id", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("plan_version", sa.BigInteger, nullable=False),
        sa.Column("directory_version", sa.BigInteger, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
    )


def _create_decision_log() -> None:
    op.create_table(
        "decision_log",
        sa.Column("row_id", _row_id(), primary_key=True),
        sa.Column("application_id", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("ix_decision_log_time", "decision_log", ["application_id", "at_us"])


def _deletable(table: str) -> sa.TableClause:
    return sa.table(table, *(sa.column(name) for name in ("created_us", "updated_us", "deleted_us")))


def _row_id() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _time(name: str) -> sa.Column[int]:
    return _count(name, "0")


def _count(name: str, default: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text(default))


def _application() -> sa.Column[str]:
    return sa.Column(
        "application_id",
        sa.Text,
        sa.ForeignKey("applications.application_id"),
        primary_key=True,
        nullable=False,
    )

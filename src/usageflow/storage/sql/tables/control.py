"""The installation, applications, credentials, revisions and what plans number."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from usageflow.storage.sql.tables.base import METADATA, application, count, unique_where

INSTALLATION = Table(
    "installation",
    METADATA,
    Column("installation_id", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
)

APPLICATIONS = Table(
    "applications",
    METADATA,
    Column("application_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("plan_version", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    count("updated_us"),
    Column("deleted_us", BigInteger, nullable=True),
    count("version", "1"),
    Column("capture", Text, nullable=False, server_default="STANDARD"),
    Column("retention_days", Integer, nullable=False, server_default="36"),
    Column("decision_log_percent", Integer, nullable=False, server_default="0"),
    UniqueConstraint("name", name="uq_applications_name"),
)

CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("credential_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("application_id", Text, ForeignKey("applications.application_id"), nullable=True),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("scopes", Text, nullable=False, server_default=""),
    Column("role", Text, nullable=False, server_default=""),
    count("version", "1"),
    Column("created_by", Text, nullable=False, server_default=""),
    Column("expires_us", BigInteger, nullable=True),
    Column("revoked_us", BigInteger, nullable=True),
    Column("last_used_us", BigInteger, nullable=True),
    UniqueConstraint("secret_hash", name="uq_credentials_secret_hash"),
    CheckConstraint("length(secret_hash) = 32", name="ck_credentials_secret_hash"),
    unique_where("ux_credentials_key", "kind = 'API_KEY'", "application_id", "name"),
    unique_where("ux_credentials_token", "kind = 'ADMIN_TOKEN'", "name"),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    application(primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("author", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("author_id", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
)

REVISION_TAGS = Table(
    "revision_tags",
    METADATA,
    application(primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("author_id", Text, nullable=False),
)

# What revisions do not tell of a strategy, policy or plan without a search: when it was made, when and by which revision it was
# last changed. ``document`` is kept of what is deleted, so that it can be brought back.
RESOURCES = Table(
    "resources",
    METADATA,
    application(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("deleted_us", BigInteger, nullable=True),
    Column("document", Text, nullable=True),
)

NUMBERS = Table(
    "numbers",
    METADATA,
    application(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    UniqueConstraint("application_id", "kind", "number", name="uq_numbers_number"),
)

# The highest number ever given: it outlives the rows of NUMBERS, so that none is given twice.
NUMBER_MARKS = Table(
    "number_marks",
    METADATA,
    application(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)

# ``sighted``: only reports told of it, nobody registered it.
ENDPOINTS = Table(
    "endpoints",
    METADATA,
    application(primary_key=True),
    Column("method", Text, primary_key=True),
    Column("template", Text, primary_key=True),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
    Column("deleted_us", BigInteger, nullable=True),
    Column("sighted", Boolean, nullable=False, server_default=text("false")),
)

# ``number`` rises within the application in the order in which releases were first seen; ``routes`` is the SHA-256 of what was
# registered last.
RELEASES = Table(
    "releases",
    METADATA,
    application(primary_key=True),
    Column("service", Text, primary_key=True),
    Column("release", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("routes", LargeBinary, nullable=False),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
    UniqueConstraint("application_id", "number", name="uq_releases_number"),
)

# Which services have or had an endpoint: with the newest release that did, and its number.
ENDPOINT_SERVICES = Table(
    "endpoint_services",
    METADATA,
    application(primary_key=True),
    Column("service", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("template", Text, primary_key=True),
    Column("release", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
)

WINDOW_CHECKPOINTS = Table(
    "window_checkpoints",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False, server_default=text("0")),
    Index("ix_window_checkpoints_end", "end_us"),
)

"""The tables as the newest migration leaves them; tests keep both equal.

Times end in ``_us`` (Unix time in microseconds) or are called ``second`` (Unix time in seconds). Units are two columns:
``whole`` and ``pico`` (10^-12, from 0 to 10^12 - 1). The checks bound what could spoil sums for everybody.
"""

from __future__ import annotations

from usageflow.storage.sql.tables.alerts import (
    ALERT_DELIVERIES,
    ALERT_DESTINATIONS,
    ALERT_EVENTS,
    ALERT_LEASE,
    ALERT_RULES,
    ALERT_STATES,
)
from usageflow.storage.sql.tables.base import METADATA, ROW_ID
from usageflow.storage.sql.tables.billing import (
    BILLING_HOLDS,
    BILLING_LEDGERS,
    BILLING_PARTS,
    BILLING_PAUSES,
    BILLING_SPANS,
    BILLING_STOPS,
)
from usageflow.storage.sql.tables.control import (
    APPLICATIONS,
    CREDENTIALS,
    ENDPOINT_SERVICES,
    ENDPOINTS,
    INSTALLATION,
    NUMBER_MARKS,
    NUMBERS,
    RELEASES,
    RESOURCES,
    REVISION_TAGS,
    REVISIONS,
    WINDOW_CHECKPOINTS,
)
from usageflow.storage.sql.tables.directory import BLOCKS, CUSTOMER_IDENTITIES, CUSTOMERS, DIRECTORIES
from usageflow.storage.sql.tables.upkeep import (
    AUDIT_HEAD,
    AUDIT_LOG,
    DECISION_LOG,
    RECEIPTS,
    REPLICA_STATES,
    REPLICAS,
)
from usageflow.storage.sql.tables.usage import (
    ENDPOINT_NAMES,
    EVENTS,
    IDENTITIES,
    IDENTITY_DAYS,
    IDENTITY_HOURS,
    METERING_DELTAS,
    METERING_FAILURES,
    REPORT_IDS,
    USAGE_DAYS,
    USAGE_DELTAS,
    USAGE_HOURS,
    USAGE_MINUTES,
    USAGE_SERIES,
)

__all__ = [
    "ALERT_DELIVERIES",
    "ALERT_DESTINATIONS",
    "ALERT_EVENTS",
    "ALERT_LEASE",
    "ALERT_RULES",
    "ALERT_STATES",
    "APPLICATIONS",
    "AUDIT_HEAD",
    "AUDIT_LOG",
    "BILLING_HOLDS",
    "BILLING_LEDGERS",
    "BILLING_PARTS",
    "BILLING_PAUSES",
    "BILLING_SPANS",
    "BILLING_STOPS",
    "BLOCKS",
    "CREDENTIALS",
    "CUSTOMERS",
    "CUSTOMER_IDENTITIES",
    "DECISION_LOG",
    "DIRECTORIES",
    "ENDPOINTS",
    "ENDPOINT_NAMES",
    "ENDPOINT_SERVICES",
    "EVENTS",
    "IDENTITIES",
    "IDENTITY_DAYS",
    "IDENTITY_HOURS",
    "INSTALLATION",
    "METADATA",
    "METERING_DELTAS",
    "METERING_FAILURES",
    "NUMBERS",
    "NUMBER_MARKS",
    "RECEIPTS",
    "RELEASES",
    "REPLICAS",
    "REPLICA_STATES",
    "REPORT_IDS",
    "RESOURCES",
    "REVISIONS",
    "REVISION_TAGS",
    "ROW_ID",
    "USAGE_DAYS",
    "USAGE_DELTAS",
    "USAGE_HOURS",
    "USAGE_MINUTES",
    "USAGE_SERIES",
    "WINDOW_CHECKPOINTS",
]

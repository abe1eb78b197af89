"""Which services a process offers over a database, and the gRPC servers that they are on."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from admin.applying import Applying
from admin.auditing import Auditing
from admin.credentials import Credentials
from admin.exporting import Exporting
from admin.handler import AdminHandler, AdminUseCases
from admin.querying import Querying
from admin.status import Statuses
from meter.handler import MeterHandler
from meter.pending import Pending
from usageflow import expressions
from usageflow.domain.clock import Clock
from usageflow.domain.hashing import keys_under
from usageflow.rpc.authentication import Attempts, Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
from usageflow.rpc.last_used import Uses
from usageflow.rpc.server import (
    ADMIN,
    DECISION,
    METER,
    RpcServer,
    ServerOptions,
    build_server,
    credentials_needed,
)
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import CredentialSource
from usageflow.storage.sql import (
    Database,
    SqlAuditLog,
    SqlCheckpointStore,
    SqlControlStore,
    SqlCredentialStore,
    SqlReplicaStore,
    SqlUsageStore,
)
from usageflow.v1 import admin_pb2_grpc, meter_pb2_grpc


class Role(StrEnum):
    """A service that a process may offer."""

    DECISION = "decision"
    ADMIN = "admin"
    METER = "meter"


ALL = frozenset(Role)

_NAMES = {Role.DECISION: DECISION, Role.ADMIN: ADMIN, Role.METER: METER}


@dataclass(frozen=True, slots=True)
class SqlStores:
    """Every store of one database."""

    database: Database
    control: SqlControlStore
    usage: SqlUsageStore
    checkpoints: SqlCheckpointStore
    replicas: SqlReplicaStore
    credentials: SqlCredentialStore
    audit: SqlAuditLog

    @classmethod
    def over(cls, database: Database, clock: Clock) -> Self:
        """Returns the stores of a database."""
        return cls(
            database,
            SqlControlStore(database, clock),
            SqlUsageStore(database, clock),
            SqlCheckpointStore(database, clock),
            SqlReplicaStore(database),
            SqlCredentialStore(database, clock),
            SqlAuditLog(database),
        )


@dataclass(frozen=True, slots=True)
class Office:
    """Administration and metering, ready to be served."""

    applying: Applying
    admin: AdminHandler
    meter: MeterHandler

    def serve_on(self, rpc: RpcServer, roles: Iterable[Role]) -> None:
        """Adds those of these services to a server."""
        if Role.ADMIN in roles:
            admin_pb2_grpc.add_AdminServiceServicer_to_server(self.admin, rpc.handlers)
        if Role.METER in roles:
            meter_pb2_grpc.add_MeterServiceServicer_to_server(self.meter, rpc.handlers)


def build_office(stores: SqlStores, notices: ChangeNotices, hash_key: bytes, clock: Clock) -> Office:
    """Wires administration and metering."""
    control, usage = stores.control, stores.usage
    applying = Applying(control, notices, hash_key, expressions.check)
    use_cases = AdminUseCases(
        applying=applying,
        querying=Querying(control, usage, clock),
        exporting=Exporting(control, keys_under(hash_key)),
        credentials=Credentials(stores.credentials, control, clock, secrets.token_bytes),
        auditing=Auditing(stores.audit, control, stores.credentials),
        statuses=Statuses(stores.replicas, clock),
    )
    return Office(applying, AdminHandler(use_cases), MeterHandler(Pending(control, usage)))


def build_rpc(
    roles: Iterable[Role],
    credentials: CredentialSource,
    clock: Clock,
    metrics: Metrics,
    options: ServerOptions,
    uses: Uses,
) -> RpcServer:
    """Returns a server for these services, which are yet to be added. ``uses`` takes note of credentials that open something."""
    policy = CallPolicy(credentials_needed())
    attempts = Attempts(uses, failures=metrics.credential_failures)
    interceptor = ServiceInterceptor(Authenticator(credentials, clock, attempts), policy, metrics.call_times)
    return build_server(interceptor, [_NAMES[role] for role in sorted(roles)], options)

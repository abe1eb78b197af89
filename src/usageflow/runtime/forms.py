"""Which form of the service the settings make, and what each needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from usageflow.domain.errors import FailedPrecondition, Fault, InvalidArgument
from usageflow.runtime.services import ALL, Role
from usageflow.runtime.settings import Address, Settings

_NEW_KEY = "make one with `openssl rand -hex 32`, and give the same to every process of this installation"


def roles_of(role: str) -> frozenset[Role]:
    """Returns the services of a role of ``usageflow serve``."""
    return ALL if role == "all" else frozenset({Role(role)})


def check_form(role: str, settings: Settings, *, workers: int = 1, edge: bool = False) -> None:
    """Ensures that the settings fit what is to be served. Raises FailedPrecondition for a role that needs a database, and
    InvalidArgument with every other fault.
    """
    if not edge and role != "all" and not settings.database_url.get_secret_value():
        raise FailedPrecondition(_needs_database(role), reason="NEEDS_SHARED_DATABASE")
    faults = [*_shared_faults(role, settings, edge), *_worker_faults(settings, workers)]
    if faults:
        raise InvalidArgument(faults)


def _shared_faults(role: str, settings: Settings, edge: bool) -> Iterator[Fault]:
    if edge or not settings.database_url.get_secret_value():
        return
    if not settings.hash_key.get_secret_value():
        yield Fault("USAGEFLOW_HASH_KEY", "is not set, and processes over one database share it", _NEW_KEY)
    if role == "all" and not settings.admin_listen and not settings.grpc_address.is_local:
        yield Fault(
            "USAGEFLOW_ADMIN_LISTEN",
            "is not set, and administration would be served where every client comes in",
            "set it to an address of its own such as 127.0.0.1:50053, or run `usageflow serve admin` and `serve decision` apart",
        )


def _worker_faults(settings: Settings, workers: int) -> Iterator[Fault]:
    if workers == 1:
        return
    if not settings.redis_url.get_secret_value():
        yield Fault(
            "USAGEFLOW_REDIS_URL",
            f"is not set, and {workers} workers would each count in their own memory",
            "set it to a Redis that they share, or leave --workers out",
        )
    if settings.grpc_address.unix:
        yield Fault("USAGEFLOW_LISTEN", "is a Unix socket, which workers cannot share", "write HOST:PORT")
    if settings.http_listen and Address.parse(settings.http_listen).unix:
        yield Fault(
            "USAGEFLOW_HTTP_LISTEN", "is a Unix socket, and each worker has its own", "write HOST:PORT"
        )


def _needs_database(role: str) -> str:
    message = (
        f"`serve {role}` needs a database that several processes share: set USAGEFLOW_DATABASE_URL to a PostgreSQL, or "
        "run `usageflow serve`, which serves all three services in one process over SQLite"
    )
    if role == "decision":
        message += (
            ", or `usageflow serve decision --snapshot FILE` with a file of `usageflow snapshot -o FILE`"
        )
    return message

from __future__ import annotations

import pytest

from usageflow.domain.errors import FailedPrecondition, InvalidArgument
from usageflow.runtime.forms import check_form, roles_of
from usageflow.runtime.services import ALL, Role
from usageflow.runtime.settings import Settings

SHARED = {"database_url": "postgresql://db/usageflow", "hash_key": "ab" * 32}
REDIS = {"redis_url": "redis://127.0.0.1:1"}


def settings(**values: str) -> Settings:
    return Settings(**values)  # type: ignore[arg-type]


def faults(
    role: str, values: dict[str, str] | None = None, *, workers: int = 1, edge: bool = False
) -> set[str]:
    try:
        check_form(role, settings(**values or {}), workers=workers, edge=edge)
    except InvalidArgument as error:
        return {fault.field.removeprefix("USAGEFLOW_") for fault in error.faults}
    return set()


def test_roles() -> None:
    assert roles_of("all") == ALL
    assert roles_of("meter") == {Role.METER}


@pytest.mark.parametrize("role", ["decision", "admin", "meter"])
def test_one_service_alone_needs_a_database_that_is_shared(role: str) -> None:
    with pytest.raises(FailedPrecondition, match="USAGEFLOW_DATABASE_URL"):
        check_form(role, settings())
    assert faults(role, SHARED) == set()


def test_a_snapshot_file_needs_no_database() -> None:
    assert faults("decision", edge=True) == set()
    assert faults("decision", workers=2, edge=True) == {"REDIS_URL"}
    assert faults("decision", REDIS, workers=2, edge=True) == set()


def test_processes_over_one_database_share_the_hash_key() -> None:
    assert faults("all", {"database_url": SHARED["database_url"]}) == {"HASH_KEY"}
    assert faults("all") == set()


def test_administration_is_not_served_where_every_client_comes_in() -> None:
    public = {**SHARED, "listen": "0.0.0.0:1", "http_listen": "", "insecure": "1"}
    assert faults("all", public) == {"ADMIN_LISTEN"}
    assert faults("all", {**public, "admin_listen": "127.0.0.1:2"}) == set()
    assert faults("admin", public) == set()


def test_workers_share_counters_and_a_port() -> None:
    assert faults("decision", SHARED, workers=2) == {"REDIS_URL"}
    assert faults("decision", SHARED | REDIS, workers=2) == set()
    sockets = {"listen": "unix:/s", "http_listen": "unix:/h"}
    assert faults("decision", SHARED | REDIS | sockets, workers=2) == {
        "LISTEN",
        "HTTP_LISTEN",
    }

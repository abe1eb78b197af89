"""Secrets planted wherever there is room for them are in nothing that is kept, told or said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.postgres_servers import PostgresServer
from tools.prove.cases import secrets

pytestmark = pytest.mark.timeout(300)  # many processes start, which takes its time on a busy machine


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_an_embedded_service_keeps_and_says_no_secret(tmp_path: Path, level: str) -> None:
    assert ": none in " in secrets.show_embedded(tmp_path, level)


def test_a_shared_installation_keeps_and_says_no_secret(
    tmp_path: Path, own_postgres: PostgresServer, needs_redis: None
) -> None:
    assert ": none in " in secrets.show_shared(tmp_path, own_postgres, "DEBUG")

"""Cases of `make prove` about resources, small."""

from __future__ import annotations

import asyncio
from pathlib import Path

from admin.applying import Wanted
from tests.causes import NOBODY
from tests.integration.conftest import Running
from tools.prove.cases import resources
from usageflow.policyfile import load


async def test_no_editor_is_lost(service: Running) -> None:
    token = service.credentials.admin_token
    figure = await asyncio.to_thread(resources.show_editors, service.address, token, races=3)
    assert "50 writers at once made revisions" in figure


async def test_many_policies_are_listed_by_pages(service: Running) -> None:
    size = resources.Big(policies=300, strategies=20, rounds=1)
    loaded = load(resources.big_file(size), filename="big.yaml")
    await service.embedded.applying.apply(Wanted("demo", loaded.policy_set), NOBODY)
    figure = await asyncio.to_thread(
        resources.show_pages, service.address, service.credentials.admin_token, size, 30.0
    )
    assert "pages of 50" in figure


async def test_random_files_and_requests_end_in_typed_errors_or_success(
    service: Running, tmp_path: Path
) -> None:
    credentials = service.credentials
    figure = await asyncio.to_thread(
        resources.show_fuzz, service.address, credentials.admin_token, credentials.api_key, 400
    )
    assert "none INTERNAL" in figure

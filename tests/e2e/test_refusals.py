"""A few bad policy files against a running service; `make prove CASE=refusals` applies them all."""

from __future__ import annotations

from pathlib import Path

from tools.processes import Service
from tools.prove.refusals import ensure_refused, revision
from tools.prove.refused_files import REFUSED


def test_what_is_wrong_is_said_with_its_place_and_fix_and_nothing_is_applied(
    data: Path, tmp_path: Path
) -> None:
    with Service(data) as service:
        service.wait_ready()
        first = revision(service)
        for refused in REFUSED[::25]:
            ensure_refused(service, refused, tmp_path)
        assert revision(service) == first

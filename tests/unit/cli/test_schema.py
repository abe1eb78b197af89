from __future__ import annotations

import json

from tests.unit.cli.conftest import Run


def test_schema_is_printed_without_a_service(bare: Run) -> None:
    result = bare("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "UsageFlow policies"

from __future__ import annotations

import pytest

from tests.unit.decision.benches import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()

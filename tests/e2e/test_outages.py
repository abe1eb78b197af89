"""Outages of a real Redis under load, small: who decides meanwhile, and that normal service comes back with its quotas. `make prove`
shows the same at full size, with the times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tools import redis_faults
from tools.outages import Load
from tools.prove.outages import TIMEOUT, UNAVAILABLE, Bounds, late_shown, reasons_of, shown, stopped_in_stall
from tools.redis_faults import Fault

SMALL = Load(rate=50, before_s=0.5, during_s=1, after_s=3, deadline_ms=5_000)
BUSY = Bounds(late_ms=10_000, grown_mib=500, recovery_s=SMALL.after_s)
"""What a machine keeps that runs other tests beside."""

# There even a Redis that refuses at once may seem to be late.
REASONS = {TIMEOUT, UNAVAILABLE}

pytestmark = pytest.mark.usefixtures("needs_redis")


@pytest.mark.parametrize(
    "fault",
    [
        redis_faults.stopped,
        redis_faults.killed,
        redis_faults.read_only,
        redis_faults.moved,
    ],
)
def test_fail_modes_decide_until_normal_service_is_back(
    fault: Callable[[], AbstractContextManager[Fault]], tmp_path: Path
) -> None:
    shown(tmp_path, fault, SMALL, BUSY, REASONS | reasons_of(fault.__name__))


def test_a_service_ends_in_good_order_while_redis_is_stopped(tmp_path: Path) -> None:
    code, seconds, output = stopped_in_stall(tmp_path, SMALL)
    assert code == 0, output
    assert "Traceback" not in output
    assert seconds < 10


def test_a_service_starts_without_redis_and_takes_it_up_with_its_quotas(tmp_path: Path) -> None:
    late_shown(tmp_path, SMALL, BUSY, REASONS)

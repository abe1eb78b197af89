"""Cases of `make prove` that kill processes, small."""

from __future__ import annotations

from pathlib import Path

from tools.prove.cases import midmonth
from tools.redis_servers import RedisServer


def test_a_monthly_quota_outlives_kills(tmp_path: Path, own_redis: RedisServer) -> None:
    plan = midmonth.Plan(both=1, redis=1, service=0, seconds=1.2)
    figure = midmonth.show_kills(tmp_path, own_redis, plan)
    assert "service and Redis killed 1 times: at most" in figure
    assert "Redis alone killed 1 times: at most" in figure

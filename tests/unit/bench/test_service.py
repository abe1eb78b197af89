from __future__ import annotations

import pytest

from bench.figures import NotMeasured
from bench.service import normal_decisions

NORMAL = (
    'usageflow_decision_decisions_total{allowed="true",otel_scope_name="usageflow",reason="WITHIN_LIMITS"} '
)
DEGRADED = (
    'usageflow_decision_decisions_total{allowed="true",otel_scope_name="usageflow",reason="FAIL_MODE"} '
)


def test_decisions_are_read_from_metrics() -> None:
    text = f"# TYPE usageflow_decision_decisions_total counter\n{NORMAL}1.2345e+06\npython_info 1.0\n"
    assert normal_decisions(text) == 1_234_500


def test_before_the_first_decision_there_are_none() -> None:
    assert normal_decisions("python_info 1.0\n") == 0


def test_decisions_of_a_fail_mode_are_no_measurement() -> None:
    with pytest.raises(NotMeasured, match="7 decisions were not normal"):
        normal_decisions(f"{NORMAL}5.0\n{DEGRADED}7.0\n")

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as command
from bench.figures import Better, Budget, NotMeasured
from bench.rows import ROWS, Row
from bench.run import Run


def test_every_budget_has_a_row() -> None:
    assert list(ROWS) == [
        "batch_check_memory",
        "batch_check_redis",
        "unary_check_ratio",
        "check_p99_beside_reports",
        "match_ratio",
        "memory_100k_policies_1m_identities",
        "revision_change_p99_s_1k",
        "revision_change_s_100k",
        "ingest_sqlite",
        "ingest_postgres",
        "ingest_counts",
        "dashboard_postgres_ms",
        "dashboard_sqlite_ms",
    ]


def test_a_row_that_does_not_exist_is_answered_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nonsense"]) == 2
    assert "choose from batch_check_memory" in capsys.readouterr().err


def test_a_row_that_breaks_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(run: Run) -> float:
        raise NotMeasured("h2load is missing")

    def broken(run: Run) -> float:
        raise ZeroDivisionError("by nothing")

    def fine(run: Run) -> float:
        run.beside("ping", "a bare PING", 7, "calls/s")
        return 2.0

    measures = {"missing": missing, "broken": broken, "fine": fine}
    rows = {
        name: Row(Budget(name, name, 1, "ratio", Better.HIGHER), measure)
        for name, measure in measures.items()
    }
    monkeypatch.setattr(command, "ROWS", rows)
    monkeypatch.setattr(command, "BESIDES", {})
    monkeypatch.setattr(command, "OUT", tmp_path)
    assert command.main([]) == 0
    shown = capsys.readouterr().out
    assert "not measured: h2load is missing" in shown
    assert "ZeroDivisionError: by nothing" in shown
    assert "a bare PING" in shown


def test_what_rows_share_is_made_once(tmp_path: Path) -> None:
    run, made = Run(tmp_path), []

    def make(run: Run) -> str:
        made.append(run)
        return "value"

    assert [run.once("big", make) for _ in range(2)] == ["value", "value"]
    assert len(made) == 1

"""The cases that clients run (headers, problem bodies) are well formed and agree with one another."""

from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.v1.common_pb2 import DECISION_ALLOW, DECISION_DENY
from usageflow.vectors.v1.vectors_pb2 import HeaderCase, HeaderFile, ProblemCase, ProblemFile

HEADERS = [case for file in files("headers", HeaderFile) for case in file.cases]
PROBLEMS = [case for file in files("problems", ProblemFile) for case in file.cases]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in HEADERS])
def test_header_case(case: HeaderCase) -> None:
    assert case.decision in {DECISION_ALLOW, DECISION_DENY}
    assert case.reason
    assert (case.want_status == 0) == (case.decision == DECISION_ALLOW)
    names = [header.name for header in case.want_headers]
    assert ("RateLimit" in names) == ("RateLimit-Policy" in names) == bool(case.limits)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in PROBLEMS])
def test_problem_case(case: ProblemCase) -> None:
    assert bool(case.reason) != case.invalid_request
    assert case.want_body["status"] == case.want_status
    keys = {"type", "title", "status", "detail"} | (
        {"violated-policies"} if case.want_status == 429 else set()
    )
    assert set(case.want_body) == keys


def test_statuses_of_headers_and_problems_agree() -> None:
    of_problems = {case.reason: case.want_status for case in PROBLEMS if case.reason}
    of_headers = {case.reason: case.want_status for case in HEADERS if case.decision == DECISION_DENY}
    assert of_problems == of_headers

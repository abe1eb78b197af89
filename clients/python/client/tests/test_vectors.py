"""The golden cases of spec/vectors that this client implements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import http_sf
import pytest
from google.protobuf import json_format

from usageflow.client._core.answer import denial, headers_of, problem, status_of
from usageflow.client._core.request import AttributeSpec, RequestView, extract, keyed_hash
from usageflow.client._core.verdict import LimitView, Verdict
from usageflow.v1 import common_pb2 as common
from usageflow.vectors.v1 import vectors_pb2 as vectors

ROOT = Path(__file__).parents[4] / "spec" / "vectors"


def cases(folder: str, message: Any) -> list[Any]:
    files = sorted((ROOT / folder).glob("*.json"))
    assert files, f"no vectors in {ROOT / folder}"
    found = [case for file in files for case in json_format.Parse(file.read_text(), message()).cases]
    return [pytest.param(case, id=case.name) for case in found]


def limits_of(case: Any) -> tuple[LimitView, ...]:
    return tuple(
        LimitView(
            limit.policy,
            limit.limit_name,
            limit.algorithm,
            limit.limit,
            limit.window_us,
            limit.remaining,
            limit.reset_us,
            limit.exceeded,
        )
        for limit in case.limits
    )


@pytest.mark.parametrize("case", cases("headers", vectors.HeaderFile))
def test_headers(case: vectors.HeaderCase) -> None:
    verdict = Verdict(case.decision, case.reason, limits_of(case), case.retry_after_us)
    assert headers_of(verdict) == [(header.name, header.value) for header in case.want_headers]
    assert status_of(verdict) == case.want_status
    for name, value in headers_of(verdict):
        if name.startswith("RateLimit"):
            http_sf.parse(value.encode(), tltype="list")


@pytest.mark.parametrize("case", cases("problems", vectors.ProblemFile))
def test_problems(case: vectors.ProblemCase) -> None:
    verdict = Verdict(
        common.DECISION_DENY,
        case.reason,
        limits_of(case),
        message=case.message,
        invalid_request=case.invalid_request,
    )
    assert problem(verdict) == json_format.MessageToDict(case.want_body)
    answer = denial(verdict)
    assert answer.status == case.want_status
    assert json.loads(answer.body) == problem(verdict)
    assert dict(answer.headers)["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("case", cases("identity_hash", vectors.HashFile))
def test_identity_hash(case: vectors.HashCase) -> None:
    assert keyed_hash(bytes.fromhex(case.want_application_key_hex), case.value).hex() == case.want_hash_hex


@pytest.mark.parametrize("case", cases("attributes", vectors.AttributeFile))
def test_attributes(case: vectors.AttributeCase) -> None:
    sent = case.request
    request = RequestView(
        "GET",
        "/",
        "/",
        headers=[(each.name.lower().encode(), each.value.encode()) for each in sent.headers],
        query_string=sent.query.encode(),
        path_parameters=dict(sent.path_parameters),
        client_ip=sent.client_ip,
        app_context=dict(sent.app_context),
    )
    for field in case.fields:
        found = extract(AttributeSpec.of(field.location, field.name, sensitive=False), request)
        assert found == (field.want if field.HasField("want") else None)

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from tests.vectors.loading import files
from usageflow.domain.masking import (
    Caps,
    is_secret,
    mask_headers,
    mask_json,
    mask_path,
    mask_query,
    mask_text,
)
from usageflow.vectors.v1.masking_pb2 import MaskCase, MaskFile

CASES = [case for file in files("masking", MaskFile) for case in file.cases]


def run(case: MaskCase, given: Any) -> Any:
    also = frozenset(case.also_secret)
    match case.WhichOneof("kind"):
        case "text":
            return mask_text(given)
        case "query":
            return mask_query(given, also)
        case "path":
            return mask_path(given)
        case "headers":
            return mask_headers(given, also)
        case _:
            return mask_json(given, Caps(case.json.depth, case.json.members, case.json.text_bytes), also)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_masking(case: MaskCase) -> None:
    if case.HasField("secret_name"):
        assert is_secret(case.secret_name.name, frozenset(case.also_secret)) == case.secret_name.want
        return
    body = getattr(case, str(case.WhichOneof("kind")))
    given, want = body.given, body.want
    if case.HasField("headers"):
        given, want = [(each.name, each.value) for each in given], dict(want)
    elif case.HasField("json"):
        given, want = MessageToDict(given), MessageToDict(want)
    kept = run(case, given)
    assert kept == want
    assert run(case, list(kept.items()) if case.HasField("headers") else kept) == want

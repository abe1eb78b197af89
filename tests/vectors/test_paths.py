from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.paths import candidate_paths, normalise_path
from usageflow.vectors.v1.vectors_pb2 import PathCase, PathFile

CASES = [case for file in files("paths", PathFile) for case in file.cases]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_path(case: PathCase) -> None:
    if case.want_error_field:
        with pytest.raises(InvalidArgument) as caught:
            normalise_path(case.raw)
        assert [fault.field for fault in caught.value.faults] == [case.want_error_field]
        return
    assert normalise_path(case.raw) == case.want
    assert normalise_path(case.want) == case.want
    if case.want_candidates:
        assert candidate_paths(case.raw) == tuple(case.want_candidates)

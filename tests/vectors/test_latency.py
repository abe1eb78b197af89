from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.domain.latency import bucket_of
from usageflow.vectors.v1.vectors_pb2 import LatencyBoundaries, LatencyFile

CASES = [case for file in files("latency", LatencyFile) for case in file.cases]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_samples(case: LatencyBoundaries) -> None:
    got = {sample.us: bucket_of(sample.us, case.boundaries_us) for sample in case.samples}
    assert got == {sample.us: sample.want_index for sample in case.samples}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_boundaries_are_the_whole_part_of_the_power(case: LatencyBoundaries) -> None:
    # ceil(ln us / ln 1.02) <= i exactly where us <= 1.02^i, which whole numbers tell without rounding.
    assert list(case.boundaries_us) == [102**index // 100**index for index in range(1112)]

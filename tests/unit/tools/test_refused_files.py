"""The files that `make prove` applies to a real service, here read in the process."""

from __future__ import annotations

import pytest

from tools.prove.refused_files import REFUSED, Refused
from usageflow.expressions import check
from usageflow.policyfile import PolicyFileError, load


@pytest.mark.parametrize("refused", REFUSED, ids=lambda each: f"{each.subject} {each.bad}")
def test_the_place_and_the_fix_are_told(refused: Refused) -> None:
    with pytest.raises(PolicyFileError) as caught:
        load(refused.text, filename="f.yaml", check=check)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == refused.place
    assert refused.fix in problem.fix

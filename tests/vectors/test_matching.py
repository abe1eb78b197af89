from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.matching import Entry, PatternTrie
from usageflow.domain.patterns import Methods, Pattern
from usageflow.domain.templates import canonical_template
from usageflow.vectors.v1.vectors_pb2 import MatchCase, MatchFile

CASES = [case for file in files("matching", MatchFile) for case in file.cases]


def run(case: MatchCase) -> tuple[str, ...]:
    trie = PatternTrie(
        Entry(
            Methods.parse(list(policy.methods)),
            Pattern.parse(policy.path),
            policy.priority,
            policy.name,
            policy.name,
        )
        for policy in case.policies
    )
    request = case.request
    route = canonical_template(request.route) if request.route else ""
    return trie.lookup_request(request.method, route, request.path_parameters, request.path)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_matching(case: MatchCase) -> None:
    if case.want_error_field:
        with pytest.raises(InvalidArgument) as caught:
            run(case)
        assert [fault.field for fault in caught.value.faults] == [case.want_error_field]
    else:
        assert run(case) == tuple(case.want_policies)

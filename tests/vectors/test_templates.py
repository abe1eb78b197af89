from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.templates import canonical_template
from usageflow.vectors.v1.vectors_pb2 import TemplateCase, TemplateFile

CASES = [case for file in files("templates", TemplateFile) for case in file.cases]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_template(case: TemplateCase) -> None:
    if case.want_error_field:
        with pytest.raises(InvalidArgument) as caught:
            canonical_template(case.template)
        assert [fault.field for fault in caught.value.faults] == [case.want_error_field]
    else:
        assert canonical_template(case.template) == case.want
        assert canonical_template(case.want) == case.want

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.routes import parameters_of


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("/users/{id}", "/users/42", {"id": "42"}),
        ("/users/{id}", "/users/42?x=1", {"id": "42"}),
        ("/users/{id}", "/users/a%2Fb", {"id": "a/b"}),
        ("/users/{id}", "/users/42/", {"id": "42"}),
        ("/users/{id}", "/users/42/x", {}),
        ("/users/{id}", "/users", {}),
        ("/users/{id}", "/people/42", {}),
        ("/users/{id}", "", {}),
        ("/files/{tail*}", "/files/a/b", {"tail": "a/b"}),
        ("/files/{tail*}", "/files", {}),
        ("/{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
        ("/v{version}/{id}", "/v2/7", {"id": "7"}),
        ("/caf%C3%A9/{id}", "/café/1", {"id": "1"}),
        ("/", "/", {}),
    ],
)
def test_values_are_read_back_from_the_path(template: str, path: str, parameters: dict[str, str]) -> None:
    assert parameters_of(template, path) == parameters


@steady
@given(st.text(max_size=40))
def test_no_path_raises(path: str) -> None:
    for template in ("/users/{id}", "/files/{tail*}", "/{name}.{ext}/x", "{unmatched}"):
        parameters_of(template, path)

"""The service's side: what a caller of any language sends by name, with whole headers, is found again."""

from __future__ import annotations

import pytest

from decision.questions import HttpRequest, Terms, question_by_name
from tests.unit.fakes import snapshot
from tests.vectors.loading import files
from usageflow.cli.http_request import Named, http_request
from usageflow.domain.extraction import joined
from usageflow.domain.identity import Attributes, CompiledPart
from usageflow.domain.sources import Location, Source
from usageflow.v1 import common_pb2 as common
from usageflow.vectors.v1.vectors_pb2 import AttributeCase, AttributeField, AttributeFile

CASES = [case for file in files("attributes", AttributeFile) for case in file.cases]
LOCATIONS = {
    common.ATTRIBUTE_LOCATION_HEADER: Location.HEADER,
    common.ATTRIBUTE_LOCATION_QUERY: Location.QUERY,
    common.ATTRIBUTE_LOCATION_COOKIE: Location.COOKIE,
    common.ATTRIBUTE_LOCATION_PATH_PARAMETER: Location.PATH,
    common.ATTRIBUTE_LOCATION_APP_CONTEXT: Location.CONTEXT,
    common.ATTRIBUTE_LOCATION_CLIENT_IP: Location.CLIENT_IP,
}


def attributes_of(case: AttributeCase) -> Attributes:
    """What the service reads of the request; the command takes the query apart."""
    sent = case.request
    query = http_request(
        method="GET", path=f"/?{sent.query}", route="", named=Named(), bearer="", client_ip=""
    )
    request = HttpRequest(
        "GET",
        path="/",
        parameters=dict(sent.path_parameters),
        attributes=[
            *(("header", header.name, header.value) for header in sent.headers),
            *(("query", each.name, each.value) for each in query.attributes),
            *(("context", name, value) for name, value in sent.app_context.items()),
        ],
        client_ip=sent.client_ip,
    )
    return question_by_name(snapshot(), request, Terms()).attributes


def value_of(field: AttributeField, attributes: Attributes) -> str | None:
    if field.location == common.ATTRIBUTE_LOCATION_JWT_CLAIM:
        tokens = attributes.values.get(("jwt", field.name), ())
        return str(tokens[0]) if len(tokens) == 1 else None
    source = Source(location=LOCATIONS[field.location], name=field.name)
    value = CompiledPart.of(source).value(attributes)
    assert value is None or isinstance(value, str)
    return value


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_attributes(case: AttributeCase) -> None:
    attributes = attributes_of(case)
    values = [value_of(field, attributes) for field in case.fields]
    assert values == [field.want if field.HasField("want") else None for field in case.fields]
    if len(values) > 1:
        found = [value for value in values if value is not None]
        want = case.want_joined if case.HasField("want_joined") else None
        assert (joined(found) if len(found) == len(values) else None) == want

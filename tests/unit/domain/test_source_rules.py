from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.tokens import jwt_source, public_jwk
from usageflow.domain.source_rules import source_faults
from usageflow.domain.sources import Source

HEADER = {"in": "header", "name": "X-Org"}
URL = "https://id.example/jwks.json"


def fields(declared: dict[str, Any]) -> list[str]:
    found = list(source_faults(Source.model_validate(declared)))
    assert all(fault.message and fault.fix for fault in found)
    return [fault.field for fault in found]


@pytest.mark.parametrize(
    "good",
    [
        HEADER,
        {"in": "client_ip"},
        {"in": "body", "name": "user.id"},
        jwt_source(),
        jwt_source(**{"from": "cookie:session"}, jwks_url=URL, algorithms=["PS256"]),
        {"in": "jwt", "name": "sub", "allow_unverified": True},
        jwt_source(allow_unverified=True),
        {"join": [HEADER, jwt_source()], "sensitive": True},
    ],
)
def test_good_sources(good: dict[str, Any]) -> None:
    assert fields(good) == []


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        ({"name": "a"}, ["in"]),
        ({"in": "header"}, ["name"]),
        ({"in": "client_ip", "name": "a"}, ["name"]),
        ({"in": "body", "name": "user..id"}, ["name"]),
        ({**HEADER, "issuer": "a", "from": "bearer"}, ["issuer", "from"]),
        ({"in": "jwt", "name": "sub"}, ["issuer", "audience", "jwks_url"]),
        (jwt_source(issuer=""), ["issuer"]),
        (jwt_source(name=""), ["name"]),
        (jwt_source(jwks_url="http://id.example/jwks.json"), ["jwks_url"]),
        (jwt_source(jwks_url="https://"), ["jwks_url"]),
        (jwt_source(jwks_url="https://id.example:99999/"), ["jwks_url"]),
        (jwt_source(jwks_url="https://user:secret@id.example/"), ["jwks_url"]),
        (jwt_source(keys=[public_jwk("k1")], jwks_url=URL), ["keys"]),
        (jwt_source(keys=[public_jwk("k1"), {"kty": "RSA", "n": "AQ", "e": "AQAB"}]), ["keys[1]"]),
        (jwt_source(algorithms=["ES256"]), ["keys[0]"]),
        (jwt_source(**{"from": "header:X-Token"}), ["from"]),
        (jwt_source(**{"from": "cookie:"}), ["from"]),
        ({"join": [HEADER]}, ["join"]),
        ({"join": [HEADER, {"in": "query"}]}, ["join[1].name"]),
        ({"join": [HEADER, {"join": [HEADER, HEADER]}]}, ["join[1].join"]),
        ({"join": [HEADER, HEADER], "in": "query", "name": "a"}, ["in", "name"]),
    ],
)
def test_a_fault_is_named_by_its_path(bad: dict[str, Any], wanted: list[str]) -> None:
    assert fields(bad) == wanted


@pytest.mark.parametrize(
    "bad",
    [
        jwt_source(algorithms=["none"]),
        jwt_source(algorithms=["HS256"]),
        jwt_source(keys=[{"kty": "oct", "k": "c2VjcmV0"}]),
        jwt_source(keys=[{**public_jwk("k1"), "d": "private"}]),
        {"in": "nowhere", "name": "a"},
        {"join": [HEADER] * 6},
    ],
)
def test_what_no_source_can_say(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Source.model_validate(bad)

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from tests.unit.tokens import NOW_S, private_key, public_jwk, source, token
from usageflow.domain.sources import Jwk
from usageflow.domain.tokens import (
    LEEWAY_S,
    TokenRules,
    claims_of,
    key_id_of,
    keys_of_document,
    usable_keys,
    valid_for_us,
)


def claims(text: str, now_s: float = NOW_S, **fields: Any) -> Any:
    rules = TokenRules.of(source(**fields))
    return claims_of(text, rules, usable_keys(rules.static_keys, rules.algorithms), round(now_s * 1e6))


def forged(header: dict[str, object], payload: dict[str, object], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_token_that_keeps_the_rules_has_claims() -> None:
    assert claims(token())["sub"] == "alice"
    assert claims(token(aud=["other", "api"]))["sub"] == "alice"
    assert claims(token("e1", "ES256"), keys=[public_jwk("e1", "ES256")])["sub"] == "alice"
    assert claims(token("", "RS256"), keys=[public_jwk("")])["sub"] == "alice"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": NOW_S - LEEWAY_S - 1},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": NOW_S + LEEWAY_S + 1},
        {"nbf": "soon"},
    ],
)
def test_a_token_that_breaks_a_rule_has_none(changed: dict[str, Any]) -> None:
    # PyJWT would refuse to sign some of these: they are signed as they are.
    payload = {"iss": "https://id.example", "aud": "api", "exp": NOW_S + 600, "sub": "alice", **changed}
    body = json.dumps({name: value for name, value in payload.items() if value is not None}).encode()
    assert claims(jwt.PyJWS().encode(body, private_key("k1"), "RS256", {"kid": "k1"})) is None


def test_clocks_may_differ_a_little() -> None:
    assert claims(token(exp=NOW_S - LEEWAY_S + 1)) is not None
    assert claims(token(nbf=NOW_S + LEEWAY_S - 1)) is not None


def test_only_the_key_that_a_token_names_and_its_own_algorithms_verify() -> None:
    assert claims(token("k2")) is None
    assert claims(jwt.encode({"sub": "x"}, private_key("k2"), "RS256", {"kid": "k1"})) is None
    assert claims(token("k1", "RS512")) is None
    assert claims(token("k1", "RS512"), algorithms=["RS512"]) is not None
    assert claims(token("k1", "PS256"), keys=[public_jwk("k1", alg="RS256")], algorithms=["PS256"]) is None
    assert claims(token(), keys=[public_jwk("k1", use="enc")]) is None


def test_neither_none_nor_a_public_key_as_secret_verifies() -> None:
    payload = {"iss": "https://id.example", "aud": "api", "exp": NOW_S + 600, "sub": "mallory"}
    assert claims(forged({"alg": "none", "kid": "k1"}, payload)) is None
    pem = (
        private_key("k1")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    import hmac

    head = forged({"alg": "HS256", "kid": "k1"}, payload).rsplit(".", 1)[0]
    signature = base64.urlsafe_b64encode(hmac.digest(pem, head.encode(), "sha256")).rstrip(b"=").decode()
    assert claims(f"{head}.{signature}") is None


def test_an_unverified_token_is_read_and_still_has_to_be_in_time() -> None:
    payload: dict[str, object] = {"sub": "alice"}
    loose: dict[str, Any] = {"issuer": "", "audience": "", "keys": [], "allow_unverified": True}
    assert claims(forged({"alg": "RS256"}, payload, b"x"), **loose) == payload
    assert claims(forged({"alg": "RS256"}, {**payload, "exp": 5}, b"x"), **loose) is None
    assert (
        claims(forged({"alg": "RS256"}, payload, b"x"), **{**loose, "issuer": "https://id.example"}) is None
    )


def test_weak_and_broken_keys_are_no_keys() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    weak = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    weak.pop("key_ops", None)
    broken = [weak, {"kty": "RSA", "n": "!", "e": "AQAB"}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}]
    assert usable_keys([Jwk.model_validate(key) for key in broken], ["RS256", "ES256"]) == ()


MIXED = st.one_of(
    st.text(max_size=200),
    st.lists(st.text(alphabet="eyJhbGciOiJub25lIn0_-=", max_size=40), max_size=5).map(".".join),
    st.builds(
        forged,
        st.dictionaries(
            st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), st.none() | st.text() | st.integers()
        ),
        st.dictionaries(st.sampled_from(["sub", "exp", "aud", "nbf"]), st.none() | st.floats() | st.text()),
        st.binary(max_size=20),
    ),
)


@steady
@given(MIXED)
@example("." * 9000)
@example("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0." + "A" * 100 + ".x")
def test_no_text_breaks_anything_or_verifies(text: str) -> None:
    assert claims(text) is None
    kid = key_id_of(text)
    assert kid is None or isinstance(kid, str)
    claims(text, allow_unverified=True)


@steady
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["keys", "kty", "n", "e", "kid"]), inner)
        ),
    ).map(lambda item: json.dumps(item).encode())
)
def test_no_document_breaks_anything(body: bytes) -> None:
    usable_keys(keys_of_document(body), ["RS256"])


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"exp": 101.5}, 1_500_000),
        ({"exp": 99}, -1_000_000),
        ({}, None),
        ({"exp": "x"}, None),
        ({"exp": 1e300}, None),
    ],
)
def test_a_payload_is_valid_until_it_expires(payload: dict[str, object], expected: int | None) -> None:
    assert valid_for_us(payload, 100_000_000) == expected

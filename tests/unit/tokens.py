"""Real keys and tokens for tests."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from usageflow.domain.sources import Source

NOW_S = 1_700_000_000
ISSUER, AUDIENCE = "https://id.example", "api"


def private_key(kid: str, algorithm: str = "RS256") -> Any:
    """A private key by name: the same one in a test run."""
    return _private_key(kid, algorithm.startswith("ES"))


@cache
def _private_key(kid: str, elliptic: bool) -> Any:
    if elliptic:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 2048)


def public_jwk(kid: str, algorithm: str = "RS256", **members: str) -> dict[str, Any]:
    """The JWK of a key's public half."""
    kind: Any = ECAlgorithm if algorithm.startswith("ES") else RSAAlgorithm
    found = json.loads(kind.to_jwk(private_key(kid, algorithm).public_key()))
    found.pop("key_ops", None)
    return {**found, "kid": kid, **members}


def jwks(*kids: str) -> bytes:
    """A JWKS document, with members and keys that nobody here needs."""
    keys = [{**public_jwk(kid), "use": "sig", "x5t": "abc"} for kid in kids]
    return json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}, *keys]}).encode()


def token(kid: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
    """A signed token; a claim of None is left out."""
    payload = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW_S + 600, "sub": "alice", **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, private_key(kid, algorithm), algorithm, {"kid": kid} if kid else None)


def jwt_source(**fields: Any) -> dict[str, Any]:
    """A source for claim ``sub``, verified with key k1."""
    keys = {} if "jwks_url" in fields else {"keys": [public_jwk("k1")]}
    return {"in": "jwt", "name": "sub", "issuer": ISSUER, "audience": AUDIENCE, **keys, **fields}


def source(**fields: Any) -> Source:
    return Source.model_validate(jwt_source(**fields))

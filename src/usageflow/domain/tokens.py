"""JSON Web Tokens: which rules a source sets for them, and the claims of one that keeps them. Pure.

A token that does not verify has no claims, whatever is wrong with it: callers see a missing identity, never an error.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from pydantic import ValidationError

from usageflow.domain.sources import Jwk, Source, TokenAlgorithm

BEARER = "bearer"
COOKIE_PREFIX = "cookie:"
LEEWAY_S = 30
"""Seconds by which clocks of issuer and service may differ."""

MAX_TOKEN_BYTES = 8192
MAX_KEYS = 100
"""Keys of one JWKS document that are read."""

DEFAULT_ALGORITHMS = (TokenAlgorithm.RS256, TokenAlgorithm.ES256)

_FAMILIES = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
    ("OKP", "Ed448"): frozenset({"EdDSA"}),
}
_MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, ready to verify what was signed by ``algorithms``. ``kid`` "" is a key without an id."""

    kid: str
    algorithms: frozenset[str]
    key: Any


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must be. ``rules_id`` tells two sets of rules apart; ``place`` is ``bearer`` or ``cookie:NAME``."""

    rules_id: str
    place: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_url: str
    static_keys: tuple[Jwk, ...]
    unverified: bool

    @classmethod
    def of(cls, source: Source) -> TokenRules:
        """Returns the rules of a source ``in: jwt``."""
        document = source.model_dump_json(by_alias=True, exclude={"name", "sensitive"})
        return cls(
            rules_id=hashlib.blake2b(document.encode(), digest_size=16).hexdigest(),
            place=source.token or BEARER,
            issuer=source.issuer,
            audience=source.audience,
            algorithms=tuple(str(item) for item in source.algorithms or DEFAULT_ALGORITHMS),
            jwks_url=source.jwks_url,
            static_keys=source.keys,
            unverified=source.allow_unverified,
        )


def usable_keys(keys: Sequence[Jwk], algorithms: Sequence[str]) -> tuple[VerifyingKey, ...]:
    """Returns the keys that may verify a token of one of these algorithms; what is broken or weak is left out.

    Each key has its own list: what its kind can verify, cut to its ``alg`` where it has one. So no public key is ever
    taken for a shared secret.
    """
    found = []
    for key in keys:
        family = _FAMILIES.get((str(key.kty), key.crv), frozenset())
        allowed = family & frozenset(algorithms) & (frozenset({str(key.alg)}) if key.alg else family)
        loaded = _load(key, min(allowed)) if allowed and key.use in ("", "sig") else None
        if loaded is not None:
            found.append(VerifyingKey(key.kid, allowed, loaded))
    return tuple(found)


def _load(key: Jwk, algorithm: str) -> Any:
    members = key.model_dump(mode="json", exclude_defaults=True, exclude={"use", "alg"})
    try:
        loaded = jwt.PyJWK(members, algorithm=algorithm).key
    except Exception:  # noqa: BLE001 - key material comes from outside: whatever is wrong with it, it is no key
        return None
    return loaded if getattr(loaded, "key_size", _MIN_RSA_BITS) >= _MIN_RSA_BITS or key.kty != "RSA" else None


def key_id_of(token: str) -> str | None:
    """Returns the id of the key that signed a token, "" where it names none, None for what is no token."""
    try:
        kid = jwt.get_unverified_header(token).get("kid", "")
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return kid if isinstance(kid, str) else None


def claims_of(
    token: str, rules: TokenRules, keys: Sequence[VerifyingKey], now_us: int
) -> Mapping[str, Any] | None:
    """Returns the claims of a token that keeps the rules at ``now_us`` (Unix time), None for any other."""
    payload = payload_of(token, rules, keys)
    return payload if payload is not None and keeps(payload, rules, now_us) else None


def payload_of(token: str, rules: TokenRules, keys: Sequence[VerifyingKey]) -> Mapping[str, Any] | None:
    """Returns what a token says, None unless one of the keys signed it (or the rules do not ask who did)."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        return None
    return _unsigned(token) if rules.unverified else _signed(token, keys)


def _signed(token: str, keys: Sequence[VerifyingKey]) -> Mapping[str, Any] | None:
    """Returns what is signed, verified by the one key that the token names; without a name by any key that fits."""
    kid = key_id_of(token)
    if kid is None:
        return None
    for key in keys:
        if kid in ("", key.kid):
            payload = _decoded(token, key.key, sorted(key.algorithms))
            if payload is not None:
                return payload
    return None


def _unsigned(token: str) -> Mapping[str, Any] | None:
    return _decoded(token, "", [], verify=False)


def _decoded(token: str, key: Any, algorithms: list[str], *, verify: bool = True) -> Mapping[str, Any] | None:
    try:
        # Times, issuer and audience are checked below: PyJWT would read the machine's clock.
        options: Any = {"verify_signature": verify} | dict.fromkeys(_LEFT_TO_US, False)
        payload = jwt.decode(token, key, algorithms=algorithms, options=options)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return payload  # PyJWT refuses payloads that are no objects


_LEFT_TO_US = (
    "verify_exp",
    "verify_nbf",
    "verify_iat",
    "verify_aud",
    "verify_iss",
    "verify_sub",
    "verify_jti",
)


_FOR_EVER_S = 1e11  # the year 5138; beyond it numbers need not be times any more


def keeps(payload: Mapping[str, Any], rules: TokenRules, now_us: int) -> bool:
    """Tells whether issuer, audience and times are what the rules ask for at ``now_us`` (Unix time)."""
    now_s = now_us / 1e6
    audience = payload.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    begins, ends = _time(payload, "nbf", 0.0), _time(payload, "exp", math.inf if rules.unverified else None)
    return (
        (not rules.issuer or payload.get("iss") == rules.issuer)
        and (not rules.audience or rules.audience in audiences)
        and (begins is not None and begins <= now_s + LEEWAY_S)
        and (ends is not None and ends > now_s - LEEWAY_S)
    )


def valid_for_us(payload: Mapping[str, Any], now_us: int) -> int | None:
    """Returns how long a payload that keeps its rules goes on keeping them, without any leeway; None for ever."""
    ends = _time(payload, "exp", None)
    return None if ends is None or ends > _FOR_EVER_S else round(ends * 1e6) - now_us


def _time(payload: Mapping[str, Any], name: str, absent: float | None) -> float | None:
    """Returns a claim in seconds of Unix time, ``absent`` where there is none, None where it is no time."""
    value = payload.get(name, absent)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def keys_of_document(body: bytes) -> tuple[Jwk, ...]:
    """Returns the public keys of a JWKS document; keys of other kinds are left out, and what is no JWKS has none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    items = document.get("keys") if isinstance(document, dict) else None
    found = (_jwk(item) for item in items[:MAX_KEYS]) if isinstance(items, list) else ()
    return tuple(key for key in found if key is not None)


def _jwk(item: object) -> Jwk | None:
    if not isinstance(item, dict):
        return None
    known = {name: item[name] for name in Jwk.model_fields if name in item}
    try:
        return Jwk.model_validate(known)
    except ValidationError:
        return None

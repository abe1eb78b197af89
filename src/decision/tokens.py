"""Puts verified claims in the place of raw tokens, before anything else sees a request."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from decision.keyring import KeyRing
from usageflow.domain.clock import Clock
from usageflow.domain.identity import AttributeKey, Attributes, attribute_key
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.sources import Jwk, Location
from usageflow.domain.tokens import TokenRules, VerifyingKey, keeps, key_id_of, payload_of, usable_keys

_REMEMBERED = 4096
"""Tokens whose signature is not checked again: by a digest, never the token itself."""


class TokenReader:
    """Verifies tokens with the keys that are known now; no call waits."""

    def __init__(self, ring: KeyRing, clock: Clock) -> None:
        self._ring = ring
        self._clock = clock
        self._usable: dict[str, tuple[tuple[Jwk, ...], tuple[VerifyingKey, ...]]] = {}
        self._signed: OrderedDict[tuple[str, bytes], tuple[tuple[VerifyingKey, ...], Mapping[str, Any]]] = (
            OrderedDict()
        )

    def prepare(self, snapshot: Snapshot) -> None:
        """Asks for the keys that a snapshot's strategies need, before the first token comes."""
        urls = {rules.jwks_url for rules in snapshot.token_rules if rules.jwks_url and not rules.unverified}
        self._ring.use(snapshot.application_id, urls)
        self._usable.clear()

    def read(self, snapshot: Snapshot, attributes: Attributes) -> Attributes:
        """Returns the attributes with the claims of the tokens that verify, and without any token."""
        if not any(location == Location.JWT for location, _ in attributes.values):
            return attributes
        claims: dict[str, Mapping[str, Any]] = {}
        for rules in snapshot.token_rules:
            token = _only(attributes.values.get(attribute_key(Location.JWT, rules.place), ()))
            found = self._claims(token, rules) if token else None
            if found is not None:
                claims[rules.rules_id] = found
        return replace(attributes, values=_without_tokens(attributes.values), claims=claims)

    def _claims(self, token: str, rules: TokenRules) -> Mapping[str, Any] | None:
        keys = () if rules.unverified else self._keys(rules)
        if rules.jwks_url and not rules.unverified:
            kid = key_id_of(token)
            if kid is not None and not any(kid in ("", key.kid) for key in keys):
                self._ring.missed(rules.jwks_url)
                return None
        payload = self._payload(token, rules, keys)
        return payload if payload is not None and keeps(payload, rules, self._clock.now_us()) else None

    def _payload(
        self, token: str, rules: TokenRules, keys: tuple[VerifyingKey, ...]
    ) -> Mapping[str, Any] | None:
        """Returns what a token says; its signature is checked once for as long as the keys stay the same."""
        digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        known = self._signed.get((rules.rules_id, digest))
        if known is not None and known[0] is keys:
            return known[1]
        payload = payload_of(token, rules, keys)
        if payload is not None:
            self._signed[rules.rules_id, digest] = (keys, payload)
            if len(self._signed) > _REMEMBERED:
                self._signed.popitem(last=False)
        return payload

    def _keys(self, rules: TokenRules) -> tuple[VerifyingKey, ...]:
        source = rules.static_keys or self._ring.keys(rules.jwks_url)
        known = self._usable.get(rules.rules_id)
        if known is None or known[0] is not source:
            known = self._usable[rules.rules_id] = (source, usable_keys(source, rules.algorithms))
        return known[1]


def _only(values: Sequence[str | bytes]) -> str:
    """Returns the one token, "" for none, several, or a hash, which nobody can verify."""
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def _without_tokens(
    values: Mapping[AttributeKey, Sequence[str | bytes]],
) -> dict[AttributeKey, Sequence[str | bytes]]:
    return {key: value for key, value in values.items() if key[0] != Location.JWT}

"""Sources of identities as people declare them: where a value is found, and how a token is verified."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from usageflow.domain.declared import Declared, Flag

MAX_PARTS = 5
"""Fields that one source may join."""

Text = Annotated[str, Field(max_length=2048)]


class Location(StrEnum):
    """Where an identity may be found."""

    HEADER = "header"
    QUERY = "query"
    PATH = "path"
    BODY = "body"
    COOKIE = "cookie"
    JWT = "jwt"
    CLIENT_IP = "client_ip"
    CONTEXT = "context"


VERIFIED = frozenset({Location.JWT, Location.CONTEXT})
"""Locations whose values somebody vouches for; the others hold what the caller claims."""


class TokenAlgorithm(StrEnum):
    """How a token may be signed: with a private key only, never with a shared secret and never not at all."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"


class KeyType(StrEnum):
    """Families of public keys; ``oct``, a shared secret, is not among them."""

    RSA = "RSA"
    EC = "EC"
    OKP = "OKP"


class Jwk(Declared):
    """A public key (RFC 7517). Members of private keys (``d``, ``p`` ...) are unknown here, so none is ever stored."""

    kty: KeyType
    kid: Annotated[str, Field(max_length=256)] = ""
    alg: TokenAlgorithm | None = None
    use: Annotated[str, Field(max_length=32)] = ""
    n: Text = ""
    e: Text = ""
    crv: Annotated[str, Field(max_length=32)] = ""
    x: Text = ""
    y: Text = ""


class Source(Declared):
    """A place where an identity may be found, or several that are joined. ``token`` (``from`` in files) and what stands
    above it belong to ``in: jwt``.
    """

    location: Annotated[Location | None, Field(alias="in")] = None
    name: Annotated[str, Field(max_length=256)] = ""
    sensitive: Flag = False
    join: Annotated[tuple[Source, ...], Field(max_length=MAX_PARTS)] = ()
    issuer: Text = ""
    audience: Text = ""
    jwks_url: Text = ""
    keys: Annotated[tuple[Jwk, ...], Field(max_length=20)] = ()
    algorithms: Annotated[tuple[TokenAlgorithm, ...], Field(max_length=10)] = ()
    token: Annotated[str, Field(alias="from", max_length=256)] = ""
    allow_unverified: Flag = False

    @property
    def parts(self) -> tuple[Source, ...]:
        """Returns the fields that are read: those that are joined, or this one."""
        return self.join or (self,)

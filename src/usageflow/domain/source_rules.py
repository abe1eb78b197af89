"""What a source of identities must say and must not: faults with a path, a sentence and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from usageflow.domain.errors import Fault
from usageflow.domain.sources import Location, Source
from usageflow.domain.tokens import BEARER, COOKIE_PREFIX, TokenRules, usable_keys

_TOKEN_FIELDS = {
    "issuer": "issuer",
    "audience": "audience",
    "jwks_url": "jwks_url",
    "keys": "keys",
    "algorithms": "algorithms",
    "token": "from",
    "allow_unverified": "allow_unverified",
}


def source_faults(source: Source) -> Iterator[Fault]:
    """Yields every fault of a source."""
    if not source.join:
        yield from _part(source)
        return
    for name, spelled in {"location": "in", "name": "name", **_TOKEN_FIELDS}.items():
        if getattr(source, name):
            message = f"a source with `join` has no {spelled!r} of its own"
            yield Fault(spelled, message, f"move {spelled!r} into one of the joined fields")
    if len(source.join) < 2:
        yield Fault(
            "join", "joins one field only", "name two fields or more, or write the field without `join`"
        )
    for index, part in enumerate(source.join):
        if part.join:
            message = "a joined field cannot join others"
            yield Fault(f"join[{index}].join", message, "list all fields in one `join`")
        else:
            yield from (fault.under(f"join[{index}]") for fault in _part(part))


def _part(source: Source) -> Iterator[Fault]:
    if source.location is None:
        yield Fault("in", "'in' is missing", "add it, such as `in: header`")
        return
    yield from _name(source)
    if source.location is Location.JWT:
        yield from _token(source)
        return
    for name, spelled in _TOKEN_FIELDS.items():
        if getattr(source, name):
            message = f"{spelled!r} has a meaning for `in: jwt` only"
            yield Fault(spelled, message, f"remove it, or write `in: jwt` instead of `in: {source.location}`")


def _name(source: Source) -> Iterator[Fault]:
    if source.location is Location.CLIENT_IP:
        if source.name:
            yield Fault("name", "the client's address has no name", "remove 'name'")
    elif not source.name:
        message = f"'name' is missing: which {source.location} is it?"
        yield Fault("name", message, "add it, such as `name: user_id`")
    elif source.location is Location.BODY and not all(source.name.split(".")):
        yield Fault("name", "has an empty step in its dot path", "write one such as `user.id`")


def _token(source: Source) -> Iterator[Fault]:
    token = source.token
    if token and token != BEARER and not (token.startswith(COOKIE_PREFIX) and token != COOKIE_PREFIX):
        yield Fault("from", f"{token[:64]!r} holds no token", "write `bearer`, or `cookie:` and its name")
    yield from _url(source.jwks_url)
    if source.allow_unverified:
        return
    for name in ("issuer", "audience"):
        if not getattr(source, name):
            message = f"without {name!r} a token that was made for others would count"
            yield Fault(name, message, f"add the token's `{name}`")
    yield from _keys(source)


def _keys(source: Source) -> Iterator[Fault]:
    if not source.jwks_url and not source.keys:
        fix = "add `jwks_url: https://...` or `keys: [...]`, or `allow_unverified: true` for a mere claim"
        yield Fault("jwks_url", "nothing says with which keys tokens are verified", fix)
    elif source.jwks_url and source.keys:
        fix = "keep `jwks_url`, or `keys` where the service has no network"
        yield Fault("keys", "both 'keys' and 'jwks_url' are given", fix)
    rules = TokenRules.of(source)
    for index, key in enumerate(source.keys):
        if not usable_keys((key,), rules.algorithms):
            message = f"is no {key.kty} public key that fits {', '.join(rules.algorithms)}"
            yield Fault(f"keys[{index}]", message, "copy the key's JWK whole, or list its algorithm")


def _url(text: str) -> Iterator[Fault]:
    if not text:
        return
    try:
        parsed = urlsplit(text)
        host, _ = parsed.hostname, parsed.port
    except ValueError:
        host, parsed = None, urlsplit("")
    if parsed.scheme != "https" or not host or parsed.username is not None or parsed.fragment:
        # Plain http is for tests on one machine; the fetcher refuses it everywhere else.
        fix = "write one that begins with https:// and a host name, without user name or fragment"
        yield Fault("jwks_url", f"{text[:64]!r} is no https address", fix)

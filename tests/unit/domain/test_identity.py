from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import APPLICATION_KEY, steady, strategy
from tests.unit.tokens import jwt_source
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.identity import (
    Attributes,
    CompiledStrategy,
    Identity,
    attribute_key,
    block_key,
    is_sensitive,
    network_of,
    title_of,
)
from usageflow.domain.policies import OnMissing, Strategy
from usageflow.domain.sources import Location, Source

USER = (Location.HEADER, "X-User")


def sent(*values: str | bytes, name: str = "X-User", ip: str = "203.0.113.9") -> Attributes:
    return Attributes.of([(attribute_key(Location.HEADER, name), value) for value in values], ip)


def resolve(attributes: Attributes, declared: Strategy | None = None) -> Identity | None:
    return CompiledStrategy.of(declared or strategy()).resolve(attributes, APPLICATION_KEY)


def test_a_plain_value_is_the_identity() -> None:
    assert resolve(sent("alice")) == Identity("v:alice", "header X-User")


@pytest.mark.parametrize(
    "values",
    [(), ("",), ("  ",), ("\t\n",), ("a", "a"), ("a", "b"), ("a", ""), ("x" * 257,), ("é" * 129,)],
    ids=["absent", "empty", "blank", "control", "twice", "two", "with-empty", "long", "long-utf8"],
)
def test_what_is_missing(values: tuple[str, ...]) -> None:
    found = resolve(sent(*values))
    assert found == Identity("a:203.0.113.9", "client address", anonymous=True)


@pytest.mark.parametrize("value", ["x" * 256, "é" * 128, " a ", "0"])
def test_what_is_not_missing(value: str) -> None:
    assert resolve(sent(value)) == Identity(f"v:{value}", "header X-User")


def test_a_lone_surrogate_does_not_break_anything() -> None:
    found = resolve(sent("\udc80"))
    assert found is not None
    assert not found.anonymous
    assert resolve(sent("\udc80"), strategy(sources=[{"in": "header", "name": "X-User", "sensitive": True}]))


def test_sources_are_tried_in_order_and_a_missing_one_is_passed_over() -> None:
    declared = strategy("s", "X-First", "X-Second")
    both = Attributes.of([(("header", "x-second"), "2"), (("header", "x-first"), "1")])
    assert resolve(both, declared) == Identity("v:1", "header X-First")
    doubled = Attributes.of([(("header", "x-first"), "1")] * 2 + [(("header", "x-second"), "2")])
    assert resolve(doubled, declared) == Identity("v:2", "header X-Second")


def test_header_names_are_case_insensitive_and_query_names_are_not() -> None:
    assert resolve(sent("alice", name="x-uSeR")) == resolve(sent("alice"))
    assert attribute_key(Location.QUERY, "User") != attribute_key(Location.QUERY, "user")


def test_a_header_is_not_found_in_the_query() -> None:
    found = resolve(Attributes.of([((Location.QUERY, "x-user"), "alice")]))
    assert found is not None
    assert found.anonymous


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "X-API-Key",
        "api_key",
        "apikey",
        "X-Auth-Token",
        "client-secret",
        "Password",
    ],
)
def test_credentials_are_sensitive_without_being_marked(name: str) -> None:
    assert is_sensitive(Source.model_validate({"in": "header", "name": name}))


def test_a_marked_source_is_sensitive_and_a_plain_one_is_not() -> None:
    assert is_sensitive(Source.model_validate({"in": "header", "name": "X-User", "sensitive": True}))
    assert not is_sensitive(Source.model_validate({"in": "header", "name": "X-User"}))


@steady
@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_a_value_that_the_client_hashed_is_the_same_identity_as_the_raw_one(value: str) -> None:
    declared = strategy("by-key", "X-API-Key")
    raw = resolve(sent(value, name="X-API-Key"), declared)
    hashed = resolve(sent(keyed_hash(APPLICATION_KEY, value), name="X-API-Key"), declared)
    assert raw == hashed
    assert raw is not None
    assert value not in raw.key or len(value) < 3
    assert raw.key == "h:" + keyed_hash(APPLICATION_KEY, value).hex()


@steady
@given(st.text(min_size=1, max_size=100), st.binary(min_size=32, max_size=32), st.ip_addresses())
def test_kinds_of_identities_never_collide(plain: str, hashed: bytes, ip: object) -> None:
    kinds = [
        resolve(sent(value, ip=str(ip))) for value in (plain, f"h:{hashed.hex()}", f"a:{ip}", "a:", hashed)
    ]
    missing = resolve(sent(ip=str(ip)))
    shared = resolve(sent(), strategy(on_missing=OnMissing.ANONYMOUS_SHARED))
    assert missing is not None
    assert shared is not None
    keys = {found.key for found in kinds[:4] if found is not None and not found.anonymous}
    assert all(key.startswith("v:") for key in keys)
    assert kinds[4] is not None
    assert kinds[4].key == f"h:{hashed.hex()}"
    assert keys.isdisjoint({kinds[4].key, missing.key, shared.key})


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
        ("garbage", ""),
        ("", ""),
        ("203.0.113.9:80", ""),
        ("203.0.113.0/24", ""),
    ],
)
def test_what_tells_anonymous_callers_apart(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("on_missing", "key"),
    [(OnMissing.ANONYMOUS_PER_IP, "a:2001:db8::/64"), (OnMissing.ANONYMOUS_SHARED, "a:")],
)
def test_an_anonymous_caller_has_a_key(on_missing: OnMissing, key: str) -> None:
    found = resolve(sent(ip="2001:db8::1"), strategy(on_missing=on_missing))
    assert found is not None
    assert (found.key, found.anonymous) == (key, True)


@pytest.mark.parametrize("on_missing", [OnMissing.DENY, OnMissing.SKIP])
def test_deny_and_skip_yield_nobody(on_missing: OnMissing) -> None:
    assert resolve(sent(), strategy(on_missing=on_missing, allow_unlimited=True)) is None


def test_titles_are_what_people_read() -> None:
    assert title_of("v:user:1") == "user:1"
    assert title_of("h:" + "ab" * 32) == "hash:abababababab"
    assert title_of("a:203.0.113.9") == "anonymous:203.0.113.9"
    assert Identity("v:alice", "header X-User").title == "alice"


def test_a_block_of_a_raw_value_finds_the_plain_and_the_hashed_identity() -> None:
    hashed = keyed_hash(APPLICATION_KEY, "alice").hex()
    assert block_key("v:alice", APPLICATION_KEY) == hashed
    assert block_key(f"h:{hashed}", APPLICATION_KEY) == hashed


PARTS = {
    "header": {"in": "header", "name": "X-Org"},
    "query": {"in": "query", "name": "org"},
    "path": {"in": "path", "name": "org"},
    "body": {"in": "body", "name": "org.id"},
    "context": {"in": "context", "name": "org"},
}


def keys_of(declared: Strategy) -> list[tuple[str, str]]:
    return [part.key for part in CompiledStrategy.of(declared).parts]


@pytest.mark.parametrize(
    ("part", "verified"), [*((part, part["in"] == "context") for part in PARTS.values())], ids=list(PARTS)
)
def test_every_location_yields_an_identity(part: dict[str, object], verified: bool) -> None:
    declared = strategy("s", sources=[part])
    (key,) = keys_of(declared)
    for found in ("o1", "1", "true"):
        who = resolve(Attributes.of([(key, found)]), declared)
        assert who == Identity(f"v:{found}", f"{part['in']} {part['name']}", verified=verified)
    for missing in ((), ("",), ("a", "a"), ("x" * 257,)):
        nobody = resolve(Attributes.of([(key, value) for value in missing]), declared)
        assert nobody is not None
        assert nobody.anonymous


def test_a_cookie_is_kept_as_a_hash() -> None:
    who = resolve(
        Attributes.of([(("cookie", "sid"), "s1")]), strategy("s", sources=[{"in": "cookie", "name": "sid"}])
    )
    assert who == Identity("h:" + keyed_hash(APPLICATION_KEY, "s1").hex(), "cookie sid")


def test_the_clients_address_is_an_identity_of_its_network() -> None:
    declared = strategy("s", sources=[{"in": "client_ip"}])
    assert resolve(sent(ip="2001:db8:1:2:3::4"), declared) == Identity("v:2001:db8:1:2::/64", "client_ip")
    # What a client sends for it is not read: the address of the request is.
    assert resolve(Attributes.of([(("client_ip", ""), "9.9.9.9")], "192.0.2.1"), declared) == Identity(
        "v:192.0.2.1", "client_ip"
    )
    nowhere = resolve(sent(ip=""), declared)
    assert nowhere is not None
    assert nowhere.anonymous


def test_claims_are_values_too() -> None:
    declared = strategy("s", sources=[jwt_source()])
    (part,) = CompiledStrategy.of(declared).parts
    assert part.rules is not None
    claim: object
    for claim, key in (("alice", "v:alice"), (7, "v:7"), (True, "v:true"), (1.5, "v:1.5")):
        read = Attributes(claims={part.rules.rules_id: {"sub": claim}})
        assert resolve(read, declared) == Identity(key, "jwt sub", verified=True)
    for claim in (None, "", " ", ["a"], {"a": 1}, "x" * 257):
        read = Attributes(claims={part.rules.rules_id: {"sub": claim}}, client_ip="192.0.2.1")
        assert resolve(read, declared) == Identity("a:192.0.2.1", "client address", anonymous=True)
    other = Attributes(claims={"rules of another source": {"sub": "mallory"}}, client_ip="192.0.2.1")
    assert resolve(other, declared) == Identity("a:192.0.2.1", "client address", anonymous=True)


def test_an_unverified_claim_is_claimed_and_so_is_a_join_with_one() -> None:
    def verified(*sources: Mapping[str, object]) -> list[bool]:
        return [each.verified for each in CompiledStrategy.of(strategy("s", sources=list(sources))).sources]

    both = {"join": [jwt_source(), {"in": "context", "name": "org"}]}
    half = {"join": [jwt_source(), {"in": "header", "name": "X-Org"}]}
    assert verified(both, half, jwt_source(allow_unverified=True)) == [True, False, False]


TWO = strategy("s", sources=[{"join": [PARTS["header"], PARTS["query"]]}])


def pair(first: str | bytes, second: str | bytes) -> Attributes:
    return Attributes.of([(("header", "x-org"), first), (("query", "org"), second)], "192.0.2.1")


def test_a_join_needs_all_of_its_fields() -> None:
    assert resolve(pair("acme", "alice"), TWO) == Identity("v:acme:alice", "header X-Org + query org")
    for attributes in (pair("", "alice"), pair("acme", ""), Attributes.of([(("query", "org"), "alice")])):
        nobody = resolve(attributes, TWO)
        assert nobody is not None
        assert nobody.anonymous
    too_long = resolve(pair("x" * 200, "y" * 200), TWO)
    assert too_long is not None
    assert too_long.anonymous


texts = st.text(alphabet="ab:%#3A25", min_size=1, max_size=12)


@steady
@given(texts, texts, texts, texts)
def test_joined_keys_cannot_be_forged(a: str, b: str, c: str, d: str) -> None:
    first, second = resolve(pair(a, b), TWO), resolve(pair(c, d), TWO)
    assert ((a, b) == (c, d)) == (first == second)


def test_a_join_with_a_secret_is_the_same_hash_whether_the_client_hashed_it_or_not() -> None:
    declared = strategy("s", sources=[{"join": [PARTS["header"], {"in": "cookie", "name": "sid"}]}])
    raw = Attributes.of([(("header", "x-org"), "acme"), (("cookie", "sid"), "s1")])
    hashed = Attributes.of(
        [(("header", "x-org"), "acme"), (("cookie", "sid"), keyed_hash(APPLICATION_KEY, "s1"))]
    )
    found = resolve(raw, declared)
    assert found == resolve(hashed, declared)
    assert found is not None
    assert found.key.startswith("h:")
    forged = resolve(Attributes.of([(("header", "x-org"), "acme"), (("cookie", "sid"), "s2")]), declared)
    assert forged != found

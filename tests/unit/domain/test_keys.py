from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.keys import display_prefix, hash_of, is_well_formed, make_key

secrets = st.binary(min_size=32, max_size=32)
KEY = make_key("uf_live_", bytes(range(32)))


@steady
@given(st.sampled_from(["uf_test_", "uf_live_", "uf_admin_"]), secrets)
def test_made_keys_are_well_formed_and_of_one_length(prefix: str, secret: bytes) -> None:
    key = make_key(prefix, secret)
    assert is_well_formed(key)
    assert key.startswith(prefix)
    assert len(key) == len(prefix) + 49


@steady
@given(secrets, secrets)
def test_different_secrets_make_different_keys(one: bytes, other: bytes) -> None:
    assert (make_key("uf_live_", one) == make_key("uf_live_", other)) == (one == other)


@steady
@given(st.integers(8, 56), st.sampled_from("0aZ"))
def test_a_mistyped_character_is_noticed(at: int, typed: str) -> None:
    mistyped = KEY[:at] + typed + KEY[at + 1 :]
    assert is_well_formed(mistyped) == (mistyped == KEY)


@pytest.mark.parametrize(
    "key",
    ["", KEY + "\n", " " + KEY, KEY[:-1], KEY + "0", KEY.replace("uf_live_", "uf_test_"), "YOUR_API_KEY"],
)
def test_what_is_no_key(key: str) -> None:
    assert not is_well_formed(key)


def test_only_the_sha256_and_a_prefix_are_kept() -> None:
    assert hash_of(KEY) == hashlib.sha256(KEY.encode()).digest()
    assert display_prefix(KEY) == KEY[:12]
    assert display_prefix(make_key("uf_admin_", bytes(32))) == "uf_admin_0000"

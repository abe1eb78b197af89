"""The contract of IdentityStore."""

from __future__ import annotations

from tests.contract.conftest import Stores
from tests.contract.test_event_store import event, store
from usageflow.domain.hashing import keyed_hash
from usageflow.storage.identities import IdentityStore
from usageflow.storage.ports import UsageStore

KEY = bytes(range(32))


def hash_of(text: str) -> bytes:
    return keyed_hash(KEY, text)


async def test_identities_are_found_by_hash_plain_ones_too(
    identities: IdentityStore, usage: UsageStore, application_id: str
) -> None:
    keys = ["v:ann", "v:bob", f"h:{hash_of('cid').hex()}", "a:1.2.3.4", "v:ü", ""]
    await store(usage, application_id, *(event(f"e{key}", identity=key) for key in keys))
    wanted = {hash_of(text) for text in ("ann", "cid", "ü", "1.2.3.4", "nobody")}
    found = await identities.find(application_id, wanted, KEY)
    assert [(each.key, each.hash) for each in found] == [
        (keys[2], hash_of("cid")),
        ("v:ann", hash_of("ann")),
        ("v:ü", hash_of("ü")),
    ]
    assert len({each.pseudonym for each in found} - {0}) == 3
    assert await identities.find(application_id, set(), KEY) == []
    assert await identities.find("another", wanted, KEY) == []


async def test_pseudonyms_lead_to_keys_until_they_are_forgotten(
    stores: Stores, identities: IdentityStore, usage: UsageStore, application_id: str
) -> None:
    await store(usage, application_id, *(event(f"e{key}", identity=key) for key in ("v:ann", "v:ü", "")))
    found = await identities.find(application_id, {hash_of("ann"), hash_of("ü")}, KEY)
    known = {each.pseudonym: each.key for each in found}
    assert await identities.keys_of(application_id, [0, 5, *known, *known]) == known
    many = [*known, *range(10**6, 10**6 + 1_200)]
    assert await identities.keys_of(application_id, many) == known
    assert await identities.keys_of(application_id, []) == {}
    assert await identities.keys_of("another", list(known)) == {}
    await stores.forget_identities()
    assert await identities.keys_of(application_id, list(known)) == {}

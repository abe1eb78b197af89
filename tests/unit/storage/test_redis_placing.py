from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import limit, policy, snapshot
from usageflow.domain.policies import Scope
from usageflow.domain.usage import EndpointName
from usageflow.storage.redis.placing import PARTITIONS, is_shared, partition_of, slot_of

ENDPOINT = EndpointName("GET", "/a/{b}")


def keys_of(identity: str) -> dict[Scope, str]:
    """A counter's key per scope, as snapshots write them."""
    limits = [limit(5, scope=scope, name=scope.lower().replace("_", "-")) for scope in Scope]
    compiled = snapshot(policy("p", strategy="by-user", limits=limits))
    return {each.scope: each.key(identity, ENDPOINT) for found in compiled.policies for each in found.limits}


@given(identity=st.text(min_size=1).map("v:{}".format))
def test_all_limits_of_an_identity_share_a_partition(identity: str) -> None:
    keys = keys_of(identity)
    assert partition_of(keys[Scope.IDENTITY]) == partition_of(keys[Scope.IDENTITY_AND_ENDPOINT])
    assert {scope: is_shared(key) for scope, key in keys.items()} == {
        Scope.IDENTITY: False,
        Scope.IDENTITY_AND_ENDPOINT: False,
        Scope.SHARED: True,
    }


def test_partitions_never_change() -> None:
    # Other numbers would start every counter anew.
    assert PARTITIONS == 256
    assert [partition_of(key) for key in ("k", "a|b|v:ann", "a|GET /x\x1fv:ann", "p|SHARED")] == [
        93,
        214,
        214,
        56,
    ]
    assert [slot_of(number) for number in (0, 1, 255)] == [15882, 11819, 13606]


def test_identities_and_shared_limits_are_spread() -> None:
    assert len({partition_of(f"app|p|v:user-{n}") for n in range(10_000)}) == PARTITIONS
    assert len({partition_of(f"app|p{n}|SHARED") for n in range(2_000)}) > PARTITIONS * 0.95
    slots = [slot_of(number) for number in range(PARTITIONS)]
    assert len(set(slots)) == PARTITIONS
    for size in (3, 6, 12):
        shares = [sum(slot * size // 16_384 == node for slot in slots) for node in range(size)]
        assert max(shares) <= 1.6 * PARTITIONS / size

from __future__ import annotations

import pytest

from admin.exporting import PIECE_BYTES, Exporting, SnapshotText
from tests.causes import NOBODY
from tests.unit.fakes import APPLICATION_KEY, HASH_KEY, KEY_OF, FakeControl, limit, policy, strategy
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import NotFound
from usageflow.domain.policies import PolicySet
from usageflow.storage.file import decode

POLICIES = PolicySet(
    strategies=(strategy(),), policies=(policy("p", "/a", limits=[limit(1)], strategy="by-user"),)
)
KEY = Credential("c-1", CredentialKind.API_KEY, "", "uf_test_abcd", bytes(32))


@pytest.fixture
async def control() -> FakeControl:
    made = FakeControl()
    application = await made.create_application("demo", [KEY], cause=NOBODY)
    made.set(application.application_id, POLICIES)
    made.add(name="other")
    return made


async def test_a_file_holds_one_application_with_its_own_key(control: FakeControl) -> None:
    snapshot = await Exporting(control, KEY_OF).export("demo")
    (exported,) = decode(snapshot.data)
    assert snapshot.revision == exported.state.application.revision
    assert exported.state == control.states[exported.state.application.application_id]
    assert exported.hash_key == APPLICATION_KEY
    assert [key.secret_hash for key in exported.api_keys] == [KEY.secret_hash]
    assert HASH_KEY.hex().encode() not in snapshot.data


async def test_an_unknown_application_is_not_found(control: FakeControl) -> None:
    with pytest.raises(NotFound):
        await Exporting(control, KEY_OF).export("nobody")


def test_pieces_fit_into_messages_and_make_the_file() -> None:
    data = bytes(range(256)) * 10_000
    pieces = list(SnapshotText(1, data).pieces)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == PIECE_BYTES

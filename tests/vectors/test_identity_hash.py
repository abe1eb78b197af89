from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.domain.hashing import derive_key, display, keyed_hash
from usageflow.vectors.v1.vectors_pb2 import HashCase, HashFile

CASES = [case for file in files("identity_hash", HashFile) for case in file.cases]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_identity_hash(case: HashCase) -> None:
    key = derive_key(bytes.fromhex(case.hash_key_hex), case.application)
    hashed = keyed_hash(key, case.value)
    assert key.hex() == case.want_application_key_hex
    assert hashed.hex() == case.want_hash_hex
    assert display(hashed) == case.want_display

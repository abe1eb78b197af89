from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.keys import is_well_formed
from usageflow.runtime.credentials import (
    FILE_NAME,
    Credentials,
    at_address,
    new_credentials,
    read_credentials,
    write_credentials,
)
from usageflow.runtime.resources import latency_boundaries, read_resource


def test_what_is_written_is_read_back_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    made = new_credentials("127.0.0.1:50051")
    write_credentials(tmp_path, made)
    assert read_credentials(tmp_path) == made
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_new_credentials_are_random_and_well_formed() -> None:
    one, other = new_credentials("a"), new_credentials("a")
    assert is_well_formed(one.api_key)
    assert is_well_formed(one.admin_token)
    assert len(bytes.fromhex(one.hash_key)) == 32
    assert len({one.api_key, one.admin_token, one.hash_key, other.api_key, other.hash_key}) == 5


def test_secrets_are_not_shown() -> None:
    made = new_credentials("a")
    assert made.api_key not in repr(made)
    assert made.hash_key not in f"{made}"


def test_another_address_keeps_the_secrets(tmp_path: Path) -> None:
    made = new_credentials("a")
    write_credentials(tmp_path, made)
    write_credentials(tmp_path, at_address(made, "b"))
    found = read_credentials(tmp_path)
    assert found is not None
    assert (found.address, found.api_key, found.hash_key) == ("b", made.api_key, made.hash_key)


def test_a_folder_without_the_file_has_none(tmp_path: Path) -> None:
    assert read_credentials(tmp_path) is None


GOOD = 'address = "a"\napi_key = "k"\nadmin_token = "t"\n'


@pytest.mark.parametrize(
    "content",
    [b"", b"address = ", b"\xff\xfe", GOOD.encode(), (GOOD + 'hash_key = "xyz"').encode()],
    ids=["empty", "cut", "binary", "without-hash-key", "no-hex"],
)
def test_a_broken_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(FailedPrecondition, match="restore it from a copy") as error:
        read_credentials(tmp_path)
    assert error.value.reason == "CREDENTIALS_BROKEN"


def test_what_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(FailedPrecondition):
        read_credentials(tmp_path)


@steady
@given(st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=30))
def test_any_address_survives(tmp_path_factory: pytest.TempPathFactory, address: str) -> None:
    folder = tmp_path_factory.mktemp("data")
    made = Credentials(address, "k", "t", "ab")
    write_credentials(folder, made)
    assert read_credentials(folder) == made


def test_files_of_the_repository_are_found() -> None:
    assert "policies:" in read_resource("examples/usageflow.yaml")
    with pytest.raises(FileNotFoundError):
        read_resource("no/such/file")


def test_latency_boundaries_rise_to_the_last_bucket() -> None:
    boundaries = latency_boundaries()
    assert len(boundaries) == 1112
    assert boundaries[0] == 1
    assert list(boundaries) == sorted(boundaries)

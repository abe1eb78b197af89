"""How a snapshot file is followed: good ones at once, bad ones never. What it offers is shown by tests/contract."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.fakes import APPLICATION_KEY, limit, policy
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.policies import PolicySet
from usageflow.expressions import check
from usageflow.storage.file import Exported, FileControlStore, encode, replace_file
from usageflow.storage.ports import Application, ApplicationState

KEY = Credential("c-1", CredentialKind.API_KEY, "app-1", "uf_test_abcd", bytes(32), application="demo")


def exported(version: int = 1, number: int = 5, keys: tuple[Credential, ...] = (KEY,)) -> Exported:
    policies = PolicySet(policies=(policy("p", limits=[limit(number, scope="SHARED")]),))
    application = Application("app-1", "demo", version, version)
    return Exported(ApplicationState(application, policies, (), {}, ()), APPLICATION_KEY, keys)


class Desk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(exported())
        self.store = FileControlStore.open(path)

    def write(self, item: Exported) -> None:
        replace_file(self.path, [encode([item])])

    async def version(self) -> int:
        """The version in force, after a look at the file."""
        return (await self.store.plan_versions())["app-1"]

    async def refusals(self) -> list[str]:
        with capture_logs() as logs:
            await self.store.plan_versions()
        return [str(line["error"]) for line in logs if line["log_level"] == "warning"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "snapshot.json")


async def test_a_replaced_file_is_in_force_with_the_next_look(desk: Desk) -> None:
    desk.write(exported(2, 6, keys=()))
    assert await desk.version() == 2
    assert (await desk.store.load("app-1")).policies == exported(2, 6).state.policies
    assert await desk.store.find_credential(KEY.secret_hash) is None


async def test_an_unchanged_file_is_not_read_again(desk: Desk) -> None:
    before = await desk.store.load("app-1")
    await desk.version()
    assert await desk.store.load("app-1") is before


async def test_an_older_version_may_come_back(desk: Desk) -> None:
    desk.write(exported(3))
    assert await desk.version() == 3
    desk.write(exported(2))
    assert await desk.version() == 2


async def test_keys_change_without_a_new_plan_version(desk: Desk) -> None:
    desk.write(exported(keys=()))
    assert await desk.version() == 1
    assert await desk.store.find_credential(KEY.secret_hash) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"format": 2}', b'{"format": 1, "applications": []}', b"\xff"]
)
async def test_a_bad_file_never_replaces_a_good_one_and_is_told_once(desk: Desk, content: bytes) -> None:
    desk.path.write_bytes(content)
    (told,) = await desk.refusals()
    assert str(desk.path) in told
    assert "usageflow snapshot -o" in told
    assert await desk.refusals() == []
    assert await desk.version() == 1
    assert await desk.store.find_credential(KEY.secret_hash) == KEY
    desk.write(exported(2))
    assert await desk.version() == 2


async def test_a_missing_file_changes_nothing_and_may_come_back(desk: Desk) -> None:
    desk.path.unlink()
    (told,) = await desk.refusals()
    assert "no such file" in told
    assert await desk.refusals() == []
    assert await desk.version() == 1
    desk.write(exported(2))
    assert await desk.version() == 2


async def test_one_version_has_one_content(desk: Desk) -> None:
    desk.write(exported(1, 6))
    (told,) = await desk.refusals()
    assert "plan version 1" in told
    desk.write(replace(exported(), hash_key=bytes(32)))
    assert len(await desk.refusals()) == 1
    desk.write(exported())
    assert await desk.refusals() == []


def refused(path: Path) -> str:
    with pytest.raises(FailedPrecondition) as error:
        FileControlStore.open(path)
    assert error.value.reason == "SNAPSHOT_UNUSABLE"
    return str(error.value)


def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none")
    assert "is a directory" in refused(tmp_path)
    (tmp_path / "bad").write_bytes(encode([exported()]).replace(b'"1h"', b'"1y"', 1))
    sentence = refused(tmp_path / "bad")
    assert "applications[0].policies[0].limits[0].window" in sentence
    assert "\n" not in sentence


def test_of_many_faults_a_few_are_told(tmp_path: Path) -> None:
    bad = encode([exported()]).replace(b'"policies":[', b'"policies":[' + b"{}," * 10)
    (tmp_path / "bad").write_bytes(bad)
    assert "more" in refused(tmp_path / "bad")


def test_a_file_is_its_owners_alone_and_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise FailedPrecondition("the stream broke")

    with pytest.raises(FailedPrecondition):
        replace_file(path, broken())
    assert path.read_bytes() == b"old"
    assert replace_file(path, [b"a", b"bc"]) == 3
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"abc", 0o600)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - names are what counts


async def test_expressions_are_checked_by_whoever_knows_them(tmp_path: Path) -> None:
    path, good = tmp_path / "snapshot.json", exported()

    def conditional(version: int, condition: str) -> Exported:
        application = Application("app-1", "demo", version, version)
        policies = PolicySet(policies=(policy("p", condition=condition, cost="size(request.path)"),))
        return replace(good, state=replace(good.state, application=application, policies=policies))

    replace_file(path, [encode([conditional(1, "request.method == 'GET'")])])
    with pytest.raises(FailedPrecondition, match="expressions cannot be checked here"):
        FileControlStore.open(path)
    store = FileControlStore.open(path, check)
    assert (await store.load("app-1")).policies.policies[0].cost_expression == "size(request.path)"
    replace_file(path, [encode([conditional(2, "nobody")])])
    assert await store.plan_versions() == {"app-1": 1}
    replace_file(path, [encode([conditional(2, "true")])])
    assert await store.plan_versions() == {"app-1": 2}

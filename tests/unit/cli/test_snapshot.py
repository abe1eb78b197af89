from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.unit.cli.conftest import Run, Service
from usageflow.v1 import admin_pb2


def piece(data: bytes) -> admin_pb2.ExportSnapshotResponse:
    return admin_pb2.ExportSnapshotResponse(data=data, revision=7)


def test_the_pieces_become_a_file_of_its_owner_alone(service: Service, run: Run, tmp_path: Path) -> None:
    service.will("ExportSnapshot", [piece(b"ab"), piece(b"c")])
    result = run("snapshot", "-o", "out.json", "--application", "shop")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "shop: revision 7, 3 bytes in out.json\n"
    path = tmp_path / "out.json"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"abc", 0o600)
    ((_, request, metadata),) = service.calls
    assert request == admin_pb2.ExportSnapshotRequest(application="shop")
    assert metadata["authorization"] == "Bearer uf_admin_token"


def test_json(service: Service, run: Run) -> None:
    service.will("ExportSnapshot", [piece(b"abc")])
    result = run("snapshot", "-o", "out.json", "--output", "json")
    expected = {"application": "demo", "revision": 7, "file": "out.json", "bytes": 3}
    assert json.loads(result.stdout) == expected


def test_half_a_stream_leaves_the_old_file(service: Service, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")

    def broken(_: object) -> Iterator[admin_pb2.ExportSnapshotResponse]:
        yield piece(b"half")
        raise ConnectionError

    service.will("ExportSnapshot", broken)
    result = run("snapshot", "-o", "out.json")
    assert result.exit_code == 1
    assert (tmp_path / "out.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_refusal_is_one_sentence(service: Service, run: Run, tmp_path: Path) -> None:
    service.fails("ExportSnapshot", grpc.StatusCode.NOT_FOUND, "there is no application 'demo'")
    result = run("snapshot", "-o", "out.json")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "application" in result.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("name", ["none/out.json", "."])
def test_what_cannot_be_written_is_one_sentence(service: Service, run: Run, name: str) -> None:
    service.will("ExportSnapshot", [piece(b"abc")])
    result = run("snapshot", "-o", name)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "cannot write" in result.stderr


def test_a_key_goes_to_no_pipe(run: Run) -> None:
    result = run("snapshot", "-o", "-")
    assert result.exit_code == 2
    assert "name a file" in result.stderr


def test_only_decisions_are_served_from_a_file(bare: Run) -> None:
    result = bare("serve", "all", "--snapshot", "x")
    assert result.exit_code == 2
    assert "serve decision --snapshot FILE" in result.stderr

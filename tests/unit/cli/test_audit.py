from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.cli.conftest import Run, Service
from tests.unit.fakes import steady
from usageflow.cli.audit_chain import ChainFollower, Head, from_line, to_line
from usageflow.domain.audit import GENESIS, AuditEntry, ChainedEntry, chained
from usageflow.v1 import audit_pb2

ENTRY = AuditEntry(
    1, 1_700_000_000_000_000, "id-1", "ipv4:10.0.0.1:9", "Apply", "a", "CREATED", "policy", "p", 7, ""
)


def chain(length: int) -> list[ChainedEntry]:
    return list(chained(GENESIS, [replace(ENTRY, sequence=number) for number in range(1, length + 1)]))


def message(link: ChainedEntry) -> audit_pb2.AuditEntry:
    return audit_pb2.AuditEntry(**asdict(link.entry), digest=link.digest, actor="owner", application="demo")


def pages(
    links: Sequence[ChainedEntry], head: ChainedEntry | None = None, size: int = 2
) -> list[audit_pb2.ListAuditEntriesResponse]:
    """The log in pages; ``head``: what the service says is the newest entry, where it is not the last one."""
    cut = [links[start : start + size] for start in range(0, len(links), size)] or [[]]
    newest = head or (links[-1] if links else None)
    return [
        audit_pb2.ListAuditEntriesResponse(
            entries=map(message, each),
            next_page_token="more" if number < len(cut) else "",
            head_sequence=newest.entry.sequence if newest else 0,
            head_digest=newest.digest if newest else GENESIS,
        )
        for number, each in enumerate(cut, start=1)
    ]


def test_a_whole_log_prints_its_head(service: Service, run: Run) -> None:
    links = chain(5)
    service.will("ListAuditEntries", *pages(links))
    result = run("audit", "verify", "--output", "json")
    head = f"5:{links[-1].digest.hex()}"
    assert json.loads(result.stdout) == {"whole": True, "entries": 5, "head": head}
    assert len(service.calls) == 3
    service.will("ListAuditEntries", *pages(chain(7)))
    again = run("audit", "verify", "--expect", head)
    assert (again.exit_code, again.stdout.startswith("7 entries, none changed")) == (0, True)


def test_an_empty_log_is_whole(service: Service, run: Run) -> None:
    service.will("ListAuditEntries", *pages([]))
    assert run("audit", "verify").exit_code == 0


def _changed(links: list[ChainedEntry]) -> list[ChainedEntry]:
    return [*links[:2], replace(links[2], entry=replace(links[2].entry, peer="x")), *links[3:]]


def _removed(links: list[ChainedEntry]) -> list[ChainedEntry]:
    return [*links[:2], *links[3:]]


def _inserted(links: list[ChainedEntry]) -> list[ChainedEntry]:
    return [*links[:2], links[1], *links[2:]]


def _truncated(links: list[ChainedEntry]) -> list[ChainedEntry]:
    return links[:2]


@pytest.mark.parametrize("tamper", [_changed, _removed, _inserted, _truncated])
def test_whatever_was_done_to_it_is_found(
    service: Service, run: Run, tamper: Callable[[list[ChainedEntry]], list[ChainedEntry]]
) -> None:
    links = chain(5)
    service.will("ListAuditEntries", *pages(tamper(links), head=links[-1], size=9))
    result = run("audit", "verify", "--output", "json")
    assert result.exit_code == 1
    assert "entry 3 " in result.stderr
    told = json.loads(result.stdout)
    assert (told["whole"], told["broken_at"], told["entries"]) == (False, 3, 2)


def test_a_log_that_was_written_anew_is_found_by_who_kept_its_head(service: Service, run: Run) -> None:
    links = chain(5)
    kept = f"4:{links[3].digest.hex()}"
    anew = list(chained(GENESIS, [replace(link.entry, actor_id="other") for link in links]))
    for forged in (anew, links[:3]):
        service.will("ListAuditEntries", *pages(forged, size=9))
        assert run("audit", "verify").exit_code == 0
        service.will("ListAuditEntries", *pages(forged, size=9))
        result = run("audit", "verify", "--expect", kept)
        assert result.exit_code == 1
        assert "entry 4 " in result.stderr


def test_what_is_exported_is_verified_without_the_service(
    service: Service, run: Run, bare: Run, tmp_path: Path
) -> None:
    links = chain(4)
    service.will("ListAuditEntries", *pages(links))
    exported = run("audit", "export").stdout
    (tmp_path / "log.jsonl").write_text(exported)
    result = bare("audit", "verify", "--from", "log.jsonl")
    assert (result.exit_code, result.stdout.split()[-1]) == (0, f"4:{links[-1].digest.hex()}")
    (tmp_path / "log.jsonl").write_text(exported.replace('"revision": 7', '"revision": 8', 1))
    assert "entry 1 was changed" in bare("audit", "verify", "--from", "log.jsonl").stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"nonsense\n", "line 1 of"), (b"\xff\n", "not UTF-8"), (None, "cannot read")],
)
def test_a_file_that_is_no_log_is_one_sentence(
    bare: Run, tmp_path: Path, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "log.jsonl").write_bytes(content)
    result = bare("audit", "verify", "--from", "log.jsonl")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert told in result.stderr


def test_the_list_says_who_and_asks_for_what_was_asked(service: Service, run: Run) -> None:
    service.will("ListAuditEntries", *pages(chain(3)))
    result = run("audit", "list", "--since", "7d", "--kind", "policy", "--actor", "owner", "--output", "json")
    rows = json.loads(result.stdout)
    assert [row["sequence"] for row in rows] == [1, 2, 3]
    assert (rows[0]["actor"], rows[0]["application"], rows[0]["time"]) == (
        "owner",
        "demo",
        "2023-11-14T22:13:20Z",
    )
    assert (service.requests[0].kind, service.requests[0].actor) == ("policy", "owner")
    service.will("ListAuditEntries", *pages(chain(3)))
    limited = run("audit", "list", "--limit", "2")
    assert "first 2" in limited.stderr


@pytest.mark.parametrize(
    "args",
    [["verify", "--expect", "5"], ["verify", "--expect", "0:" + "0" * 64], ["list", "--since", "soon"]],
)
def test_wrong_usage(run: Run, service: Service, args: list[str]) -> None:
    assert run("audit", *args).exit_code == 2
    assert service.calls == []


entries = st.builds(
    AuditEntry,
    sequence=st.integers(1, 2**62),
    at_us=st.integers(0, 2**62),
    revision=st.integers(0, 2**62),
    **{name: st.text() for name in ("actor_id", "peer", "method", "application_id", "action", "kind")},
    resource_id=st.text(),
    request_id=st.text(),
)


@steady
@given(entries, st.binary(min_size=32, max_size=32))
def test_a_line_is_read_as_it_was_written(entry: AuditEntry, digest: bytes) -> None:
    link = ChainedEntry(entry, digest)
    line = to_line(link)
    assert "\n" not in line
    assert from_line(line) == link


lines = st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*asdict(ENTRY), "digest"]), inner)
    ),
).map(json.dumps)


@steady
@example("[" * 100_000)
@example(to_line(chain(1)[0]).replace('"p"', '"\\ud800"'))
@given(lines)
def test_no_line_is_more_than_a_mistake(line: str) -> None:
    try:
        found = from_line(line)
    except ValueError:
        return
    ChainFollower().follow([found])


@steady
@given(st.integers(0, 8), st.lists(st.integers(0, 9), max_size=3), st.data())
def test_only_what_is_there_as_it_was_is_whole(length: int, kept: Iterable[int], data: st.DataObject) -> None:
    """Whoever keeps heads of a chain is told of every other chain."""
    links = chain(length)
    heads = [Head(n, links[n - 1].digest) for n in kept if 0 < n <= length]
    present: list[Any] = data.draw(st.sampled_from([links, links[: length // 2], chain(length + 1)]))
    follower = ChainFollower()
    follower.expect(heads)
    follower.follow(present)
    assert (follower.end() is None) == all(head.sequence <= len(present) for head in heads)

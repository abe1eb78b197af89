"""What editors and big applications rely on: nobody's change is lost, and 10,000 policies are still quick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import grpc
import yaml
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, Phase, given, settings

from tools.processes import Service
from tools.prove.admin_calls import ADMIN, DECISION, Caller, caller, error_info
from tools.prove.fuzzing import WORDS, requests
from tools.prove.showing import NotShown, ensure
from usageflow.expressions import check
from usageflow.policyfile import PolicyFileError, load
from usageflow.v1.policies_pb2 import Match, Policy

WRITERS = 50
PAGE_S = 0.050
APPLY_S = 10.0
CASES = 10_000


@dataclass(frozen=True, slots=True)
class Big:
    """How many policies and strategies are applied at once, and how many pages each question is asked for."""

    policies: int = 10_000
    strategies: int = 1_000
    rounds: int = 20


def editors(folder: Path) -> str:
    """Two editors race on one policy: one wins, the other gets ABORTED and the present etag; 50 concurrent writers lose no revision."""
    with Service(folder / "data") as service:
        address = service.wait_ready()
        return show_editors(address, service.credentials["admin_token"], races=50)


def show_editors(address: str, token: str, *, races: int) -> str:
    """Returns the figure for a running service. Raises NotShown."""
    with caller(address, token) as admin, ThreadPoolExecutor(WRITERS) as threads:
        admin.call("CreatePolicy", application="demo", policy=_policy("raced"))
        for number in range(races):
            _race(admin, threads, number)
        before = admin.call("GetRevision", application="demo").revision.revision
        made = list(
            threads.map(
                lambda number: admin.call(
                    "CreatePolicy", application="demo", policy=_policy(f"writer-{number}")
                ),
                range(WRITERS),
            )
        )
        _ensure_none_lost(admin, before, [each.revision for each in made])
    return (
        f"in {races} races one editor won and the other was ABORTED with the present etag; "
        f"{WRITERS} writers at once made revisions {before + 1} to {before + WRITERS}, each with its policy and no other change"
    )


def _race(admin: Caller, threads: ThreadPoolExecutor, number: int) -> None:
    present = admin.call("GetPolicy", application="demo", name="raced")
    mask = FieldMask(paths=["message"])

    def edit(editor: str) -> Any:
        wanted = _policy("raced", message=f"{editor} {number}")
        try:
            return admin.call(
                "UpdatePolicy", application="demo", policy=wanted, update_mask=mask, etag=present.etag
            )
        except grpc.RpcError as error:
            return error

    answers = list(threads.map(edit, ("ann", "bob")))
    lost = [each for each in answers if isinstance(each, grpc.RpcError)]
    won = [each for each in answers if not isinstance(each, grpc.RpcError)]
    ensure(len(won) == 1 and len(lost) == 1, f"race {number}: {len(won)} of two editors won")
    now = admin.call("GetPolicy", application="demo", name="raced")
    code: Any = lost[0]
    info = error_info(lost[0])
    ensure(code.code() is grpc.StatusCode.ABORTED, f"the other got {code.code()}")
    ensure(info is not None and info.metadata["etag"] == won[0].etag == now.etag, "the etag told is another")
    ensure(now.message == won[0].message, "the winner's change is not in force")


def _ensure_none_lost(admin: Caller, before: int, revisions: list[int]) -> None:
    wanted = list(range(before + 1, before + WRITERS + 1))
    ensure(sorted(revisions) == wanted, f"revisions {sorted(revisions)} instead of {wanted}")
    for number in wanted:
        diff = admin.call("DiffRevisions", application="demo", to_revision=str(number))
        ensure(len(diff.differences) == 1, f"revision {number} changed {len(diff.differences)} things")


def bulk(folder: Path) -> str:
    """10,000 policies and 1,000 strategies are applied from YAML in one revision in under 10 s on SQLite; every page of their lists,
    filtered or not, comes in under 50 ms once the same process decides by them.
    """
    size = Big()
    path = folder / "big.yaml"
    path.write_text(big_file(size))
    with Service(folder / "data") as service:
        address = service.wait_ready()
        started = time.monotonic()
        applied = service.command("apply", "-f", str(path), "--timeout", "60")
        seconds = time.monotonic() - started
        ensure(applied.returncode == 0, applied.stderr)
        ensure("revision 2" in applied.stdout, applied.stdout[-200:])
        ensure(seconds < APPLY_S, f"applying took {seconds:.1f} s")
        # Reading the revision to decide by it holds the interpreter for a tenth of a second at a time.
        enforced = service.command("status", "--wait")
        ensure(enforced.returncode == 0, enforced.stderr)
        pages = show_pages(address, service.credentials["admin_token"], size, PAGE_S)
    return f"applied in {seconds:.1f} s, command and all, as revision 2; {pages}"


def big_file(size: Big) -> str:
    """Returns a policy file."""
    strategies = [
        {"name": f"s-{n}", "sources": [{"in": "header", "name": f"X-Id-{n}"}]} for n in range(size.strategies)
    ]
    policies = [
        {
            "name": f"p-{n}",
            "match": {"methods": ["GET" if n % 2 else "POST"], "path": f"/api/v{n % 7}/things-{n}/{{id}}"},
            "strategy": f"s-{n % size.strategies}",
            "priority": n % 100,
            "limits": [{"name": "hourly", "limit": 100 + n, "window": "1h"}],
        }
        for n in range(size.policies)
    ]
    document = {"version": 1, "application": "demo", "strategies": strategies, "policies": policies}
    return str(yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))


_QUESTIONS: tuple[tuple[str, str], ...] = (
    ("", ""),
    ('match.path = "/api/v3/*"', ""),
    ('match.path:"things-99" AND match.methods:GET', ""),
    ("limits.limit > 5000 AND (priority < 10 OR strategy = s-7)", "priority desc"),
    ('NOT name = "p-1*" AND update_time > 2020-01-01T00:00:00Z', "update_time desc, name"),
    ("name = p-4711", ""),
)


def show_pages(address: str, token: str, size: Big, most_s: float) -> str:
    """Returns the figure of all pages. Raises NotShown where the slowest takes ``most_s`` or longer."""
    seconds: list[float] = []
    with caller(address, token) as admin:
        listed = sum(len(page.policies) for page in _pages(admin, seconds, "ListPolicies", "", ""))
        ensure(listed == size.policies, f"{listed} policies are listed")
        found = sum(len(page.strategies) for page in _pages(admin, seconds, "ListStrategies", "", ""))
        ensure(found == size.strategies, f"{found} strategies are listed")
        for _ in range(size.rounds):
            for condition, order in _QUESTIONS:
                pages = _pages(admin, seconds, "ListPolicies", condition, order)
                for _page, _ in zip(pages, range(3), strict=False):
                    pass
    cuts = quantiles(seconds, n=100)
    figure = (
        f"{len(seconds)} pages of 50: p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, "
        f"slowest {max(seconds) * 1000:.1f} ms"
    )
    ensure(max(seconds) < most_s, figure)
    return figure


def _pages(admin: Caller, seconds: list[float], method: str, condition: str, order: str) -> Iterator[Any]:
    token = ""
    while True:
        page, took = admin.timed(
            method, application="demo", filter=condition, order_by=order, page_token=token
        )
        seconds.append(took)
        yield page
        token = page.next_page_token
        if not token:
            return


def fuzz(folder: Path) -> str:
    """10,000 random cases of YAML and of requests to every unary method end in a typed error or success, never INTERNAL."""
    with Service(folder / "data") as service:
        address, secrets = service.wait_ready(), service.credentials
        figure = show_fuzz(address, secrets["admin_token"], secrets["api_key"], CASES)
        ensure(service.is_running, f"the service ended:\n{service.output[-2000:]}")
    return figure


def show_fuzz(address: str, token: str, api_key: str, cases: int) -> str:
    """Returns the figure for a running service. Raises NotShown."""
    outcomes: dict[str, int] = {}
    half = cases // 2
    _fuzz_files(half, outcomes)
    with (
        caller(address, token) as admin,
        caller(address, api_key, DECISION) as decision,
        caller(address, token, DECISION) as explaining,
    ):
        methods = [(admin, name) for name in _unary(ADMIN)] + [(decision, name) for name in _unary(DECISION)]
        methods.append((explaining, "Explain"))
        each = -(-half // len(methods))
        for service, name in methods:
            _fuzz_method(service, name, each, outcomes)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{half} files and {each * len(methods)} requests to {len(methods)} methods: {told}; none INTERNAL or without a reason"


def _unary(service: Any) -> list[str]:
    # Deleting the application would leave every later case with NOT_FOUND; Explain takes another credential.
    return [
        method.name
        for method in service.methods
        if not method.server_streaming and method.name not in ("DeleteApplication", "Explain")
    ]


_HEAD = "version: 1\napplication: demo\n"
_LINES = (
    "policies: [{name: a, match: {path: /a}}]\n",
    "strategies: [{name: s, sources: [{in: header, name: X}]}]\n",
    "customers: [{name: acme, identities: [u]}]\n",
    "plans: [{name: pro}]\n",
    "plans: [{name: pro, overrides: [{policy: a, limit: 1}]}]\n",
    "blocks: [{path: /b, identity: 5}]\n",
    "blocks: [{path: b}]\n",
    "bloks: []\n",
)


def _fuzz_files(cases: int, outcomes: dict[str, int]) -> None:
    from hypothesis import strategies as st

    pieces = st.sampled_from(
        [
            *WORDS,
            "version: 1\n",
            "application: demo\n",
            "policies:\n",
            "strategies:\n",
            "- ",
            "  ",
            "\n",
            ": ",
            "{",
            "}",
            "[",
            "]",
        ]
    )
    words = st.lists(pieces, max_size=30).map("".join)
    resources = st.lists(st.sampled_from(_LINES), max_size=6, unique=True).map("".join)
    texts = st.one_of(st.text(max_size=100), words, resources.map(lambda lines: f"{_HEAD}{lines}"))

    def once(text: str) -> None:
        try:
            load(text, filename="fuzz.yaml", check=check)
            _count(outcomes, "good file")
        except PolicyFileError:
            _count(outcomes, "refused file")

    _run(cases, texts, once)


def _fuzz_method(service: Caller, name: str, cases: int, outcomes: dict[str, int]) -> None:
    descriptor = service.described(name).input_type

    def once(request: Any) -> None:
        try:
            service.call(name, request)
            _count(outcomes, "OK")
        except grpc.RpcError as error:
            code: Any = error
            info = error_info(error)
            typed = info is not None and bool(info.reason) and code.code() is not grpc.StatusCode.INTERNAL
            if not typed:
                raise NotShown(f"{name} ended in {code.code()} ({code.details()}) for {request}") from error
            _count(outcomes, str(code.code().name))

    _run(cases, requests(descriptor), once)


def _run(cases: int, drawn: Any, once: Callable[[Any], None]) -> None:
    quiet: Any = settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    drawing: Any = given(drawn)
    test: Callable[[], None] = quiet(drawing(once))
    test()


def _count(outcomes: dict[str, int], outcome: str) -> None:
    outcomes[outcome] = outcomes.get(outcome, 0) + 1


def _policy(name: str, **fields: Any) -> Policy:
    return Policy(name=name, match=Match(path=f"/{name}"), **fields)

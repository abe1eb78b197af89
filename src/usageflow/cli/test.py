"""`usageflow test`: runs expected decisions against a policy file or a live revision; takes nothing from anybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_line, print_table

if TYPE_CHECKING:  # the engine is heavy to import, and only this verb and replay need it
    from usageflow.domain.snapshot import Snapshot
    from usageflow.policyfile.cases import LoadedCases
    from usageflow.runtime.casework import CaseResult

EXAMPLES = (
    "usageflow test -f usageflow.cases.yaml",
    "usageflow test -f usageflow.cases.yaml --policies usageflow.yaml --junit report.xml",
    "usageflow test -f usageflow.cases.yaml --revision 12",
)

CasesOption = Annotated[str, typer.Option("--file", "-f", help="YAML file of cases; - for stdin.")]
Policies = Annotated[
    str,
    typer.Option(
        "--policies", metavar="FILE", help="Policy file to run against; else the one that the cases name."
    ),
]
Revision = Annotated[
    int | None,
    typer.Option("--revision", min=0, help="Run against a revision of the service; 0 is the one in force."),
]
Junit = Annotated[str, typer.Option("--junit", metavar="FILE", help="Write a JUnit report too.")]


def run(
    file: CasesOption,
    policies: Policies = "",
    revision: Revision = None,
    junit: Junit = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 60.0,
) -> None:
    """Run expected decisions, with counters of their own, and tell which are not as expected.

    Exit code 0: all cases hold. 1: some do not.
    """
    import asyncio

    from usageflow.cli.failure import Failure
    from usageflow.policyfile import PolicyFileError
    from usageflow.runtime.casework import run_cases

    if policies and revision is not None:
        raise typer.BadParameter("name a file or a revision, not both", param_hint="--revision")
    loaded = _cases(file)
    snapshot = _snapshot(file, loaded, policies, revision, application, timeout)
    try:
        results = asyncio.run(run_cases(snapshot, loaded))
    except PolicyFileError as error:
        raise Failure(str(error)) from error
    if junit:
        _write_junit(junit, title=loaded.filename, results=results)
    (print_json if output is Output.JSON else _print)([_result(each) for each in results])
    if not all(each.holds for each in results):
        raise typer.Exit(1)


def _cases(file: str) -> LoadedCases:
    from usageflow.cli.failure import Failure
    from usageflow.cli.files import read_text, title_of
    from usageflow.policyfile import MAX_BYTES, PolicyFileError
    from usageflow.policyfile.cases import load_cases

    try:
        return load_cases(read_text(file, most=MAX_BYTES), filename=title_of(file))
    except PolicyFileError as error:
        raise Failure(str(error)) from error


def _snapshot(
    file: str,
    loaded: LoadedCases,
    policies: str,
    revision: int | None,
    application: str,
    timeout: float,
) -> Snapshot:
    """Returns what the cases are run against."""
    from usageflow.cli.apply import read_policies
    from usageflow.cli.failure import Failure
    from usageflow.cli.files import STDIN
    from usageflow.cli.live import exported
    from usageflow.runtime.rehearsal import snapshot_of_export, snapshot_of_file

    if revision is not None:
        return snapshot_of_export(exported(application, revision=revision, timeout_s=timeout))
    beside = Path() if file == STDIN else Path(file).parent
    named = policies or (str(beside / loaded.policies) if loaded.policies else "")
    if not named:
        raise Failure(
            f"{loaded.filename} names no policies: write `policies: usageflow.yaml` into it, "
            "or say --policies FILE or --revision N"
        )
    return snapshot_of_file(read_policies(named))


def _result(result: CaseResult) -> dict[str, Any]:
    answer = result.answer
    return {
        "name": result.name,
        "holds": result.holds,
        "decision": "ALLOW" if answer.allowed else "DENY",
        "reason": str(answer.reason),
        "policy": answer.decided_by.name if answer.decided_by else "",
        "mismatches": [
            {"field": each.field, "expected": each.expected, "got": each.got} for each in result.mismatches
        ],
    }


def _print(results: list[dict[str, Any]]) -> None:
    columns = [Column(title) for title in ("case", "decision", "reason", "policy", "result")]
    rows = [
        [each["name"], each["decision"], each["reason"], each["policy"], "ok" if each["holds"] else "FAILED"]
        for each in results
    ]
    print_table(columns, rows)
    print_line("")
    for each in results:
        for mismatch in each["mismatches"]:
            print_line(
                f"{each['name']}: {mismatch['field']}: expected {mismatch['expected']}, got {mismatch['got']}"
            )
    failed = sum(not each["holds"] for each in results)
    print_line(f"{len(results)} cases, {failed} failed" if failed else f"{len(results)} cases, all hold")


def _write_junit(file: str, *, title: str, results: list[CaseResult]) -> None:
    from usageflow.cli.failure import Failure
    from usageflow.cli.junit import report

    failures = [(each.name, [str(item) for item in each.mismatches]) for each in results]
    try:
        Path(file).write_bytes(report(title, failures))
    except OSError as error:
        raise Failure(
            f"cannot write {file}: {error.strerror}; name a file in a folder that exists"
        ) from error

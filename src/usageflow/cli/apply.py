"""`usageflow apply`: makes the service equal to a file, or says what is wrong at which line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Column, Output, print_json, print_line, print_table

if TYPE_CHECKING:  # YAML, models and messages are heavy to import, and only this verb needs them
    from usageflow.cli.failure import Failure
    from usageflow.cli.rpc_errors import RpcFailure
    from usageflow.policyfile import LoadedFile, Problem
    from usageflow.v1.admin_pb2 import ApplyRequest, ApplyResponse

EXAMPLES = (
    "usageflow apply -f usageflow.yaml --dry-run",
    "usageflow apply -f usageflow.yaml",
)

_MOST_SHOWN = 200

FileOption = Annotated[str, typer.Option("--file", "-f", help="YAML file of policies; - for stdin.")]
Prune = Annotated[
    bool, typer.Option("--prune", help="Delete blocks and customers that the file does not hold.")
]
Reason = Annotated[str, typer.Option("--reason", help="What for, as the list of revisions shall tell.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and list the changes; save nothing.")]


def apply(
    file: FileOption,
    prune: Prune = False,
    dry_run: DryRun = False,
    reason: Reason = "",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Make strategies, policies and plans equal to a file; what is absent from it is deleted."""
    from usageflow.cli.convert import apply_request
    from usageflow.domain.garbage import uncollected

    loaded = read_policies(file)
    with uncollected():
        request = apply_request(loaded, prune=prune, dry_run=dry_run, message=reason)
    response = send(loaded, request, timeout)
    result = _result(loaded, response, dry_run=dry_run)
    (print_json if output is Output.JSON else _print)(result)


def read_policies(file: str) -> LoadedFile:
    """Returns what a policy file declares. Raises Failure with every problem of it."""
    from usageflow.cli.files import read_text, title_of
    from usageflow.expressions import check
    from usageflow.policyfile import MAX_BYTES, PolicyFileError, load

    try:
        return load(read_text(file, most=MAX_BYTES), filename=title_of(file), check=check)
    except PolicyFileError as error:
        raise _refused(error.problems) from error


def send(loaded: LoadedFile, request: ApplyRequest, timeout: float) -> ApplyResponse:
    """Returns the service's answer. Raises Failure, with the places in the file where the service refuses what it says."""
    from usageflow.cli.connection import connect
    from usageflow.cli.rpc_errors import RpcFailure

    try:
        with connect(timeout) as connection:
            return connection.as_admin(connection.admin.Apply, request)
    except RpcFailure as failure:
        problems = _problems(loaded, failure)
        if not problems:
            raise
        raise _refused(problems) from failure


def _problems(loaded: LoadedFile, failure: RpcFailure) -> tuple[Problem, ...]:
    from usageflow.domain.errors import Fault

    faults = []
    if failure.code == "NOT_FOUND":
        known = "write the name of an application that exists, such as demo"
        faults.append(Fault("application", f"there is no application '{loaded.application}'", known))
    for each in failure.violations:
        message, _, fix = each.description.partition("; ")
        faults.append(Fault(each.field, message, fix or "correct it"))
    return loaded.problems_of(faults)


def _refused(problems: tuple[Problem, ...]) -> Failure:
    from usageflow.cli.failure import Failure

    lines = [str(problem) for problem in problems[:_MOST_SHOWN]]
    if len(problems) > _MOST_SHOWN:
        lines.append(f"and {len(problems) - _MOST_SHOWN:,} more")
    return Failure("\n".join([*lines, "nothing was applied"]))


def _result(loaded: LoadedFile, response: ApplyResponse, *, dry_run: bool) -> dict[str, Any]:
    from usageflow.cli.convert import bare_name
    from usageflow.v1 import revisions_pb2

    return {
        "application": loaded.application,
        "revision": response.revision,
        "dry_run": dry_run,
        "changes": [
            {
                "action": bare_name(revisions_pb2.ChangeAction.DESCRIPTOR, each.action, "CHANGE_ACTION_"),
                "kind": each.kind,
                "name": each.name,
            }
            for each in response.changes
        ],
    }


def _print(result: dict[str, Any]) -> None:
    changes = [[each["action"], each["kind"], each["name"]] for each in result["changes"]]
    if changes:
        print_table([Column("change"), Column("kind"), Column("name")], changes[:_MOST_SHOWN])
        if len(changes) > _MOST_SHOWN:
            print_line(f"and {len(changes) - _MOST_SHOWN:,} more: see them all with --output json")
        print_line("")
    words = f"{len(changes)} changes" if len(changes) != 1 else "1 change"
    saved = "dry run, nothing was saved; " if result["dry_run"] else ""
    print_line(
        f"{result['application']}: {words if changes else 'no changes'}; {saved}revision {result['revision']}"
    )

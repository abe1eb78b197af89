"""`usageflow diff`: a policy file beside what is in force, line by line."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from usageflow.cli import options
from usageflow.cli.apply import FileOption, read_policies
from usageflow.cli.output import print_line

EXAMPLES = (
    "usageflow diff -f usageflow.yaml",
    "usageflow diff -f usageflow.yaml --revision 12 --detailed-exitcode",
)

DIFFERENT = 2
"""The exit code of --detailed-exitcode where something differs."""

Revision = Annotated[
    str, typer.Option("--revision", help="Number or tag to compare with; the one in force if left out.")
]
DetailedExitCode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit code 2 where something differs, 0 where not.")
]


def diff(
    file: FileOption,
    revision: Revision = "",
    detailed_exitcode: DetailedExitCode = False,
    timeout: options.Timeout = 60.0,
) -> None:
    """Compare strategies, policies and plans of a file with a revision, as unified YAML.

    Both are written alike first, so order of keys, comments and defaults make no difference. `plan` tells of blocks and
    customers too.
    """
    from usageflow.cli.live import live_policies
    from usageflow.policyfile.writing import write

    loaded = read_policies(file)
    policies = live_policies(loaded.application, revision=revision, timeout_s=timeout)
    before, after = write(loaded.application, policies), write(loaded.application, loaded.policy_set)
    title = f"revision {revision}" if revision else "in force"
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), title, loaded.filename, lineterm="")
    )
    for line in lines:
        print_line(line)
    if detailed_exitcode and lines:
        raise typer.Exit(DIFFERENT)

"""`usageflow snapshot`: writes the file that edge replicas decide from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.output import Output, print_json, print_line

if TYPE_CHECKING:
    from usageflow.v1.admin_pb2 import ExportSnapshotResponse

EXAMPLES = (
    "usageflow snapshot -o demo.snapshot.json",
    "usageflow serve decision --snapshot demo.snapshot.json",
)

To = Annotated[
    Path,
    typer.Option(
        "--to",
        "-o",
        metavar="FILE",
        help="File to write. It holds the application's hash key, so only its owner may read it.",
    ),
]


def snapshot(
    to: To,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 60.0,
) -> None:
    """Write what decides for an application to a file, for `serve decision --snapshot`.

    The file is replaced in one step: replicas that follow it never see half of one.
    """
    from usageflow.cli.connection import connect
    from usageflow.v1.admin_pb2 import ExportSnapshotRequest

    if str(to) == "-":
        raise typer.BadParameter("a file with a key in it goes to no pipe: name a file", param_hint="-o")
    with connect(timeout) as connection:
        request = ExportSnapshotRequest(application=application)
        answers = connection.stream_as_admin(connection.admin.ExportSnapshot, request)
        result = {"application": application, **_write(to, answers)}
    if output is Output.JSON:
        print_json(result)
    else:
        print_line(f"{application}: revision {result['revision']}, {result['bytes']:,} bytes in {to}")


def _write(to: Path, answers: Iterator[ExportSnapshotResponse]) -> dict[str, Any]:
    from usageflow.cli.failure import Failure
    from usageflow.storage.file import replace_file

    revision = 0

    def pieces() -> Iterator[bytes]:
        nonlocal revision
        for answer in answers:
            revision = answer.revision
            yield answer.data

    try:
        size = replace_file(to, pieces())
    except OSError as error:
        raise Failure(
            f"cannot write {to}: {error.strerror}; name a file in a folder that this user may write to"
        ) from error
    return {"revision": revision, "file": str(to), "bytes": size}

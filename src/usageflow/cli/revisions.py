"""`usageflow revisions`: what policies were, who changed them, when and why, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.confirming import Yes, confirm
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say

if TYPE_CHECKING:  # heavy to import
    from usageflow.v1.revisions_pb2 import Change, Revision

EXAMPLES = (
    "usageflow revisions list",
    "usageflow revisions diff 41 42",
    "usageflow revisions tag before-launch",
    "usageflow revisions rollback before-launch",
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at revisions and go back to one.")

Name = Annotated[str, typer.Argument(metavar="REVISION", help="Number or tag; left out, the one in force.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="The most revisions to show.")]
Reason = Annotated[str, typer.Option("--reason", help="What for, as the list of revisions shall tell.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and list the changes; save nothing.")]
_EPILOG = options.examples(EXAMPLES)


@app.command("list", epilog=_EPILOG)
def list_revisions(
    limit: Limit = 50,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """List revisions, newest first."""
    from usageflow.cli.connection import connect
    from usageflow.v1.revisions_pb2 import ListRevisionsRequest

    with connect(timeout) as connection:
        request = ListRevisionsRequest(application=application, page_size=limit)
        page = connection.as_admin(connection.admin.ListRevisions, request)
    rows = [_row(each) for each in page.revisions]
    if output is Output.JSON:
        print_json(rows)
        return
    titles = ("revision", "made", "by", "tags", "in force", "message")
    print_table([Column(title, right=title == "revision") for title in titles], [_cells(row) for row in rows])
    if page.next_page_token:
        say(f"these are the newest {len(rows)}: see more with --limit")


@app.command("get", epilog=_EPILOG)
def get_revision(
    revision: Name = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Show a revision: as a policy file, or as JSON."""
    from usageflow.cli.connection import connect
    from usageflow.v1.revisions_pb2 import GetRevisionRequest

    with connect(timeout) as connection:
        request = GetRevisionRequest(application=application, revision=revision)
        held = connection.as_admin(connection.admin.GetRevision, request)
    lists = {"strategies": held.strategies, "policies": held.policies, "plans": held.plans}
    if output is Output.JSON:
        print_json({**_row(held.revision), **_declared(lists, full=True)})
        return
    import yaml

    document = {"version": 1, "application": application, **_declared(lists, full=False)}
    for line in yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100).splitlines():
        print_line(line)


@app.command("diff", epilog=_EPILOG)
def diff_revisions(
    before: Annotated[str, typer.Argument(metavar="[FROM]", help="Number or tag.")] = "",
    after: Annotated[
        str, typer.Argument(metavar="[TO]", help="Number or tag; left out, the one in force.")
    ] = "",
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Show what lies between two revisions; without any, what the last one changed."""
    from usageflow.cli.connection import connect
    from usageflow.v1.revisions_pb2 import DiffRevisionsRequest

    with connect(timeout) as connection:
        request = DiffRevisionsRequest(application=application, from_revision=before, to_revision=after)
        found = connection.as_admin(connection.admin.DiffRevisions, request)
    rows = [_difference(each) for each in found.differences]
    if output is Output.JSON:
        print_json({"from": found.from_revision, "to": found.to_revision, "differences": rows})
        return
    print_table(
        [Column(title) for title in ("change", "kind", "name", "field", "before", "after")],
        [cells for row in rows for cells in _difference_rows(row)],
    )
    say(f"revision {found.from_revision} to {found.to_revision}")


@app.command("rollback", epilog=_EPILOG)
def roll_back(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="Number or tag.")],
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Make strategies, policies and plans what they were: a new revision. Customers and blocks stay."""
    from usageflow.cli.connection import connect
    from usageflow.v1.revisions_pb2 import RollBackRequest

    if not dry_run:
        confirm(f"Make the policies of {application} what they were in revision {revision}?", yes=yes)
    with connect(timeout) as connection:
        request = RollBackRequest(
            application=application, revision=revision, validate_only=dry_run, message=reason
        )
        done = connection.as_admin(connection.admin.RollBack, request)
    changes = [_change(each) for each in done.changes]
    if output is Output.JSON:
        print_json({"revision": done.revision, "dry_run": dry_run, "changes": changes})
        return
    print_table(
        [Column(title) for title in ("change", "kind", "name")], [list(each.values()) for each in changes]
    )
    saved = "dry run, nothing was saved; " if dry_run else ""
    print_line(f"{application}: {len(changes)} changes; {saved}revision {done.revision}")


@app.command("tag", epilog=_EPILOG)
def tag_revision(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Its name.")],
    revision: Name = "",
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away.")] = False,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Name a revision, which keeps it for good."""
    from usageflow.cli.connection import connect
    from usageflow.v1.revisions_pb2 import DeleteTagRequest, TagRevisionRequest

    with connect(timeout) as connection:
        if delete:
            gone = DeleteTagRequest(application=application, tag=tag)
            tagged = connection.as_admin(connection.admin.DeleteTag, gone)
        else:
            made = TagRevisionRequest(application=application, revision=revision, tag=tag)
            tagged = connection.as_admin(connection.admin.TagRevision, made)
    if output is Output.JSON:
        print_json(_row(tagged))
    else:
        print_line(f"{tag}: {'was on' if delete else 'is'} revision {tagged.revision}")


def _row(revision: Revision) -> dict[str, Any]:
    from usageflow.cli.times import format_instant

    return {
        "revision": revision.revision,
        "create_time": format_instant(revision.create_time.seconds),
        "author": revision.author,
        "author_id": revision.author_id,
        "message": revision.message,
        "tags": list(revision.tags),
        "current": revision.current,
    }


def _cells(row: dict[str, Any]) -> list[object]:
    return [
        str(row["revision"]),
        row["create_time"],
        row["author"],
        ",".join(row["tags"]),
        "yes" if row["current"] else "",
        row["message"],
    ]


def _declared(lists: dict[str, Any], *, full: bool) -> dict[str, Any]:
    from usageflow.cli.resources import KINDS
    from usageflow.cli.resources.messages import declared

    kinds = {kind.command: kind for kind in KINDS}
    return {
        name: [declared(kinds[name], each, full=full) for each in messages]
        for name, messages in lists.items()
        if messages or full
    }


def _change(change: Change) -> dict[str, str]:
    from usageflow.cli.convert import bare_name
    from usageflow.v1.revisions_pb2 import ChangeAction

    action = bare_name(ChangeAction.DESCRIPTOR, change.action, "CHANGE_ACTION_")
    return {"action": action, "kind": change.kind, "name": change.name}


def _difference(difference: Any) -> dict[str, Any]:
    fields = [
        {
            "path": each.path,
            "before": _plain(each, "before"),
            "after": _plain(each, "after"),
        }
        for each in difference.fields
    ]
    return {**_change(difference), "fields": fields}


def _plain(field: Any, name: str) -> Any:
    from google.protobuf.json_format import MessageToDict

    if not field.HasField(name):
        return None
    value: Any = MessageToDict(getattr(field, name))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _difference_rows(row: dict[str, Any]) -> list[list[object]]:
    head = [row["action"], row["kind"], row["name"]]
    if not row["fields"]:
        return [[*head, "", "", ""]]
    return [
        [*(head if not index else ["", "", ""]), each["path"], _cell(each["before"]), _cell(each["after"])]
        for index, each in enumerate(row["fields"])
    ]


def _cell(value: Any) -> object:
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)

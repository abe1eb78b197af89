"""The command `usageflow`: names the verbs and turns failures into one line and an exit code.

Exit codes: 0 done, 1 nothing done, 2 wrong usage, 3 denied (`check`). Whatever is heavy to import (grpc, rich,
pydantic, yaml) is imported inside the verbs, so that help and completion answer at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from usageflow.cli import (
    alerts,
    apply,
    audit,
    bootstrap,
    check,
    customer,
    dev,
    diff,
    endpoints,
    erase,
    explain,
    export,
    keys,
    meter,
    plan,
    replay,
    report,
    revisions,
    schema,
    serve,
    snapshot,
    status,
    tail,
    test,
    tokens,
    top,
    usage,
)
from usageflow.cli.failure import Failure
from usageflow.cli.options import examples
from usageflow.cli.output import say
from usageflow.cli.resources import KINDS, app_of

EXAMPLES = (
    "usageflow serve",
    "usageflow apply -f usageflow.yaml",
    "usageflow check --method POST --path /api/transactions --header 'X-User-Id: user-1'",
    "usageflow report -f events.jsonl",
    "usageflow usage --since 1h",
)

_DISTRIBUTION = "usageflow-server"


class _Verbs(TyperGroup):
    """The one place where a failure ends the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for arg in args:
            if not _is_unicode(arg):
                raise typer.BadParameter(f"{arg!a} is not UTF-8: write the argument as UTF-8")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            say(str(failure))
            raise typer.Exit(1) from failure


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


app = typer.Typer(
    name="usageflow", cls=_Verbs, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True
)
app.command(epilog=examples(serve.EXAMPLES))(serve.serve)
app.command(epilog=examples(bootstrap.EXAMPLES))(bootstrap.bootstrap)
app.command(epilog=examples(apply.EXAMPLES))(apply.apply)
app.command(epilog=examples(plan.EXAMPLES))(plan.plan)
app.command(epilog=examples(check.EXAMPLES))(check.check)
app.command(epilog=examples(explain.EXAMPLES))(explain.explain)
app.command(epilog=examples(report.EXAMPLES))(report.report)
app.command(epilog=examples(usage.EXAMPLES))(usage.usage)
app.command(epilog=examples(top.EXAMPLES))(top.top)
app.command(epilog=examples(tail.EXAMPLES))(tail.tail)
app.command(epilog=examples(customer.EXAMPLES))(customer.customer)
app.command(epilog=examples(snapshot.EXAMPLES))(snapshot.snapshot)
app.command(epilog=examples(status.EXAMPLES))(status.status)
app.add_typer(keys.app, name="keys")
app.add_typer(tokens.app, name="tokens")
app.add_typer(audit.app, name="audit")
app.command(epilog=examples(diff.EXAMPLES))(diff.diff)
app.command(epilog=examples(export.EXAMPLES))(export.export)
app.command("test", epilog=examples(test.EXAMPLES))(test.run)
app.command(epilog=examples(replay.EXAMPLES))(replay.replay)
app.command(epilog=examples(schema.EXAMPLES))(schema.schema)
app.add_typer(meter.app, name="meter")
for _kind in KINDS:
    _verbs = app_of(_kind)
    if _kind.command == "endpoints":
        endpoints.add_to(_verbs)
    if _kind.command == "customers":
        _verbs.command(epilog=examples(erase.EXAMPLES))(erase.erase)
    app.add_typer(_verbs, name=_kind.command)
app.add_typer(revisions.app, name="revisions")
app.add_typer(alerts.app, name="alerts")
app.add_typer(dev.app, name="dev")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"usageflow {version(_DISTRIBUTION)}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
]


@app.callback(epilog=examples(EXAMPLES))
def _root(version: Version = False) -> None:
    """Decide before each API request whether the caller may, and account for what was used.

    The service is found by USAGEFLOW_ADDR, USAGEFLOW_API_KEY and USAGEFLOW_ADMIN_TOKEN, else by credentials.toml
    in USAGEFLOW_DATA (./.usageflow), else on 127.0.0.1:50051.
    """


def main() -> None:
    """Runs the command; the console script's entry."""
    app()

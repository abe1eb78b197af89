"""`usageflow dev`: what helps to try things out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.failure import Failure
from usageflow.cli.output import Column, Output, print_json, print_table, say

EXAMPLES = (
    "usageflow dev stripe serve",
    "usageflow dev stripe serve --seed stripe.json --webhook http://127.0.0.1:50052/webhooks/stripe",
    "STRIPE_API_KEY=sk_test_standin USAGEFLOW_STRIPE_API=http://127.0.0.1:12111 usageflow serve",
    "usageflow dev stripe ledger",
    "usageflow dev stripe clock --advance 1h",
)
_SECRET = "whsec_standin"  # noqa: S105 - opens nothing
_DEFAULT = "http://127.0.0.1:12111"

app = typer.Typer(help="What helps to try things out.", rich_markup_mode=None, no_args_is_help=True)
stripe = typer.Typer(
    help="A stand-in for Stripe: billing without an account, in memory, on this machine.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(stripe, name="stripe", epilog=options.examples(EXAMPLES))

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where the stand-in is.")]


@stripe.command(epilog=options.examples(EXAMPLES[:3]))
def serve(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen.")
    ] = "127.0.0.1:12111",
    seed: Annotated[
        Path | None,
        typer.Option(
            "--seed", metavar="FILE", help="JSON of customers, products, meters, prices and subscriptions."
        ),
    ] = None,
    webhook: Annotated[
        str, typer.Option("--webhook", metavar="URL", help="Where to post what is refused afterwards.")
    ] = "",
    webhook_secret: Annotated[
        str, typer.Option("--webhook-secret", metavar="SECRET", help="What posts are signed with.")
    ] = _SECRET,
) -> None:
    """Serve the stand-in until Ctrl-C."""
    from usageflow.standin.errors import StripeError
    from usageflow.standin.serving import Options
    from usageflow.standin.serving import serve as run

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter("write HOST:PORT, such as 127.0.0.1:12111", param_hint="--listen")
    try:
        run(Options(host.strip("[]"), int(port), seed, webhook, webhook_secret), typer.echo)
    except StripeError as error:
        raise Failure(f"{seed}: {error.message}") from None
    except ValueError as error:
        raise Failure(f"{seed} is no JSON: {error}") from None
    except OSError as error:
        raise Failure(f"cannot read {seed} or listen on {listen}: {error}") from None


@stripe.command()
def ledger(url: Url = _DEFAULT, output: options.OutputOption = Output.TABLE) -> None:
    """Show what was billed, to the unit."""
    found = _asked(url, "ledger")
    if output is Output.JSON:
        print_json(found)
        return
    columns = [Column("customer"), Column("price"), Column("units", right=True)]
    print_table(columns, [[row["customer"], row["price"], row["units"]] for row in found["units"]])
    if not found["units"]:
        say("nothing was billed yet")


@stripe.command()
def faults(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help='JSON: {"rules": [{"do": "error", "path": "/v1/..."}]}.')
    ],
    url: Url = _DEFAULT,
) -> None:
    """Make requests go wrong as a file says; an empty list ends that."""
    try:
        rules = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read {file}: {error}") from None
    say(f"{len(_asked(url, 'faults', rules)['rules'])} rules in force")


@stripe.command()
def clock(
    advance: Annotated[
        str, typer.Option("--advance", metavar="SPAN", help="Move it ahead, such as 1h or 30d.")
    ] = "",
    url: Url = _DEFAULT,
) -> None:
    """Show the stand-in's clock, or move it ahead."""
    from usageflow.cli.times import format_instant
    from usageflow.domain.durations import parse_window

    try:
        seconds = parse_window(advance) / 1_000_000 if advance else 0
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--advance") from None
    found = _asked(url, "clock", {"advance": seconds}) if advance else _asked(url, "clock")
    typer.echo(format_instant(found["now"]))


def _asked(url: str, what: str, fields: dict[str, Any] | None = None) -> Any:
    """Returns what the stand-in answers. Raises Failure."""
    import urllib.error
    import urllib.request

    body = None if fields is None else json.dumps(fields).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/_standin/{what}", body)  # noqa: S310 - the user's own address
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise Failure(json.loads(error.read())["error"]["message"]) from None
    except (OSError, ValueError) as error:
        raise Failure(f"cannot reach {url}: start it with `usageflow dev stripe serve` ({error})") from None

"""`usageflow meter`: units on their way to an invoice."""

from __future__ import annotations

import typer

from usageflow.cli import (
    meter_actions,
    meter_correct,
    meter_failures,
    meter_flush,
    meter_preview,
    meter_reconcile,
    meter_status,
    meter_try,
    meter_windows,
)
from usageflow.cli.options import examples

app = typer.Typer(help="Units on their way to an invoice.", rich_markup_mode=None, no_args_is_help=True)
app.command(epilog=examples(meter_status.EXAMPLES))(meter_status.status)
app.command(epilog=examples(meter_windows.EXAMPLES))(meter_windows.windows)
app.command(epilog=examples(meter_flush.EXAMPLES))(meter_flush.flush)
app.command(epilog=examples(meter_actions.RETRY_EXAMPLES))(meter_actions.retry)
app.command(epilog=examples(meter_actions.HOLD_EXAMPLES))(meter_actions.hold)
app.command(epilog=examples(meter_actions.RELEASE_EXAMPLES))(meter_actions.release)
app.command(epilog=examples(meter_actions.RESUME_EXAMPLES))(meter_actions.resume)
app.command(epilog=examples(meter_reconcile.EXAMPLES))(meter_reconcile.reconcile)
app.command(epilog=examples(meter_preview.EXAMPLES))(meter_preview.preview)
app.command(epilog=examples(meter_correct.EXAMPLES))(meter_correct.correct)
app.command(epilog=examples(meter_failures.EXAMPLES))(meter_failures.failures)
app.command("try", epilog=examples(meter_try.EXAMPLES))(meter_try.try_)

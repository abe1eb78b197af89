"""What Stripe tells afterwards of meter events that it had taken, by thin events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import stripe

from meter.sinks.port import Notice
from meter.stripe.api import NotTold, StripeApi
from usageflow.domain.billing import Window
from usageflow.domain.errors import InvalidArgument, Unavailable

_KINDS = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
_NOTHING = Notice({})


async def read_notice(api: StripeApi, body: bytes, signature: str, secret: str) -> Notice:
    """Returns what a thin event tells. Raises InvalidArgument, Unavailable."""

    def parse(client: stripe.StripeClient) -> Any:
        return client.parse_event_notification(body, signature, secret)

    try:
        thin = await api.call(parse)
    except stripe.SignatureVerificationError:
        fix = "set STRIPE_WEBHOOK_SECRET to the secret of this endpoint"
        raise InvalidArgument.of("Stripe-Signature", "is not Stripe's, or too old", fix) from None
    except (ValueError, TypeError, KeyError, AttributeError, stripe.StripeError):
        raise InvalidArgument.of("body", "is no thin event of Stripe", "send what Stripe sends") from None
    if getattr(thin, "type", "") not in _KINDS:
        return _NOTHING
    try:
        event = await api.look(lambda _: thin.fetch_event(), "Events: read")
    except NotTold as error:
        raise Unavailable(str(error)) from error
    return _NOTHING if event is None else _notice(event.data)


def _notice(data: Any) -> Notice:
    refusals = dict(_samples(data))
    if data.reason.error_count <= len(refusals):
        return Notice(refusals)
    return Notice(refusals, Window(_second(data.validation_start), _second(data.validation_end)))


def _samples(data: Any) -> Iterator[tuple[str, str]]:
    for kind in data.reason.error_types:
        for sample in kind.sample_errors:
            identifier = getattr(sample.request, "identifier", None)
            if identifier:
                yield (
                    str(identifier),
                    f"{kind.code}: {sample.error_message}; correct it, then `usageflow meter retry --anew`",
                )


def _second(instant: Any) -> int:
    at = instant if isinstance(instant, datetime) else datetime.fromisoformat(str(instant))
    return int(at.timestamp())

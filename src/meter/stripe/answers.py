"""What Stripe's errors mean (https://docs.stripe.com/error-low-level)."""

from __future__ import annotations

import re

import stripe

from usageflow.domain.billing import Outcome, Result

_EXISTS = "already exists with identifier"
_EXISTS_CODE = "duplicate_meter_event"
_AHEAD, _AHEAD_TOLD = "timestamp_in_future", "in the future"
_CLOCK_S = 20.0
_LONGEST = 300
_KEY = re.compile(r"\b(?:(?:sk|rk|pk)_(?:live|test)|whsec)_[\w*.]*")
"""A key as Stripe quotes it: masked, but for its beginning and end."""

_ACCOUNT = re.compile(r"\bon account '(acct_\w+)'")


def outcome_of(error: stripe.StripeError, needs: str = "") -> Outcome:
    """Returns what an error means for the attempt that met it. ``needs`` is the permission that it takes."""
    told, request = told_by(error), error.request_id or ""
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return Outcome(Result.DENIED, denial(error, needs), stripe_request=request)
    if isinstance(error, stripe.RateLimitError):
        return Outcome(Result.AGAIN, told, stripe_request=request, wait_s=_wait_s(error))
    if isinstance(error, stripe.APIConnectionError) or unknown(error):
        return Outcome(Result.UNKNOWN, told, stripe_request=request)
    if error.code == _AHEAD or _AHEAD_TOLD in told:
        # Our clock is ahead of Stripe's, or was: the same part is right a little later.
        return Outcome(
            Result.AGAIN, f"{told} Look at this machine's clock.", stripe_request=request, wait_s=_CLOCK_S
        )
    if _EXISTS in told or error.code == _EXISTS_CODE:
        return Outcome(Result.UNEXPECTED, told, stripe_request=request)
    return Outcome(Result.REFUSED, told, stripe_request=request)


def unknown(error: stripe.StripeError) -> bool:
    """Tells whether an error leaves open if the request was carried out: the server's own, and a conflict with a request that still runs."""
    return error.http_status is None or error.http_status >= 500 or error.http_status == 409


def replayed(error: stripe.StripeError) -> bool:
    """Tells whether an answer is the one that an idempotency key keeps: it stays the same however often it is asked for."""
    return _header(error, "idempotent-replayed") == "true"


def spends_key(error: stripe.StripeError) -> bool:
    """Tells whether an idempotency key answers with this for a day: the server's own error, and that the key was used for another request."""
    status = error.http_status or 0
    return status >= 500 or (status == 400 and "idempotent" in str(error.user_message))


def told_by(error: stripe.StripeError) -> str:
    """Returns Stripe's own words, shortened and without the key."""
    return _KEY.sub("***", str(error.user_message or error)).strip().replace("\n", " ")[:_LONGEST]


def missing(error: stripe.StripeError) -> bool:
    """Tells whether something that was named does not exist: 404 where the path names it, 400 where a parameter does."""
    return error.http_status == 404 or error.code == "resource_missing"


def account_in(error: stripe.StripeError) -> str:
    """Returns the account that a missing permission is told of, "" where none is named."""
    found = _ACCOUNT.search(str(error.user_message or error))
    return found[1] if found else ""


def denial(error: stripe.StripeError, needs: str = "") -> str:
    """Returns what to do about a key that was refused."""
    if isinstance(error, stripe.PermissionError):
        what = f"the permission {needs!r}" if needs else "the permission"
        fix = f"give the restricted key {what} (docs/stripe.md lists all), then `usageflow meter resume`"
    else:
        fix = "set STRIPE_API_KEY to a key that is valid, restart, then `usageflow meter resume`"
    return f"Stripe refused the key: {told_by(error)} {fix}"


def _wait_s(error: stripe.StripeError) -> float:
    text = _header(error, "retry-after")
    return min(300.0, float(text)) if text.isascii() and text.isdecimal() else 0.0


def _header(error: stripe.StripeError, name: str) -> str:
    headers = {str(key).lower(): str(value) for key, value in dict(error.headers or {}).items()}
    return headers.get(name, "")

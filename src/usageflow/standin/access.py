"""Who may ask for what, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.datastructures import Headers

from usageflow.standin.book import Book
from usageflow.standin.errors import StripeError, rate_limited

STREAM = "/v2/billing/meter_event_stream"
"""Takes the token of a session, and no API key."""

_KEYS = ("sk_test_", "sk_live_", "rk_test_", "rk_live_")


@dataclass
class Access:
    """Checks API keys (https://docs.stripe.com/keys), the account that is named, and the rate of each key."""

    book: Book
    _second: int = 0
    _spent: dict[str, int] = field(default_factory=dict)

    def check(self, headers: Headers, path: str) -> None:
        """Raises StripeError for a key that is none, or that may not do this, and for one that asks too often."""
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind != "Bearer":
            raise StripeError(401, "You did not provide an API key. Write: Authorization: Bearer sk_test_...")
        if path == STREAM:
            self._check_session(key)
        else:
            self._check_key(key, path)
            self._check_account(headers.get("stripe-account", ""), key)
            self._spend(key)

    def _check_session(self, token: str) -> None:
        ends_s = self.book.sessions.get(token)
        if ends_s is None:
            raise StripeError(401, "Invalid authentication token: create a meter event session.")
        if ends_s <= self.book.clock.now_s():
            message, code = "The meter event session has expired.", "billing_meter_event_session_expired"
            raise StripeError(401, message, type="temporary_session_expired", code=code)

    def _check_key(self, key: str, path: str) -> None:
        if not key.startswith(_KEYS):
            raise StripeError(401, "Invalid API Key provided.")
        if any(key.endswith(each) for each in self.book.denied):
            raise StripeError(401, f"Expired API Key provided: {key[:8]}***", code="api_key_expired")
        if any(path.startswith(each) for each in self._forbidden(key)):
            message = (
                f"The provided key '{_masked(key)}' does not have the required permissions for this endpoint on "
                f"account '{self.book.account}'."
            )
            raise StripeError(403, message, code="more_permissions_required")

    def _forbidden(self, key: str) -> tuple[str, ...]:
        """Returns the paths that a key may not ask for. No restricted key may ask whose it is."""
        own = self.book.forbidden.get(key, ())
        return (*own, "/v1/account") if key.startswith("rk_") else own

    def _check_account(self, account: str, key: str) -> None:
        if account not in ("", self.book.account):
            message = (
                f"The provided key '{_masked(key)}' does not have access to account '{account[:40]}' (or that account does not "
                "exist). Application access may have been revoked."
            )
            raise StripeError(403, message, code="account_invalid")

    def _spend(self, key: str) -> None:
        """Counts requests by key within a second of the stand-in's clock."""
        if not self.book.rate:
            return
        now_s = self.book.clock.now_s()
        if now_s != self._second:
            self._second = now_s
            self._spent.clear()
        self._spent[key] = self._spent.get(key, 0) + 1
        if self._spent[key] > self.book.rate:
            raise rate_limited("rate_limit", should_retry=False)


def _masked(key: str) -> str:
    return f"{key[:8]}{'*' * 20}{key[-4:]}"

"""What the stand-in answers instead of an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StripeError(Exception):
    """An error as Stripe words it. ``kept``: an idempotency key keeps it, as Stripe keeps what began to be carried out."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str = ""
    param: str = ""
    kept: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """Returns the JSON of the answer."""
        error = {"type": self.type, "message": self.message}
        error |= {"code": self.code} if self.code else {}
        error |= {"param": self.param} if self.param else {}
        return {"error": error}


def invalid(message: str, param: str = "", code: str = "") -> StripeError:
    """Returns the error of a parameter."""
    return StripeError(400, message, code=code, param=param)


def missing(kind: str, name: str) -> StripeError:
    """Returns the error of an object that there is not."""
    return StripeError(404, f"No such {kind}: '{name}'", code="resource_missing", param="id")


def server_error() -> StripeError:
    """Returns an error of the server, which idempotency keys keep."""
    return StripeError(500, "An unknown error occurred", type="api_error", kept=True)


def rate_limited(code: str, *, should_retry: bool) -> StripeError:
    """Returns a 429; the header is what makes Stripe's own library try again."""
    told = {
        "lock_timeout": "This object cannot be accessed right now because another API request or Stripe process is accessing it.",
        "rate_limit": "Request rate limit exceeded.",
    }
    headers = {"stripe-should-retry": "true"} if should_retry else {}
    return StripeError(429, told[code], code=code, headers=headers)

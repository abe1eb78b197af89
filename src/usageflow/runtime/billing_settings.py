"""Where and how metered units are sent, as settings say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

SETTLE_S = 120
LEASE_S = 60
WITHOUT_PREFIX = frozenset({"STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"})
"""Variables that go by the name which Stripe's own documentation gives them."""


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """``destination`` is `stripe`, `file:PATH`, `cloudevents+URL` or "" for none. Secrets are not shown."""

    destination: str = ""
    stripe_key: str = field(default="", repr=False)
    stripe_api: str = ""
    stripe_rate: float | None = None
    webhook_secret: str = field(default="", repr=False)
    settle_s: int = SETTLE_S
    lease_s: int = LEASE_S


class BillingFields(BaseSettings):
    """The settings of billing among those of a process."""

    billing: str = Field(
        "",
        description="Where metered units are sent: `stripe`, `file:PATH.jsonl` (or .csv), `cloudevents+https://HOST/PATH`; unset: nowhere, "
        "or Stripe where STRIPE_API_KEY is set.",
    )
    stripe_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias="STRIPE_API_KEY",
        description="Stripe's secret or, better, restricted key.",
    )
    stripe_api: str = Field(
        "", description="Where Stripe's API is; unset: Stripe. For a stand-in, `usageflow dev stripe`."
    )
    stripe_rate: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Calls to Stripe a second; unset: 800 meter events and 20 others for live keys, 20 in all for test keys.",
    )
    stripe_webhook_secret: SecretStr = Field(
        SecretStr(""),
        validation_alias="STRIPE_WEBHOOK_SECRET",
        description="Secret of the webhook endpoint that tells of meter errors: `whsec_...`; unset: /webhooks/stripe is not there.",
    )
    meter_settle_s: int = Field(
        SETTLE_S, ge=0, le=86_400, description="Seconds after an hour's end before its usage is billed."
    )
    meter_lease_s: int = Field(
        LEASE_S, ge=5, le=3_600, description="Seconds that usage belongs to the process which is sending it."
    )

    @field_validator("billing")
    @classmethod
    def _is_destination(cls, value: str) -> str:
        kind, _, place = value.partition(":")
        if value in {"", "stripe"} or (kind == "file" and Path(place).suffix in {".csv", ".jsonl"}):
            return value
        if kind in {"cloudevents+https", "cloudevents+http"} and urlsplit(place).hostname:
            return value
        raise ValueError(
            f"{value[:40]!r} is no destination: write stripe, file:PATH.jsonl or cloudevents+https://HOST/PATH"
        )

    @field_validator("stripe_api_key")
    @classmethod
    def _is_stripe_key(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value()
        if text and not re.fullmatch(r"(sk|rk)_(test|live)_\w+", text):
            raise ValueError(
                "is no secret key of Stripe: it begins with sk_test_, sk_live_, rk_test_ or rk_live_"
            )
        if not text and info.data.get("billing") == "stripe":
            raise ValueError("is not set, but USAGEFLOW_BILLING is stripe: set it to a restricted key")
        return value

    @field_validator("stripe_api")
    @classmethod
    def _is_safe_api(cls, value: str) -> str:
        found = urlsplit(value)
        local = found.hostname in {"127.0.0.1", "localhost", "::1"}
        if value and not (found.hostname and (found.scheme == "https" or (found.scheme == "http" and local))):
            raise ValueError(f"{value[:80]!r} is no address: write https://HOST, or http://127.0.0.1:PORT")
        return value.rstrip("/")

    @property
    def billing_settings(self) -> BillingSettings:
        """Returns where and how metered units are sent."""
        key = self.stripe_api_key.get_secret_value()
        return BillingSettings(
            destination=self.billing or ("stripe" if key else ""),
            stripe_key=key,
            stripe_api=self.stripe_api,
            stripe_rate=self.stripe_rate,
            webhook_secret=self.stripe_webhook_secret.get_secret_value(),
            settle_s=self.meter_settle_s,
            lease_s=self.meter_lease_s,
        )

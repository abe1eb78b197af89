"""A stand-in for Stripe's API: billing can be tried and tested without an account. It knows nothing of UsageFlow.

It keeps Stripe's rules where they matter for exact billing (https://docs.stripe.com/api): idempotency keys, identifiers, time windows,
what is refused at once and what later, drafts and final invoices. All state is in memory, its clock can be set, and faults can be scripted.
"""

from __future__ import annotations

from usageflow.standin.app import build_app
from usageflow.standin.book import Book

__all__ = ["Book", "build_app"]

"""Tests at Stripe itself: collected only where STRIPE_TEST_KEY is set (`make sandbox`)."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("STRIPE_TEST_KEY") else ["test_*.py"]

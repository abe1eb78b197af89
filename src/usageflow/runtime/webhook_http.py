"""Sends messages of alerts, to public addresses only unless private ones are allowed (safe_http)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from usageflow.runtime.safe_http import Limits, SafeHttp

_LIMITS = Limits(total_s=10.0, connect_s=3.0, max_bytes=4096, cut=True)


class HttpWebhookSender:
    """A WebhookSender over HTTPS; with ``allow_private`` also over plain HTTP and to this machine and its networks."""

    def __init__(
        self, *, allow_private: bool, trust: ssl.SSLContext | None = None, limits: Limits = _LIMITS
    ) -> None:
        self._http = SafeHttp(limits, "USAGEFLOW_WEBHOOK_PRIVATE", allow_private=allow_private, trust=trust)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See WebhookSender."""
        return (await self._http.send("POST", url, headers, body)).status

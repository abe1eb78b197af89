"""Fetches JWKS documents, from public addresses only unless private ones are allowed (safe_http)."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from usageflow.domain.errors import Unavailable
from usageflow.runtime.safe_http import Limits, SafeHttp

MAX_BYTES = 256 * 1024
"""The largest document."""

TIMEOUT_S = 5.0
"""For everything together: name, connection, request and answer."""


class HttpKeyFetcher:
    """A KeyFetcher over HTTPS; with ``allow_private`` also over plain HTTP and to this machine and its networks."""

    def __init__(
        self, *, allow_private: bool, trust: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        limits = Limits(timeout_s, timeout_s, MAX_BYTES)
        setting = "USAGEFLOW_JWKS_ALLOW_PRIVATE"
        self._http = SafeHttp(limits, setting, allow_private=allow_private, trust=trust)

    async def fetch(self, url: str) -> bytes:
        """Returns the document. Raises Unavailable, which says why there is none."""
        try:
            scheme = urlsplit(url).scheme
        except ValueError as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        if not self._http.takes(scheme):
            raise Unavailable("keys are fetched over https only")
        answer = await self._http.send("GET", url, {"Accept": "application/json"})
        if answer.status != 200:
            raise Unavailable(f"the answer is {answer.status}, not 200")
        return answer.body

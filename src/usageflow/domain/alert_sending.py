"""One message to one destination: where it goes, what it says, and what its answer means. The sender and the environment come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from usageflow.domain.alert_messages import AlertEvent, WebhookSender, body_of, headers_of
from usageflow.domain.alerts import AlertDestination, destination_faults, variable_of
from usageflow.domain.errors import Unavailable

_GONE = 410


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a message: ``status`` is the HTTP answer, 0 where there is none; ``told`` says it to people."""

    status: int
    told: str

    @property
    def sent(self) -> bool:
        """Tells whether the receiver took it."""
        return 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Tells whether the receiver wants no more, ever."""
        return self.status == _GONE


class AlertSender:
    """Sends events to destinations, signed with what is derived from the installation's hash key."""

    def __init__(
        self,
        sender: WebhookSender,
        hash_key: bytes,
        environment: Mapping[str, str],
        *,
        allow_private: bool,
    ) -> None:
        self._sender = sender
        self._hash_key = hash_key
        self._environment = environment
        self.allow_private = allow_private

    async def send(
        self, event: AlertEvent, destination_id: str, destination: AlertDestination, now_us: int
    ) -> Attempt:
        """Sends an event now; its id is the same at each attempt."""
        url = self._url(destination)
        if not url:
            name = variable_of(destination.url)
            return Attempt(0, f"{name} is unset or holds no https address: set it where this service runs")
        body = body_of(event, destination.type)
        headers = headers_of(self._hash_key, (destination_id, destination), event.event_id, now_us, body)
        try:
            status = await self._sender.post(url, headers, body)
        except Unavailable as error:
            return Attempt(0, str(error))
        return Attempt(status, f"HTTP {status}")

    def _url(self, destination: AlertDestination) -> str:
        """Returns the address, "" where a variable holds none. What it holds is never told."""
        name = variable_of(destination.url)
        if not name:
            return destination.url
        resolved = destination.model_copy(update={"url": self._environment.get(name, "")})
        refused = variable_of(resolved.url) or list(
            destination_faults(resolved, allow_http=self.allow_private)
        )
        return "" if refused else resolved.url

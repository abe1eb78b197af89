"""The use-cases of alerts beside the standard methods: what fires, what fired, secrets and test messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from admin.aip.paging import page_size
from admin.applying import Applying
from admin.resources.alerts import AlertResources, Item
from admin.resources.shared import Found, Write
from usageflow.domain.alert_messages import TEST, AlertEvent, secret_of, shown_secret
from usageflow.domain.alert_sending import AlertSender, Attempt
from usageflow.domain.alerts import AlertDestination, DestinationType
from usageflow.domain.clock import Clock
from usageflow.domain.errors import FailedPrecondition
from usageflow.storage.alerts import AlertBook, HistoryRow, StoredAlert


class Alerts:
    """What people ask of alerts."""

    def __init__(
        self,
        applying: Applying,
        book: AlertBook,
        destinations: AlertResources,
        sender: AlertSender,
        clock: Clock,
        hash_key: bytes,
        new_id: Callable[[], str],
    ) -> None:
        self._applying = applying
        self._book = book
        self._destinations = destinations
        self._sender = sender
        self._clock = clock
        self._hash_key = hash_key
        self._new_id = new_id

    async def firing(self, application: str) -> Sequence[tuple[str, StoredAlert]]:
        """Returns the alerts that are not OK, by their rules' names. Raises NotFound."""
        owner = await self._applying.find(application)
        return await self._book.open_alerts(owner.application_id)

    async def history(self, application: str, size: int, before: str) -> tuple[Sequence[HistoryRow], str]:
        """Returns a page of events, newest first, and the next page's token. Raises NotFound and InvalidArgument."""
        owner = await self._applying.find(application)
        limit = page_size(size)
        rows = await self._book.alert_history(owner.application_id, before=before, limit=limit + 1)
        return rows[:limit], rows[limit - 1].event.event_id if len(rows) > limit else ""

    async def secret(self, application: str, name: str) -> tuple[Found, str]:
        """Returns a destination and its signing secret, "" for one that takes no signatures. Raises NotFound."""
        found = await self._destinations.get(application, name)
        _, row = await self._destinations.row(application, name)
        item = row.item
        if not isinstance(item, AlertDestination) or item.type is DestinationType.SLACK:
            return found, ""
        return found, shown_secret(secret_of(self._hash_key, row.row_id, item.secret_version))

    async def rotate(self, application: str, name: str, write: Write) -> tuple[Found, str]:
        """Makes the next secret. Raises as updates do, and FailedPrecondition for a destination that takes no signatures."""
        await self._destinations.change(application, name, self._rotated, write)
        return await self.secret(application, name)

    def _rotated(self, item: Item) -> Item:
        if not isinstance(item, AlertDestination) or item.type is DestinationType.SLACK:
            message = "a SLACK destination takes no signatures: there is no secret to rotate"
            raise FailedPrecondition(message, reason="NO_SECRET")
        update = {"secret_version": item.secret_version + 1, "rotated_us": self._clock.now_us()}
        return item.model_copy(update=update)

    async def test(self, application: str, name: str) -> Attempt:
        """Sends a message now; tells what became of it. Raises NotFound."""
        _, row = await self._destinations.row(application, name)
        if not isinstance(row.item, AlertDestination):
            raise TypeError(row.item)
        now_us, event_id = self._clock.now_us(), self._new_id()
        event = AlertEvent(
            event_id, event_id, application, "test", "TEST", "INFO", TEST, now_us, now_us, 0.0, 0.0, "%"
        )
        return await self._sender.send(event, row.row_id, row.item, now_us)

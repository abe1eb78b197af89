"""Takes what a destination tells by webhook: parts that it had taken and counts not after all."""

from __future__ import annotations

import structlog

from meter.reconciling import Reconciling
from meter.sinks.port import Notices
from meter.works import Billed
from usageflow.domain.clock import Clock

log = structlog.get_logger()


class Noticing:
    """Marks parts that were refused afterwards, and compares where the destination did not name all of them."""

    def __init__(self, billed: Billed, notices: Notices, reconciling: Reconciling, clock: Clock) -> None:
        self._billed = billed
        self._notices = notices
        self._reconciling = reconciling
        self._clock = clock

    async def take(self, body: bytes, signature: str) -> int:
        """Returns how many parts are REJECTED now; the same notice again changes nothing. Raises InvalidArgument where the signature or the body
        is not the destination's, Unavailable where it should be sent again.
        """
        notice = await self._notices.read_notice(body, signature)
        marked = 0
        if notice.refusals:
            marked = await self._billed.refuse_sent(notice.refusals, now_us=self._clock.now_us())
            log.warning(
                "parts were refused after they had been taken", named=len(notice.refusals), parts=marked
            )
        if notice.suspect is not None:
            await self._reconciling.look(notice.suspect)
        return marked

"""The client of asyncio applications."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import Final

from usageflow.client._aio.session import Session
from usageflow.client._config import ClientConfig
from usageflow.client._core.answer import HttpAnswer, denial, headers_of
from usageflow.client._core.capturing import wants_body
from usageflow.client._core.events import Outcome
from usageflow.client._core.pacing import Throttle
from usageflow.client._core.plan import EndpointName
from usageflow.client._core.request import RequestView
from usageflow.client._core.routes import RouteFilter, RouteOption
from usageflow.client._core.verdict import NOT_ASKED, Verdict
from usageflow.client._exchange import Exchange
from usageflow.client._hooks import current
from usageflow.client._status import ClientStatus, State
from usageflow.v1 import plan_pb2

_log: Final = logging.getLogger("usageflow")


class UsageFlowClient:
    """Decides and reports requests. Making one connects to nothing: that happens on first use in each event loop.

    One request: `watches`, `begin`, `decide`, then run the application or send `denial`, then `finish` and, once nothing of it
    runs any more, `release`.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        routes: Iterable[RouteOption] | None = None,
        whitelist_routes: Iterable[RouteOption] | None = None,
    ) -> None:
        """`routes` None or empty watches everything; `whitelist_routes` wins. Raises ValueError for unreadable ones."""
        self._config = config
        self._filter = RouteFilter(routes, whitelist_routes)
        self._routes: list[EndpointName] = []
        self._sessions: dict[asyncio.AbstractEventLoop, Session] = {}
        self._inherited: list[object] = []
        self._latest: weakref.ref[Session] | None = None
        self._pid = os.getpid()
        self._metadata_told = Throttle()
        self._tell()

    @property
    def active(self) -> bool:
        """False where the client is disabled or has no key: nothing is decided or reported."""
        return self._config.active

    def watches(self, method: str, path: str) -> bool:
        """Tells whether a request is to be decided and reported at all; `path` is what the router matched."""
        return self._config.active and self._filter.watches(method, path)

    def set_routes(self, routes: Sequence[EndpointName]) -> None:
        """Replaces the route table, (method, template) in the framework's spelling."""
        self._routes = list(routes)
        for session in self._sessions.values():
            session.set_routes(self._routes)

    def start(self) -> None:
        """Starts the connection in the running event loop; returns at once. The first request does the same."""
        if self.active:
            self._session()

    async def settled(self) -> None:
        """Returns with the first plan, or as soon as the service turns out to be unreachable, or after `startup_s`."""
        if self.active:
            await self._session().settled(self._config.startup_s)

    def begin(self, request: RequestView) -> Exchange | None:
        """Begins a watched request. Returns None where the plan says to leave the endpoint alone."""
        session = self._session()
        rule = session.plans.rule(request.method, request.route)
        if rule is not None and rule.action == plan_pb2.PLAN_ACTION_SKIP:
            return None
        exchange = Exchange(session, request, rule, time.time_ns(), time.perf_counter_ns())
        current.set(exchange.data)
        return exchange

    async def decide(self, exchange: Exchange) -> Verdict:
        """Decides a request; waits for at most the deadline, and not at all where no check is needed."""
        exchange.verdict = await exchange.session.decide(exchange.rule, exchange.request)
        return exchange.verdict

    def keeps_body(self, exchange: Exchange) -> bool:
        """Tells whether the event of a request is to hold its body: then the adapter notes it while the application reads it."""
        return wants_body(exchange.request, exchange.session.capture)

    def finish(
        self,
        exchange: Exchange,
        status: int,
        *,
        request_bytes: int = 0,
        response_bytes: int = 0,
        metadata: object = None,
    ) -> None:
        """Reports a request that ended with an HTTP status; a second call for the same request does nothing.

        `metadata` is what the application left for us in the framework's own place, unchecked: what is no metadata is
        logged once a minute and left out, since the response is gone already.
        """
        if exchange.finished:
            return
        exchange.finished = True
        if metadata is not None:
            self._add_metadata(exchange, metadata)
        latency_ns = time.perf_counter_ns() - exchange.started_mono_ns
        outcome = Outcome(status, latency_ns, request_bytes, response_bytes)
        exchange.session.report(
            exchange.started_ns, exchange.request, exchange.verdict, exchange.data, outcome
        )

    def release(self, exchange: Exchange) -> None:
        """Gives back the slot that a request holds while it runs, if a CONCURRENCY limit admitted it; a second call does nothing.

        To be called whatever became of the request: until then its slot is renewed.
        """
        exchange.session.release(exchange.verdict)

    def denial(self, exchange: Exchange) -> HttpAnswer:
        """Returns the answer to a denied request."""
        return denial(exchange.verdict)

    def headers(self, exchange: Exchange) -> list[tuple[str, str]]:
        """Returns the header fields that an allowed request's response gets."""
        return headers_of(exchange.verdict) if exchange.verdict is not NOT_ASKED else []

    async def aclose(self) -> None:
        """Delivers what waits in this event loop, within `shutdown_s`, and closes the connection."""
        loop = asyncio.get_running_loop()
        session = self._own().get(loop)
        if session is not None:
            await session.close()
            self._forget(loop)

    def status(self) -> ClientStatus:
        """Returns what the client is doing: of this event loop's connection, else of the latest one."""
        session = self._latest() if self._latest else None
        if session is not None and self._pid == os.getpid():
            return session.status()
        idle: State = "idle" if self._config.api_key else "unmetered"
        return ClientStatus("disabled" if self._config.disabled else idle, self._config.address)

    def _session(self) -> Session:
        loop = asyncio.get_running_loop()
        session = self._own().get(loop)
        if session is None:
            session = Session(self._config, self._routes, lambda: self._forget(loop))
            self._sessions[loop] = session
            self._latest = weakref.ref(session)
        return session

    def _add_metadata(self, exchange: Exchange, metadata: object) -> None:
        try:
            exchange.data.add_metadata(metadata)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            if self._metadata_told.ready(time.monotonic()):
                _log.warning("UsageFlow leaves metadata out of an event: %s", error)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sessions.pop(loop, None)

    def _own(self) -> dict[asyncio.AbstractEventLoop, Session]:
        if self._pid != os.getpid():
            # A fork copies sessions whose connection and tasks stayed in the parent: they are the parent's to finish.
            # They are kept, unused: to destroy a channel here would wait for threads that this process does not have.
            self._pid = os.getpid()
            self._inherited.append(self._sessions)
            self._sessions = {}
        return self._sessions

    def _tell(self) -> None:
        if self._config.disabled:
            _log.info("UsageFlow is disabled; requests are served unmetered")
        elif not self._config.api_key:
            _log.warning(
                "UsageFlow has no API key: requests are served unmetered. Pass the key to init() or set USAGEFLOW_API_KEY"
            )
        elif self._config.insecure:
            _log.warning(
                "UsageFlow sends its key to %s in plaintext because USAGEFLOW_INSECURE=1; use TLS instead",
                self._config.address,
            )

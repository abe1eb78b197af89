"""The quick start's API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from usageflow.client import ClientConfig, ClientStatus, UsageFlowClient
from usageflow.client.adapters import RouteOption
from usageflow.fastapi._asgi import ASGIApp
from usageflow.fastapi._middleware import UsageFlowMiddleware


class FastAPIUsageFlowAPI:
    """Makes the middleware: `init`, `request_interceptor`, then `app.add_middleware(middleware)`."""

    def __init__(self) -> None:
        """Connects to nothing and reads nothing yet."""
        self._config: ClientConfig | None = None
        self._client: UsageFlowClient | None = None
        self._trusted_proxies = 0

    def init(
        self,
        api_key: str | None = None,
        *,
        address: str | None = None,
        fail_mode: Literal["open", "closed"] = "open",
        deadline_s: float | None = None,
        trusted_proxies: int = 0,
        disabled: bool = False,
        release: str = "",
        service: str = "",
    ) -> None:
        """Takes the settings.

        `api_key` and `address` default to USAGEFLOW_API_KEY and USAGEFLOW_ADDR; the placeholder `YOUR_API_KEY` counts
        as not given. `fail_mode` rules until the first plan has arrived, then each endpoint's own does. `deadline_s` is
        how long a check may take, in seconds (default: USAGEFLOW_DEADLINE_MS, else 50 ms). `trusted_proxies` is how many own proxies a request passes: so many hops
        of X-Forwarded-For are believed. `release` names the application's version and
        `service` which deployable this is, where an application has several (defaults: USAGEFLOW_RELEASE and USAGEFLOW_SERVICE). Raises ValueError for settings that
        cannot be used.
        """
        if trusted_proxies < 0:
            raise ValueError(
                "trusted_proxies is the number of your own proxies in front of the app, 0 or more"
            )
        self._trusted_proxies = trusted_proxies
        self._config = ClientConfig.load(
            api_key,
            address=address,
            fail_mode=fail_mode,
            deadline_s=deadline_s,
            disabled=disabled,
            release=release,
            service=service,
        )

    def request_interceptor(
        self,
        routes: Iterable[RouteOption] | None = None,
        whitelist_routes: Iterable[RouteOption] | None = None,
    ) -> Callable[[ASGIApp], UsageFlowMiddleware]:
        """Returns the middleware for `app.add_middleware`.

        An option is `{"method": "GET", "url": "/api/users/:id"}`; either may be `*`. `whitelist_routes` are never
        touched; of the others, `routes` are watched, all where it is empty. Raises ValueError for unreadable options.
        """
        config = self._config or ClientConfig.load()
        self._client = UsageFlowClient(config, routes=routes, whitelist_routes=whitelist_routes)
        return partial(UsageFlowMiddleware, client=self._client, trusted_proxies=self._trusted_proxies)

    def status(self) -> ClientStatus | None:
        """Returns what the client is doing; None before `request_interceptor`."""
        return self._client.status() if self._client else None

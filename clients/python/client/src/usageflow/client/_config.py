"""The client's settings: arguments first, then the environment, then defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from usageflow.client._core import keys

FailModeName = Literal["open", "closed"]
_MAX_LABEL: Final = 128


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Settings of a client; `ClientConfig.load` fills in the environment."""

    api_key: str = ""
    """`uf_...`; empty: the application is served unmetered and nothing is connected to."""
    address: str = keys.DEFAULT_ADDRESS
    """`host:port`, or `unix:PATH`."""
    deadline_s: float = 0.05
    """How long a check may take, in seconds; then the endpoint's fail mode decides."""
    fail_mode: FailModeName = "open"
    """What happens before the first plan has arrived: `open` lets requests run, `closed` answers 503."""
    disabled: bool = False
    """True: the application is served as if UsageFlow were not there."""
    plaintext: bool = True
    """False: TLS."""
    ca_certificates: bytes | None = None
    """PEM; None means the system's."""
    client_certificate: bytes | None = None
    """PEM, for a service that asks for one; goes with `client_key`."""
    client_key: bytes | None = field(default=None, repr=False)
    """PEM."""
    release: str = ""
    """Version of the application, so that the service can tell which routes a release dropped."""
    service: str = ""
    """Which deployable this is, where an application has several with different routes."""
    flush_interval_s: float = 1.0
    """Longest time that an event waits for company, in seconds."""
    max_events: int = 10_000
    """Events kept in memory while the service cannot be reached."""
    startup_s: float = 0.5
    """Longest wait of a starting application for its first plan, in seconds."""
    shutdown_s: float = 2.0
    """Longest wait for the last delivery, in seconds."""

    def __post_init__(self) -> None:
        """Raises ValueError for settings that make no sense."""
        if self.fail_mode not in ("open", "closed"):
            raise ValueError(f"fail_mode is 'open' or 'closed', not {self.fail_mode!r}")
        if not 0 < self.deadline_s <= 60:
            raise ValueError(f"deadline_s is in seconds, above 0 and at most 60, not {self.deadline_s!r}")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError(
                "USAGEFLOW_CLIENT_CERT and USAGEFLOW_CLIENT_KEY go together: set both, or neither"
            )
        if self.max_events < 1 or self.flush_interval_s <= 0 or min(self.startup_s, self.shutdown_s) < 0:
            raise ValueError(
                "max_events must be at least 1, flush_interval_s above 0, startup_s and shutdown_s 0 or more"
            )

    @property
    def active(self) -> bool:
        """True where there is a service to talk to."""
        return bool(self.api_key) and not self.disabled

    @property
    def insecure(self) -> bool:
        """True where keys and values travel in plaintext to another machine."""
        return self.plaintext and not keys.is_local(self.address)

    @classmethod
    def load(
        cls,
        api_key: str | None = None,
        *,
        address: str | None = None,
        deadline_s: float | None = None,
        fail_mode: FailModeName = "open",
        disabled: bool = False,
        release: str = "",
        service: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> ClientConfig:
        """Returns settings from arguments and environment.

        Reads USAGEFLOW_API_KEY, USAGEFLOW_ADDR, USAGEFLOW_DEADLINE_MS, USAGEFLOW_DISABLED, USAGEFLOW_CA_FILE,
        USAGEFLOW_CLIENT_CERT, USAGEFLOW_CLIENT_KEY, USAGEFLOW_INSECURE, USAGEFLOW_RELEASE and USAGEFLOW_SERVICE. To name a
        PEM file asks for TLS, on this machine too. Raises ValueError where a setting cannot be used, saying what to change.
        """
        env = os.environ if environ is None else environ
        where = keys.resolve_address(address, env)
        named = any(env.get(variable) for variable in ("USAGEFLOW_CA_FILE", "USAGEFLOW_CLIENT_CERT"))
        plaintext = not named and (keys.is_local(where) or keys.is_set(env, "USAGEFLOW_INSECURE"))
        return cls(
            api_key=keys.resolve_key(api_key, env),
            address=where,
            deadline_s=keys.resolve_deadline(deadline_s, env),
            fail_mode=fail_mode,
            disabled=disabled or keys.is_set(env, "USAGEFLOW_DISABLED"),
            plaintext=plaintext,
            ca_certificates=_read_pem(env, "USAGEFLOW_CA_FILE"),
            client_certificate=_read_pem(env, "USAGEFLOW_CLIENT_CERT"),
            client_key=_read_pem(env, "USAGEFLOW_CLIENT_KEY"),
            release=_label(release or env.get("USAGEFLOW_RELEASE", "")),
            service=_label(service or env.get("USAGEFLOW_SERVICE", "")),
        )


def _label(text: str) -> str:
    """Returns a name as the service takes it: an odd one must not keep routes from being registered."""
    return "".join(character for character in text.strip() if character.isprintable())[:_MAX_LABEL]


def _read_pem(environ: Mapping[str, str], variable: str) -> bytes | None:
    path = environ.get(variable, "")
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{variable} cannot be read ({error}); name a PEM file or unset it") from error

"""Services over a PostgreSQL as processes of their own: for the proofs and the end-to-end tests."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.processes import COMMAND, ROOT, Process, ProcessFailed, address_of, clean_environment, free_port

_READY_S = 90
"""Several processes start at once, on machines with few cores too."""


class Role(Process):
    """One process of ``usageflow serve ROLE`` over a database; ``settings`` are further USAGEFLOW_* variables."""

    def __init__(self, role: str, data: Path, *options: str, **settings: str) -> None:
        self.role, self.data = role, data
        usual = {"USAGEFLOW_LISTEN": "127.0.0.1:0", "USAGEFLOW_LOG_LEVEL": "WARNING"}
        super().__init__(
            [str(COMMAND), "serve", role, *options],
            clean_environment(**{**usual, "USAGEFLOW_DATA": str(data), **settings}),
        )

    def wait_ready(self) -> str:
        """Returns the address once it is ready."""
        self.ready_after_s = self.wait_for("usageflow ready on ", _READY_S)
        return address_of(self.lines)


@dataclass
class Installation:
    """A database, and the settings that all of its processes share."""

    url: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    hash_key: str = field(default_factory=lambda: secrets.token_hex(32))
    api_key: str = ""
    admin_token: str = ""
    admin_address: str = ""

    @property
    def shared(self) -> dict[str, str]:
        """Returns what every process is told."""
        own = {"USAGEFLOW_DATABASE_URL": self.url, "USAGEFLOW_HASH_KEY": self.hash_key}
        return {**own, **self.settings}

    def bootstrap(self) -> None:
        """Makes the first application, ``demo``, and keeps its credentials. Raises ProcessFailed."""
        made = self.run("bootstrap", "--output", "json", **self.shared)
        if made.returncode:
            raise ProcessFailed(made.stderr)
        secrets_made = json.loads(made.stdout)
        self.api_key, self.admin_token = secrets_made["api_key"], secrets_made["admin_token"]

    def role(self, role: str, name: str, *options: str, **settings: str) -> Role:
        """Returns a process, which is not started, with a data folder of its own called ``name``."""
        return Role(role, self.folder / name, *options, **self.shared, **settings)

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the command ``usageflow`` against the admin process."""
        credentials = {
            "USAGEFLOW_ADDR": self.admin_address,
            "USAGEFLOW_API_KEY": self.api_key,
            "USAGEFLOW_ADMIN_TOKEN": self.admin_token,
        }
        return self.run(*arguments, **credentials, **environment)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the command ``usageflow`` in an environment of nothing else."""
        return subprocess.run(
            [str(COMMAND), *arguments],
            env=clean_environment(USAGEFLOW_DATA=str(self.folder / "command"), **environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def apply(self, policies: str) -> None:
        """Applies the text of a policy file. Raises ProcessFailed."""
        path = self.folder / "policies.yaml"
        path.write_text(policies)
        applied = self.command("apply", "-f", str(path))
        if applied.returncode:
            raise ProcessFailed(applied.stderr)


@dataclass(frozen=True)
class SharedForm:
    """A running installation: an admin process, and decision processes at ``addresses``."""

    installation: Installation
    admin: Role
    decisions: list[Role]
    addresses: list[str]
    running: ExitStack
    http_ports: list[int]

    def replace(self, old: Role, new: Role) -> None:
        """Starts another process in the place of one that has ended."""
        self.decisions[self.decisions.index(old)] = self.running.enter_context(new)


@contextmanager
def shared_form(
    url: str, folder: Path, policies: str, *, decisions: int = 3, **settings: str
) -> Iterator[SharedForm]:
    """Bootstraps an empty database, starts its processes and yields them once all enforce ``policies``."""
    ports = [free_port() for _ in range(decisions)]
    folder.mkdir(parents=True, exist_ok=True)
    installation = Installation(url, folder, settings)
    installation.bootstrap()
    with ExitStack() as running:
        admin = running.enter_context(installation.role("admin", "admin"))
        crew = [
            running.enter_context(
                installation.role("decision", f"decision-{n}", USAGEFLOW_HTTP_LISTEN=f"127.0.0.1:{port}")
            )
            for n, port in enumerate(ports)
        ]
        installation.admin_address = admin.wait_ready()
        addresses = [one.wait_ready() for one in crew]
        installation.apply(policies)
        waited = installation.command("status", "--wait", "--timeout", "30")
        if waited.returncode:
            raise ProcessFailed(waited.stderr)
        yield SharedForm(installation, admin, crew, addresses, running, ports)

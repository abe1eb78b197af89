"""``usageflow serve decision --workers N``: a parent that starts N processes on one port, restarts what dies and ends all.

The kernel spreads connections over the processes (SO_REUSEPORT). Each has an HTTP listener of its own: the first at
USAGEFLOW_HTTP_LISTEN, the next at the port after it, and so on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from usageflow.domain.errors import FailedPrecondition
from usageflow.runtime.settings import Address, Settings

READY = b"usageflow ready on "
END_S = 10.0
"""After the signal to end: whoever is still there then is killed."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0
"""Who ran for so long and dies is started again soon."""

log = structlog.get_logger()


@contextmanager
def shared_port(address: Address) -> Iterator[Address]:
    """Holds a port for workers, who alone listen on it; yields the address with its real port. Raises FailedPrecondition."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as holder:
        try:
            _ensure_free(family, address)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind((address.host, address.port))
        except OSError as error:
            message = f"cannot listen on {address} ({error.strerror}): stop what uses it, or set USAGEFLOW_LISTEN to a free address"
            raise FailedPrecondition(message, reason="ADDRESS_TAKEN") from None
        yield Address(address.host, holder.getsockname()[1])


def _ensure_free(family: socket.AddressFamily, address: Address) -> None:
    """Raises OSError where another group of workers has the port: sharing it with them would go unnoticed."""
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.host, address.port))


def environment_of(settings: Settings, address: Address, number: int) -> dict[str, str]:
    """Returns the environment of a worker, counted from 0."""
    own = {"USAGEFLOW_WORKER": "1", "USAGEFLOW_LISTEN": str(address)}
    http = settings.http_address
    if http is not None and http.port:
        own["USAGEFLOW_HTTP_LISTEN"] = str(Address(http.host, http.port + number))
    return {**os.environ, **own}


async def supervise(
    settings: Settings,
    snapshot: Path | None,
    workers: int,
    stop: asyncio.Event,
    on_ready: Callable[[Address], None],
) -> int:
    """Runs workers until ``stop``; returns the exit code: 1 where one could not even start. Raises FailedPrecondition."""
    with shared_port(settings.grpc_address) as address:
        command = [sys.executable, "-m", "decision", *(["--snapshot", str(snapshot)] if snapshot else [])]
        crew = [_Worker(command, environment_of(settings, address, number)) for number in range(workers)]
        tasks = [asyncio.create_task(worker.run()) for worker in crew]
        stopped = asyncio.create_task(_until(stop))
        ready = asyncio.create_task(_until(*(worker.ready for worker in crew)))
        try:
            await asyncio.wait({stopped, ready, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                on_ready(address)
                await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            return 0 if stopped.done() else 1
        finally:
            waiting = (*tasks, stopped, ready)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await asyncio.gather(*(worker.end() for worker in crew))


async def _until(*events: asyncio.Event) -> None:
    for event in events:
        await event.wait()


class _Worker:
    """One process, started again whenever it dies."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Runs for ever; returns where the process ended before it was ever ready: another attempt would end the same way."""
        loop, pause_s = asyncio.get_running_loop(), _FIRST_PAUSE_S
        while True:
            started = loop.time()
            code = await self._run_once()
            if not self.ready.is_set():
                return
            log.error("a worker ended; starting another", code=code)
            pause_s = _FIRST_PAUSE_S if loop.time() - started > _STEADY_S else pause_s
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _run_once(self) -> int:
        # Its standard input is how it notices that we are gone, however we went.
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        output = self._process.stdout
        while output is not None and (line := await output.readline()):
            if line.startswith(READY):
                self.ready.set()
        return await self._process.wait()

    async def end(self) -> None:
        """Ends the process: with time to drain, then at once."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

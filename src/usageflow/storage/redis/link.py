"""One connection to one Redis that all callers share: calls are pipelined, answers come in their order.

redis-py connects, signs in and parses; this module keeps the order. A caller that goes away leaves its place in the queue, so
its answer is read and dropped, never given to the next one. Nothing is ever sent twice: a take that timed out may have taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError

from usageflow.domain.errors import Unavailable
from usageflow.storage.redis.errors import unavailable
from usageflow.storage.redis.scripts import Script

ANSWER_S = 1.0
"""How long a call waits for its answer, at most: callers have deadlines of their own, which are shorter."""

CONNECT_S = 1.0
STALLED_S = 5.0
"""After so long without an answer the connection is given up: it may be half open."""

MAX_WAITING = 1_000
"""Calls on their way, at most. With Redis stalled, further ones fail at once and memory stays flat."""

Argument = str | bytes
Reply = Any
"""What Redis answers: bytes, an integer, None, a list of these, or an error that is not raised."""


class Link:
    """A connection that comes back by itself. One event loop must own it."""

    def __init__(self, connect: Callable[[], AbstractConnection], address: str) -> None:
        """``connect`` makes a connection that is not open yet; ``address`` is what errors call it."""
        self.address = address
        self._make = connect
        self._connection: AbstractConnection | None = None
        self._opening: asyncio.Task[AbstractConnection] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._progress_s = 0.0

    async def run(self, script: Script, keys: list[str], arguments: list[Argument]) -> Reply:
        """Runs a script, loading it where this Redis does not know it (any more). Raises as call does."""
        try:
            return await self.call("EVALSHA", script.sha, str(len(keys)), *keys, *arguments)
        except NoScriptError:
            return await self.call("EVAL", script.body, str(len(keys)), *keys, *arguments)

    async def call(self, *command: Argument) -> Reply:
        """Returns the answer to a command. Raises RedisError where that is an error, Unavailable where there is none."""
        (answer,) = await self.call_all([command])
        if isinstance(answer, RedisError):
            raise answer
        return answer

    async def call_all(self, commands: list[tuple[Argument, ...]]) -> list[Reply]:
        """Sends commands in one piece; returns their answers, errors among them. Raises Unavailable."""
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = self._connection or await self._connected()
                return await self._exchange(connection, commands)
        except TimeoutError:
            raise Unavailable(
                f"Redis at {self.address} did not answer within {ANSWER_S:g} s: see whether it is overloaded or stopped"
            ) from None
        except (RedisError, OSError) as error:
            raise unavailable(error, self.address) from error

    async def _exchange(
        self, connection: AbstractConnection, commands: Iterable[tuple[Argument, ...]]
    ) -> list[Reply]:
        self._check_progress()
        if connection is not self._connection:
            raise ConnectionError("the connection was lost")
        loop = asyncio.get_running_loop()
        # The stub of hiredis takes tuples of one only.
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        answers = [loop.create_future() for _ in packed]
        if not self._waiting:
            self._progress_s = loop.time()
        self._waiting.extend(answers)
        try:
            await connection.send_packed_command(packed, check_health=False)
        except BaseException as error:
            self._lose(connection, error)
            raise
        return [await answer for answer in answers]

    def _check_progress(self) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(
                f"Redis at {self.address} is {MAX_WAITING} calls behind: see whether it is overloaded or stopped"
            )
        stalled_s = asyncio.get_running_loop().time() - self._progress_s
        if self._waiting and stalled_s > STALLED_S and self._connection is not None:
            error = ConnectionError(f"no answer for {stalled_s:.0f} s")
            self._lose(self._connection, error)
            raise error

    async def _connected(self) -> AbstractConnection:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_forget_error)
        return await asyncio.shield(self._opening)

    async def _open(self) -> AbstractConnection:
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py does not type it
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self._reading = asyncio.create_task(self._read(connection))
        return connection

    async def _read(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                answer = await self._next(connection)
                self._progress_s = loop.time()
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except (RedisError, OSError, IndexError) as error:
            self._lose(connection, error)

    async def _next(self, connection: AbstractConnection) -> Reply:
        try:
            return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except (ResponseError, BusyLoadingError) as error:
            return error

    def _lose(self, connection: AbstractConnection, error: BaseException) -> None:
        """Gives a connection up, and tells all who wait for its answers."""
        if connection is not self._connection:
            return
        self._connection = None
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.done():
                each.set_exception(ConnectionError(f"the connection was lost: {error}"))
                each.exception()  # whoever waited may be gone
        closing = asyncio.create_task(_close(connection))
        closing.add_done_callback(lambda task: task.exception())

    async def close(self) -> None:
        """Closes the connection; calls on their way fail."""
        opening, reading, connection = self._opening, self._reading, self._connection
        if connection is not None:
            self._lose(connection, ConnectionError("closed"))
            await _close(connection)
        for task in (opening, reading):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task


def _forget_error(task: asyncio.Task[AbstractConnection]) -> None:
    """Whoever waited for it may be gone."""
    if not task.cancelled():
        task.exception()


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(RedisError, OSError, TimeoutError):
        await connection.disconnect(nowait=True)

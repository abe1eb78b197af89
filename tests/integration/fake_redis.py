"""A server that speaks Redis's protocol and answers every command but the handshake's with one thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hiredis


class FakeRedis:
    """Says ``answer``, which is a line of the protocol, and keeps the commands that it was sent."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[list[bytes]] = []
        self.port = 0
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser, task = hiredis.Reader(), asyncio.current_task()
        if task is not None:
            self._serving[task] = writer
        while data := await reader.read(65_536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                writer.write(self._answer(command))
        writer.close()

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] == b"CLIENT":
            return b"+OK\r\n"
        self.asked.append(command)
        return f"{self.answer}\r\n".encode()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serves on a free port; yields its URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"redis://127.0.0.1:{self.port}"
        finally:
            server.close()
            for writer in self._serving.values():
                writer.close()
            await asyncio.gather(*self._serving)
            await server.wait_closed()

"""A shell and log server of the generator's own, to which it sends devices as the cloud would
(cloudsdk-protocol 4): the reference cloud is not asked.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Final

from cloudsdk.datapoints import DataPoint

HOST: Final = "127.0.0.1"
READ: Final = 64 * 1024  # bytes at a time
ANSWER_TIMEOUT: Final = 5.0  # seconds until a shell has answered a line


class ConsoleServer:
    """Takes what logs send; types `lines` into shells, waits for each answer and closes. Use `start`."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.connections = 0
        self.received = 0  # bytes
        self.lines_answered = 0
        self.shell_order = self.log_order = b""
        self._lines = lines
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    async def start(cls, lines: Sequence[bytes]) -> "ConsoleServer":
        """Listen on any free port of loopback; without `lines` it is a log server."""
        found = cls(lines)
        found._server = await asyncio.start_server(found._serve, HOST, 0)
        port = found._server.sockets[0].getsockname()[1]
        found.shell_order = _order(DataPoint.SHELL_SERVER, port)
        found.log_order = _order(DataPoint.LOG_SERVER, port)
        return found

    def close(self) -> None:
        """No more of it; the connections end."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, TimeoutError):
                await self._talk(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._lines:
            while piece := await reader.read(READ):
                self.received += len(piece)
            return
        for line in (b"", *self._lines):  # first come the key and the prompt
            writer.write(line)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                answer = await reader.read(READ)
            self.received += len(answer)
            self.lines_answered += bool(line and answer)
        writer.write_eof()
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while await reader.read(READ):
                pass


def _order(point: DataPoint, port: int) -> bytes:
    return json.dumps({"data": [{"DP": int(point), "value": {"host": HOST, "port": port}}]}).encode()

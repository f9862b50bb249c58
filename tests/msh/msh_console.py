"""A board and a shell in memory, typed at by tests."""

from collections.abc import Sequence
from typing import Any

from sim.flash.layout import load_board
from sim.msh.boards import iot_board_commands
from sim.msh.commands import Command
from sim.msh.kprintf import decode, encode
from sim.msh.memory import MemoryBoard
from sim.msh.shell import Shell

LAYOUT = load_board("iot-board")


class Console:
    """`type` gives what appears on the console, as text before the UART."""

    def __init__(
        self,
        *extra: Command,
        commands: Sequence[Command] | None = None,
        started: bool = True,
        **board: Any,
    ) -> None:
        self.output = bytearray()
        self.board = MemoryBoard(LAYOUT, self.output.extend, **board)
        if started:
            self.board.env.init()
        table = (*(iot_board_commands() if commands is None else commands), *extra)
        self.shell = Shell(self.board, table, self.output.extend)
        self.shell.start()
        self.waits: list[int] = []
        self.output.clear()

    def type(self, text: str | bytes) -> str:
        """What appears once everything typed was carried out."""
        self.output.clear()
        self.shell.feed(encode(text) if isinstance(text, str) else text)
        while self.shell.wait_ms is not None:
            self.waits.append(self.shell.wait_ms)
            self.shell.resume()
        return decode(bytes(self.output))

    def run(self, line: str) -> str:
        """What a command prints between the echo of its line and the next prompt."""
        shown = self.type(line + "\r")
        prompt = f"msh {self.shell.cwd}>"
        assert shown.startswith(line + "\n")
        assert self.shell.halted or shown.endswith(prompt)
        return shown[len(line) + 1 :].removesuffix(prompt)

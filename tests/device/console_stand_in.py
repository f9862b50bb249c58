"""A shell of two commands in the place of msh."""

from collections.abc import Iterator

BANNER = (
    b"\n \\ | /\n- RT -     Thread Operating System\n / | \\     4.0.1 build (date)\n"
    b" 2006 - 2019 Copyright by rt-thread team\n"
)
PROMPT = b"msh />"
MAX_LINE = 80  # bytes


class StandInShell:
    """Notes what it was asked."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.echoes: list[bool] = []
        self._echo = True
        self._line = bytearray()

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        for byte in data:
            if byte in b"\r\n":
                if self._echo:
                    yield b"\n"
                yield from self._run(self._line.decode(errors="replace"))
                self._line.clear()
                yield PROMPT
            elif len(self._line) < MAX_LINE:
                self._line.append(byte)
                if self._echo:
                    yield bytes([byte])

    def switched(self, *, remote: bool) -> Iterator[bytes]:
        self._echo = not remote
        self.echoes.append(self._echo)
        if remote:
            yield from self._run("version")
            yield PROMPT

    def _run(self, command: str) -> Iterator[bytes]:
        self.commands.append(command)
        if command == "version":
            yield BANNER
        elif command == "hello":
            yield b"Hello RT-Thread!\n"
        elif command:
            yield f"{command}: command not found.\n".encode()

"""msh: a prompt, a line editor, and the commands of the board (console 3 and 4)."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError
from sim.msh import files, parser
from sim.msh.commands import Command, Context, ShellBoard
from sim.msh.editor import Completion, LineEditor
from sim.msh.kprintf import decode, encode

# Bytes that wait while a command runs; more are lost.
UART_RING: Final = 64  # console 1
WEB_SHELL_RING: Final = 1024  # cloudsdk-protocol 4
MAX_WAIT_MS: Final = 24 * 3600 * 1000  # of a command at a time
MAX_SCRIPT: Final = 64 * 1024  # bytes of a script file
MAX_SCRIPT_DEPTH: Final = 4  # scripts that call scripts; the original has a stack of 4 KiB for them
MAX_SCRIPT_LINES: Final = 1024  # that one typed line can lead to
_COMMENT: Final = b"#"
_SCRIPT_MARKS: Final = (b".sh", b".SH")
_SCRIPT_DIRECTORY: Final = "/bin"
_BLANKS: Final = b" \t"


class CommandTableError(CloudSdkError):
    """Commands that cannot be in one table."""

    code: ClassVar[str] = "msh.commands"
    exit_status: ClassVar[int] = 2


class Shell:
    """The console of one board run. Bytes go in with `feed`, bytes before the UART come out of `write`.

    `commands` is the table in the order of `help`. A command that waits leaves the shell busy: `wait_ms` says
    how long until `resume` is due; meanwhile up to `ring` typed bytes are kept. Raises `CommandTableError`
    for a name that is empty, has blanks, or is there twice.
    """

    def __init__(
        self,
        board: ShellBoard,
        commands: Sequence[Command],
        write: Callable[[bytes], None],
        *,
        echo: bool = True,
        ring: int = UART_RING,
    ) -> None:
        self._table = command_table(commands)
        self._context = Context(board, tuple(commands), write)
        self._write = write
        self._editor = LineEditor(self._prompt, self._complete, echo=echo)
        self._script_lines = 0  # since the last typed line
        self._ring: deque[int] = deque()
        self._ring_size = ring
        self._running: Iterator[int] | None = None
        self._wait_ms: int | None = None

    @property
    def echo(self) -> bool:
        """Whether typed text is repeated; the Web Shell turns it off."""
        return self._editor.echo

    @echo.setter
    def echo(self, on: bool) -> None:
        self._editor.echo = on

    @property
    def ring(self) -> int:
        """How many typed bytes wait while a command runs: the size of the console device's buffer."""
        return self._ring_size

    @ring.setter
    def ring(self, size: int) -> None:
        self._ring_size = size

    @property
    def cwd(self) -> str:
        """The working directory."""
        return self._context.cwd

    @property
    def halted(self) -> bool:
        """After a reboot or a fault: nothing is read or printed any more."""
        return self._context.halted

    @property
    def wait_ms(self) -> int | None:
        """Milliseconds until `resume` is due, counted from when they were asked for; None while idle."""
        return None if self.halted else self._wait_ms

    def halt(self) -> None:
        """The console is dead from here on: a reset, or a fault of the firmware."""
        self._context.halt()

    def start(self) -> None:
        """Show the first prompt."""
        self._write(self._prompt())

    def feed(self, data: bytes) -> None:
        """Take what was typed, in any slices."""
        for byte in data:
            if self._running is None:
                self._press(byte)
            elif len(self._ring) < self._ring_size:
                self._ring.append(byte)

    def resume(self) -> None:
        """Go on with the command that waits, then with what was typed meanwhile."""
        self._step()
        while self._ring and self._running is None:
            self._press(self._ring.popleft())

    def run(self, line: str) -> None:
        """Carry out one line without echo and prompt, as the Web Shell does with `version`.

        What it waits for is left out.
        """
        deque(self._execute(encode(line)), maxlen=0)

    def _press(self, byte: int) -> None:
        if self.halted:
            return
        stroke = self._editor.press(byte)
        if stroke.output:
            self._write(stroke.output)
        if stroke.line is not None:
            self._running = self._execute(stroke.line.content, stroke.line.length)
            self._step()

    def _step(self) -> None:
        if self._running is None or self.halted:
            return
        self._wait_ms = next(self._running, None)
        if self._wait_ms is None:
            self._running = None
            if not self.halted:
                self._write(self._prompt())

    def _prompt(self) -> bytes:
        cwd = self._context.cwd if self._context.board.files is not None else ""
        return encode(f"msh {cwd}>")

    # --- execution (4) ------------------------------------------------------------------------------

    def _execute(self, content: bytes, length: int | None = None, depth: int = 0) -> Iterator[int]:
        """Run the first `length` bytes of `content`; an unknown command is named from all of it."""
        length = len(content) if length is None else length
        stripped = content.lstrip(_BLANKS)
        line = stripped[: max(0, length - (len(content) - len(stripped)))]
        if not line:
            return
        word = bytes(takewhile(lambda byte: byte not in _BLANKS, line))
        command = self._table.get(decode(word))
        if command is not None:
            yield from self._call(command, line)
        elif (script := self._script(word)) is not None:
            if depth == 0:
                self._script_lines = 0
            yield from self._run_script(script, depth)
        else:
            self._context.kprintf("%s: command not found.\n", decode(stripped.partition(b" ")[0]))

    def _call(self, command: Command, line: bytes) -> Iterator[int]:
        parsed = parser.parse(line)
        arguments = [decode(argument) for argument in parsed.arguments]
        context = self._context
        if parsed.too_many:
            context.write("Too many args ! We only Use:\n" + "".join(f"{each} " for each in arguments) + "\n")
        context.line = parsed
        try:
            waits = command.run(context, arguments)
            if waits is not None:
                yield from _pauses(waits)
        except CloudSdkError as error:
            context.write(f"{command.name}: {_one_line(error)} [{error.code}]\n")
        except Exception as error:
            context.write(f"{command.name}: {type(error).__name__}: {_one_line(error)}\n")

    def _script(self, word: bytes) -> bytes | None:
        """The script of that name in the working directory or in `/bin`."""
        file_system = self._context.board.files
        if file_system is None or not any(mark in word for mark in _SCRIPT_MARKS):
            return None
        name = decode(word)
        for directory in (self._context.cwd, _SCRIPT_DIRECTORY):
            content = file_system.read(files.resolve(directory, name))
            if content is not None:
                return content[:MAX_SCRIPT]
        return None

    def _run_script(self, script: bytes, depth: int) -> Iterator[int]:
        if depth == MAX_SCRIPT_DEPTH:
            self._context.write("msh: scripts call each other too deeply [msh.script]\n")
            return
        for line in script.split(b"\n"):
            if self.halted or self._script_lines == MAX_SCRIPT_LINES:
                return
            self._script_lines += 1
            if not line.startswith(_COMMENT):
                yield from self._execute(line.rstrip(b"\r"), depth=depth + 1)

    # --- completion (3) -----------------------------------------------------------------------------

    def _complete(self, line: bytes) -> Completion:
        if not line:
            return Completion(encode(help_text(self._context.commands)), line)
        listing = b""
        if b" " in line:
            listing, line = self._complete_path(line)
        names = [encode(name) for name in self._table]
        matches = [name for name in names if name.startswith(line)]
        listing += b"".join(name + b"\n" for name in matches)
        return Completion(listing, _common_prefix(matches) if matches else line)

    def _complete_path(self, line: bytes) -> tuple[bytes, bytes]:
        head, _, path = line.rpartition(b" ")
        directory, slash, start = path.rpartition(b"/")
        file_system = self._context.board.files
        where = files.resolve(self._context.cwd, decode(directory + slash))
        entries = file_system.entries(where) if file_system is not None else None
        if entries is None:
            return b"", line
        matches = [name for entry in entries if (name := encode(entry.name)).startswith(start)]
        listing = b"".join(name + b"\n" for name in matches) if not start or len(matches) > 1 else b""
        if not start or not matches:
            return listing, line
        return listing, head + b" " + directory + slash + _common_prefix(matches)


def help_text(commands: Sequence[Command]) -> str:
    """What `help` prints (console 5)."""
    rows = "".join(f"{each.name:<16} - {each.description}\n" for each in commands if each.listed)
    return f"RT-Thread shell commands:\n{rows}\n"


def command_table(commands: Sequence[Command]) -> dict[str, Command]:
    """The commands by name. Raises `CommandTableError`."""
    table: dict[str, Command] = {}
    for each in commands:
        if not each.name or any(character in " \t\r\n\0" for character in each.name):
            raise CommandTableError(f"{each.name!r} cannot be typed as a command name")
        if each.name in table:
            raise CommandTableError(f"command {each.name!r} is there twice; rename one")
        table[each.name] = each
    return table


def _pauses(waits: Iterator[int]) -> Iterator[int]:
    """What a command yields, within reason: commands may be a user's."""
    for wait in waits:
        if not isinstance(wait, int):
            raise TypeError(f"a command yields milliseconds, not {wait!r}")
        yield min(max(0, wait), MAX_WAIT_MS)


def _common_prefix(names: Sequence[bytes]) -> bytes:
    first, last = min(names), max(names)
    return bytes(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

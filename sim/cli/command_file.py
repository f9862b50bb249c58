"""Console commands of the user's own, from a Python file."""

import types
from pathlib import Path
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError
from cloudsdk.files import open_regular
from sim.msh.commands import Command

MAX_SOURCE: Final = 1 << 20  # bytes


class CommandFileError(CloudSdkError):
    """A file that does not define commands."""

    code: ClassVar[str] = "device.commands"
    exit_status: ClassVar[int] = 2


def load_commands(path: Path) -> tuple[Command, ...]:
    """Run a Python file; the commands it leaves behind, in the order of their definition.

    Raises `CommandFileError`, whatever goes wrong in the file.
    """
    try:
        with open_regular(path) as file:
            source = file.read(MAX_SOURCE + 1)
    except OSError as error:
        raise CommandFileError(f"cannot read commands from {str(path)!r}: {error.strerror}") from error
    if len(source) > MAX_SOURCE:
        raise CommandFileError(f"{str(path)!r} has more than {MAX_SOURCE} bytes; it is no command file")
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - that is what the user asks for
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit and what the file makes itself
        raise CommandFileError(
            f"{str(path)!r}{_line_of(error, path)}: {type(error).__name__}: {error}"
        ) from error
    commands = tuple(each for each in vars(module).values() if isinstance(each, Command))
    if not commands:
        raise CommandFileError(f"{str(path)!r} defines no command; decorate a function with @command")
    return commands


def _line_of(error: BaseException, path: Path) -> str:
    """Where in the file it went wrong, as far as that is known."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line is not None else ""

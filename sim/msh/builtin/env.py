"""The ENV from the shell (console 9, easyflash-format 7). `envrionment` is the original's spelling."""

from collections.abc import Sequence
from contextlib import suppress

from cloudsdk.env import EnvError
from sim.msh.commands import Context, command
from sim.msh.kprintf import decode
from sim.msh.parser import CommandLine


@command("setenv", "Set an envrionment variable.")
def setenv(context: Context, arguments: Sequence[str]) -> None:
    with suppress(EnvError):  # it has said so itself, or the original says nothing
        if len(arguments) < 2:
            context.write("Please input: setenv <key> [value]\n")
        elif len(arguments) == 2:
            context.board.env.delete(arguments[1])
        else:
            context.board.env.set(arguments[1], _value(context.line))


def _value(line: CommandLine) -> str:
    """The third argument, or all from it on with a blank behind each, up to the next NUL.

    A NUL is left where two blanks, or a closing quote and a blank, separated two arguments (easyflash-format
    7).
    """
    first, *more = line.spans[2:]
    if not more:
        return decode(line.arguments[2])
    memory = bytearray(line.memory + b"\0")
    for span in (first, *more):
        memory[span.end] = ord(" ")
    return decode(bytes(memory[first.start :]).partition(b"\0")[0])


@command("printenv", "Print all envrionment variables.")
def printenv(context: Context, arguments: Sequence[str]) -> None:
    context.write(context.board.env.print_env())


@command("saveenv", "Save all envrionment variables to flash.")
def saveenv(context: Context, arguments: Sequence[str]) -> None:
    with suppress(EnvError):
        context.board.env.save()


@command("getvalue", "Get an envrionment variable by name.")
def getvalue(context: Context, arguments: Sequence[str]) -> None:
    """Without a name the original follows a null pointer; the board then has an empty name."""
    key = arguments[1] if len(arguments) > 1 else None
    value = context.board.env.get(key or "")
    if value is None:
        context.kprintf("Can't find %s.\n", key)
    else:
        context.kprintf("The %s value is %s.\n", key, value)


@command("resetenv", "Reset all envrionment variable to default.")
def resetenv(context: Context, arguments: Sequence[str]) -> None:
    with suppress(EnvError):
        context.board.env.set_default()

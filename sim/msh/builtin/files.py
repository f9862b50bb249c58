"""File commands (console 7)."""

from collections.abc import Sequence
from typing import ClassVar, Final

from cloudsdk import console
from cloudsdk.errors import CloudSdkError
from sim.msh.commands import Context, command
from sim.msh.files import Entry, FileSystem, base_name, resolve
from sim.msh.kprintf import encode

MAX_COPY_DEPTH: Final = 16  # directories in directories that `cp` follows
_UNITS: Final = ("KB", "MB", "GB")


class NoFileSystemError(CloudSdkError):
    """A file command on a board without files."""

    code: ClassVar[str] = "msh.files"


def _files(context: Context) -> FileSystem:
    files = context.board.files
    if files is None:
        raise NoFileSystemError("this firmware has no file system")
    return files


def _path(context: Context, argument: str) -> str:
    return resolve(context.cwd, argument)


@command("ls", "List information about the FILEs.")
def ls(context: Context, arguments: Sequence[str]) -> None:
    directory = arguments[1] if len(arguments) > 1 else context.cwd
    entries = _files(context).entries(_path(context, directory))
    if entries is None:
        context.write("No such directory\n")
        return
    context.kprintf("Directory %s:\n", directory)
    for entry in entries:
        if entry.directory:
            context.kprintf("%-20s%-25s\n", entry.name, "<DIR>")
        else:
            context.kprintf("%-20s%-25lu\n", entry.name, entry.size)


@command("cp", "Copy SOURCE to DEST.")
def cp(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) != 3:
        context.write("Usage: cp SOURCE DEST\nCopy SOURCE to DEST.\n")
        return
    source, target = arguments[1], arguments[2]
    files = _files(context)
    found = files.stat(_path(context, source))
    if found is None:
        context.kprintf("copy failed, bad %s\n", source)
        return
    if _is_directory(files.stat(_path(context, target))):
        target = f"{target.rstrip('/')}/{base_name(_path(context, source))}"
    _copy(context, found, source, target)


def _copy(context: Context, entry: Entry, source: str, target: str, depth: int = 0) -> None:
    files, path, new_path = _files(context), _path(context, source), _path(context, target)
    if not entry.directory:
        content = files.read(path)
        if content is None:
            context.kprintf("Read %s failed\n", source)
        elif not files.write(new_path, content):
            context.kprintf("Write %s failed\n", target)
        return
    # A directory is not copied into itself, which would never end.
    if depth == MAX_COPY_DEPTH or f"{new_path}/".startswith(f"{path.rstrip('/')}/"):
        context.kprintf("copy failed, bad %s\n", source)
        return
    files.make_directory(new_path)
    for each in files.entries(path) or ():
        _copy(context, each, f"{source}/{each.name}", f"{target}/{each.name}", depth + 1)


def _is_directory(entry: Entry | None) -> bool:
    return entry is not None and entry.directory


@command("mv", "Rename SOURCE to DEST.")
def mv(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) != 3:
        context.write("Usage: mv SOURCE DEST\nRename SOURCE to DEST, or move SOURCE(s) to DIRECTORY.\n")
        return
    context.kprintf("%s => %s\n", arguments[1], arguments[2])
    files = _files(context)
    source, target = _path(context, arguments[1]), _path(context, arguments[2])
    if _is_directory(files.stat(target)):
        target = resolve(target, base_name(source))
    files.rename(source, target)


@command("cat", "Concatenate FILE(s)")
def cat(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 1:
        context.write("Usage: cat [FILE]...\nConcatenate FILE(s)\n")
    for name in arguments[1:]:
        content = _files(context).read(_path(context, name))
        if content is None:
            context.kprintf("Open %s failed\n", name)
        else:
            context.printed(content)


@command("rm", "Remove(unlink) the FILE(s).")
def rm(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 1:
        context.write("Usage: rm FILE...\nRemove (unlink) the FILE(s).\n")
    for name in arguments[1:]:
        _files(context).remove(_path(context, name))


@command("cd", "Change the shell working directory.")
def cd(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 1:
        context.kprintf("%s\n", context.cwd)
    elif len(arguments) == 2:
        path = _path(context, arguments[1])
        if _files(context).entries(path) is None:
            context.kprintf("No such directory: %s\n", arguments[1])
        else:
            context.cwd = path


@command("pwd", "Print the name of the current working directory.")
def pwd(context: Context, arguments: Sequence[str]) -> None:
    context.kprintf("%s\n", context.cwd)


@command("mkdir", "Create the DIRECTORY.")
def mkdir(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 1:
        context.write(
            "Usage: mkdir [OPTION] DIRECTORY\nCreate the DIRECTORY, if they do not already exist.\n"
        )
    else:
        _files(context).make_directory(_path(context, arguments[1]))


@command("mkfs", "format disk with file system")
def mkfs(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 2:
        kind, device = "elm", arguments[1]
    elif len(arguments) == 4 and arguments[1] == "-t":
        kind, device = arguments[2:]
    else:
        context.write("Usage: mkfs [-t type] device\n")
        return
    if not _files(context).format(kind, device):
        context.write(console.error("DFS", f"Device ({device}) was not found"))
        context.write("mkfs failed, result=-1\n")


@command("df", "disk free")
def df(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) > 1 and arguments[1] in ("-h", "--help"):
        context.write("df [path]\n")
        return
    free = _files(context).free(_path(context, arguments[1] if len(arguments) > 1 else "/"))
    if free is None:
        context.write("dfs_statfs failed.\n")
        return
    size, tenths, unit = free.blocks * free.block_size // 1024, 0, 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, tenths, unit = size // 1024, size % 1024 * 10 // 1024, unit + 1
    context.kprintf(
        "disk free: %d.%d %s [ %d block, %d bytes per block ]\n",
        size,
        tenths,
        _UNITS[unit],
        free.blocks,
        free.block_size,
    )


@command("echo", "echo string to file")
def echo(context: Context, arguments: Sequence[str]) -> None:
    if len(arguments) == 2:
        context.kprintf("%s\n", arguments[1])
    elif len(arguments) == 3:
        text, name = arguments[1:]
        if not _files(context).write(_path(context, name), encode(text), append=True):
            context.kprintf("open file:%s failed!\n", name)
    else:
        context.write('Usage: echo "string" [filename]\n')

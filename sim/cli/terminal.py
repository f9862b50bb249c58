"""Standard input as the serial port of a device: a terminal key by key, a pipe line by line."""

import contextlib
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import click

LEAVE: Final = 0x1D  # Ctrl-]
INTERRUPT: Final = 0x03  # Ctrl-C
INTERRUPT_WINDOW: Final = 1.0  # seconds in which a second Ctrl-C leaves
READ_SIZE: Final = 4096  # bytes
MAX_LINE: Final = 64 * 1024  # bytes that wait for their line end; more are typed without
HINT: Final = "cloudsim: leave the console with Ctrl-] (or Ctrl-C twice)"


class Console(Protocol):
    """What is typed into: a device, or its shell in the cloud."""

    def type(self, data: bytes) -> None: ...

    def stop(self) -> None:
        """The user leaves."""
        ...

    def wait_for_prompt(self) -> bool:
        """False if it has ended."""
        ...


class LeaveKeys:
    """Tells keys for the board from those that leave it. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._interrupted: float | None = None  # when Ctrl-C was pressed, unless another key followed

    def split(self, keys: bytes) -> tuple[bytes, bool]:
        """What goes to the board, and whether the user leaves; what follows the leave key is nobody's."""
        for index, key in enumerate(keys):
            before, self._interrupted = self._interrupted, None
            if key == LEAVE:
                return keys[:index], True
            if key == INTERRUPT:
                now = self._clock()
                if before is not None and now - before <= INTERRUPT_WINDOW:
                    return keys[:index], True
                self._interrupted = now
        return keys, False


@contextlib.contextmanager
def serial_port(device: Console, at_end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Type standard input into `device` meanwhile; afterwards a terminal is as it was.

    On a terminal, in the foreground and with the console on it, keys go through as bytes and echo is the
    board's. Lines of a pipe or file wait for a prompt each; their end is not the device's, but calls
    `at_end`, in a thread of its own.
    """
    try:
        source = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        yield
        return
    if not os.isatty(source):
        with _reader(source, lambda typed: _type_lines(device, typed, at_end)):
            yield
    elif sys.stdout.isatty() and _in_foreground(source):
        click.echo(HINT, err=True)
        with _raw(source), _reader(source, lambda typed: _type_keys(device, typed)):
            yield
        click.echo()
    else:
        yield


def _in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not our controlling terminal: nobody stops us for reading it
        return True


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    # Takes longer to import than a board to boot.
    from prompt_toolkit.input.vt100 import raw_mode

    with raw_mode(terminal):
        attributes = termios.tcgetattr(terminal)
        attributes[1] |= termios.OPOST | termios.ONLCR  # as the UART: LF becomes CR LF (console 1)
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        yield


@contextlib.contextmanager
def _reader(source: int, consume: Callable[[Iterator[bytes]], None]) -> Iterator[None]:
    """A thread in which `consume` takes what is read, until the end of the input or of the context."""
    awake, wake = os.pipe()
    thread = threading.Thread(target=lambda: consume(_read(source, awake)), name="serial-port")
    thread.start()
    try:
        yield
    finally:
        os.close(wake)
        thread.join()
        os.close(awake)


def _read(source: int, awake: int) -> Iterator[bytes]:
    """Pieces of the input; ends with it, or when the other end of `awake` is closed."""
    while True:
        ready, _, _ = select.select([source, awake], [], [])
        if awake in ready:
            return
        try:
            data = os.read(source, READ_SIZE)
        except OSError:  # the terminal is gone
            return
        if not data:
            return
        yield data


def _type_keys(device: Console, typed: Iterator[bytes]) -> None:
    leave_keys = LeaveKeys(time.monotonic)
    for data in typed:
        keys, leaves = leave_keys.split(data)
        if keys:
            device.type(keys)
        if leaves:
            device.stop()
            return


def _type_lines(device: Console, typed: Iterator[bytes], at_end: Callable[[], None]) -> None:
    for line in _lines(typed):
        if not device.wait_for_prompt():
            return
        device.type(line + b"\r")
    at_end()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends, the last one whether it has an end or not."""
    pending = b""
    for piece in pieces:
        *complete, pending = (pending + piece).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in complete)
        if len(pending) > MAX_LINE:
            yield pending
            pending = b""
    if pending:
        yield pending

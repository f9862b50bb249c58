"""The command that is the subject: one program without a shell, its output bounded, ended with its case."""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cloudsdk.errors import UsageError
from sim.conformance.scope import Scope

MAX_OUTPUT: Final = 4 * 1024 * 1024  # bytes that are kept
_PIECE: Final = 64 * 1024
_KILL_TIMEOUT: Final = 5.0  # seconds to be gone after SIGKILL


def command_words(text: str, values: Mapping[str, str | Sequence[str]]) -> list[str]:
    """The words of `text`, `{name}` replaced; a word that is all `{name}` may become several.

    Raises `UsageError` for a command that is none, or a name that there is not.
    """
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise UsageError(f"--exec is no command: {exc}") from None
    if not words:
        raise UsageError("--exec is empty: give a command")
    found: list[str] = []
    for word in words:
        whole = values.get(word[1:-1]) if word.startswith("{") and word.endswith("}") else None
        if whole is not None and not isinstance(whole, str):
            found.extend(whole)
            continue
        try:
            found.append(word.format_map({name: _joined(value) for name, value in values.items()}))
        except (KeyError, ValueError, IndexError, AttributeError):
            raise UsageError(
                f"{word!r} in --exec: known are {', '.join(f'{{{name}}}' for name in values)}"
            ) from None
    return found


def _joined(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)


class Running:
    """A started command in a session of its own; `output` grows while it runs. Its standard input is empty.

    Raises `UsageError` when it cannot be started.
    """

    def __init__(
        self, scope: Scope, words: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._output = bytearray()
        self._lock = threading.Lock()
        try:
            self._process = subprocess.Popen(
                words,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            raise UsageError(f"cannot run {words[0]}: {exc.strerror}") from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._scope = scope
        scope.add(self.kill)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        with self._process.stdout as pipe:
            while piece := os.read(pipe.fileno(), _PIECE):
                with self._lock:
                    self._output += piece[: max(MAX_OUTPUT - len(self._output), 0)]

    @property
    def output(self) -> str:
        with self._lock:
            return self._output.decode(errors="replace")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        """The exit status. Raises `OvertimeError` when the case has no time left."""
        while not self._scope.until(lambda: self.ended, 60.0):
            pass
        self._reader.join(_KILL_TIMEOUT)
        return self._process.returncode

    def kill(self) -> None:
        """End it and what it started, as a loss of power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_TIMEOUT)

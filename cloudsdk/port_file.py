"""A port as a YAML file, for those who have nothing to program (docs/port.md).

Paths in it count from the folder of the file. What cannot be is refused with the number of its line.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import ClassVar, Final, TypedDict, TypeVar

import yaml

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.files import open_regular
from cloudsdk.port import MAX_PRODUCT_KEY, Port
from cloudsdk.tls import TlsSettings, TlsVersion
from cloudsdk.upgrade_policy import DailyWindow, Rule, UpgradePolicy, never, now

MAX_PORT_FILE: Final = 64 * 1024  # bytes
_TEXTS: Final = ("sn", "product_id", "activation_url", "mqtt_url")
_PRODUCT_KEY: Final = ("product_key", "product_key_env", "product_key_file")
_TLS_PATHS: Final = ("ca", "client_cert", "client_key")
_RULES: Final = ("optional", "silent")
_FORCED: Final = "forced"
_WINDOW: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")

T = TypeVar("T")


class PortFileError(CloudSdkError):
    """A port file that cannot be."""

    code: ClassVar[str] = "port.file"
    exit_status: ClassVar[int] = 2


class PortFields(TypedDict, total=False):
    """The arguments of `Port` that a file gives."""

    sn: str
    product_id: str
    product_key: str
    activation_url: str
    mqtt_url: str
    tls: TlsSettings
    policy: UpgradePolicy


@dataclass(frozen=True, slots=True)
class PortSurroundings:
    """Where a port file finds what is not in it: environment variables, and the device's local time."""

    environment: Mapping[str, str]
    clock: Callable[[], datetime]


def load_port(path: Path, surroundings: PortSurroundings) -> Port:
    """The port in a file. Raises `PortFileError`, and `UsageError` for values no device could hold."""
    return complete_port(read_port_fields(path, surroundings))


def complete_port(fields: PortFields) -> Port:
    """A port of these fields. Raises `UsageError` naming what is missing, and as `Port`."""
    missing = [name for name in (*_TEXTS, _PRODUCT_KEY[0]) if name not in fields]
    if missing:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise UsageError(f"the port has no {', '.join(missing)}: give {options}, or a port file with it")
    return Port(**fields)


def read_port_fields(path: Path, surroundings: PortSurroundings) -> PortFields:
    """What a file says; any of it may be missing. Raises `PortFileError`."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_PORT_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if len(content) > MAX_PORT_FILE:
        raise PortFileError(f"port file {str(path)!r} has more than {MAX_PORT_FILE} bytes")
    try:
        return _fields(_compose(content), path.parent, surroundings)
    except _LineError as error:
        place = "" if error.line is None else f", line {error.line}"
        raise PortFileError(f"port file {str(path)!r}{place}: {error}") from None


class _LineError(Exception):
    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def _compose(content: bytes) -> yaml.Node | None:
    # Nodes instead of values: they know their lines, and a SN such as 0012 stays what it is.
    try:
        return yaml.compose(content.decode("utf-8"), Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _LineError(mark.line + 1 if mark else None, f"not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise _LineError(None, "not YAML: it holds what is no text, or is nested too deeply") from None


def _fields(root: yaml.Node | None, folder: Path, surroundings: PortSurroundings) -> PortFields:
    if root is None:
        raise _LineError(None, "it is empty")
    entries = _mapping(root, "a port file", (*_TEXTS, *_PRODUCT_KEY, "tls", "upgrade"))
    fields: PortFields = {}
    for name in _TEXTS:
        if name in entries:
            fields[name] = _text(name, entries[name])
    keys = [name for name in _PRODUCT_KEY if name in entries]
    if len(keys) > 1:
        raise _LineError(_line(entries[keys[1]]), f"{keys[0]} and {keys[1]}: leave one out")
    for name in keys:
        fields["product_key"] = _product_key(name, entries[name], folder, surroundings)
    if "tls" in entries:
        fields["tls"] = _tls(entries["tls"], folder)
    if "upgrade" in entries:
        fields["policy"] = _policy(entries["upgrade"], surroundings)
    return fields


def _product_key(name: str, node: yaml.Node, folder: Path, surroundings: PortSurroundings) -> str:
    text = _text(name, node)
    if name == "product_key_env":
        if not surroundings.environment.get(text):
            raise _LineError(_line(node), "the environment variable it names is not set")
        return surroundings.environment[text]
    if name == "product_key_file":
        try:
            with open_regular(folder / text) as file:
                return file.read(MAX_PRODUCT_KEY + 3).decode("ascii", "replace").strip()
        except OSError as error:
            raise _LineError(_line(node), f"cannot read {text!r}: {error.strerror or error}") from None
    return text


def _tls(node: yaml.Node, folder: Path) -> TlsSettings:
    names = (*_TLS_PATHS, "minimum", "server_name", "check_server_name")
    entries = _mapping(node, "tls", names)
    texts = {name: _text(name, each) for name, each in entries.items()}
    paths = {name: folder / texts[name] for name in _TLS_PATHS if name in texts}
    versions = {version.value: version for version in TlsVersion}
    minimum, checked = TlsVersion.V1_2, True
    if "minimum" in entries:
        minimum = _choice("minimum", entries["minimum"], versions)
    if "check_server_name" in entries:
        checked = _choice("check_server_name", entries["check_server_name"], {"true": True, "false": False})
    try:
        return TlsSettings(
            ca=paths.get("ca"),
            client_cert=paths.get("client_cert"),
            client_key=paths.get("client_key"),
            minimum=minimum,
            server_name=texts.get("server_name"),
            check_server_name=checked,
        )
    except UsageError as error:
        raise _LineError(_line(node), str(error)) from None


def _policy(node: yaml.Node, surroundings: PortSurroundings) -> UpgradePolicy:
    entries = _mapping(node, "upgrade", (_FORCED, *_RULES))
    if _FORCED in entries:
        _choice(_FORCED, entries[_FORCED], {"now": now})
    rules = {name: _rule(name, entries[name], surroundings) for name in _RULES if name in entries}
    return UpgradePolicy(**rules)


def _rule(name: str, node: yaml.Node, surroundings: PortSurroundings) -> Rule:
    text = _text(name, node)
    found = _WINDOW.fullmatch(text)
    if found is None:
        rules: dict[str, Rule] = {"now": now, "never": never}
        if text not in rules:
            raise _LineError(
                _line(node), f"{name} is {text!r}: use now, never, or a window such as 02:00-04:00"
            )
        return rules[text]
    hour, minute, end_hour, end_minute = map(int, found.groups())
    try:
        return DailyWindow(time(hour, minute), time(end_hour, end_minute), surroundings.clock)
    except UsageError as error:
        raise _LineError(_line(node), str(error)) from None


def _mapping(node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise _LineError(_line(node), f"{what} has to be lines of `name: value`")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name not in known:
            raise _LineError(_line(key), f"{what} has no {name!r}, but {', '.join(known)}")
        if name in entries:
            raise _LineError(_line(key), f"{name} is there twice")
        entries[name] = value
    return entries


def _text(name: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value or not node.value.isprintable():
        raise _LineError(_line(node), f"{name} has to be one printable value")
    return str(node.value)


def _choice(name: str, node: yaml.Node, choices: Mapping[str, T]) -> T:
    text = _text(name, node)
    if text not in choices:
        raise _LineError(_line(node), f"{name} is {text!r}: use {' or '.join(choices)}")
    return choices[text]


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1

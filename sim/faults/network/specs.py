"""Faults as one-line specs and as YAML, to rules and back."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import yaml

from cloudsdk.files import open_regular
from cloudsdk.route import Link
from sim.faults.network.errors import FaultSpecError
from sim.faults.network.rules import START, Direction, Duplicates, FaultRule, FaultSet, Span, Stall

MAX_FILE: Final = 256 * 1024  # characters of YAML
MAX_RULES: Final = 1000
ALL_LINKS: Final = "all"
_SECONDS: Final = {"us": Fraction(1, 10**6), "ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60)}
_BYTES: Final = {"B": 1, "KB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2}
_TIME: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s|min)")
_SIZE: Final = re.compile(r"(\d{1,12})(B|KB|MB|KiB|MiB)?")
_TOKEN: Final = re.compile(r"([a-z-]+)(?:[=@](.+))?")
_LINK: Final = re.compile(r"([a-z]*):(.*)", re.DOTALL)


def parse_fault(spec: str) -> FaultRule:
    """A rule from a line such as `http:reset@1KB..50KB,share=0.3,down`. Raises `FaultSpecError`."""
    try:
        return _rule(_tokens(spec))
    except FaultSpecError as error:
        raise FaultSpecError(f"fault {spec[:80]!r}: {error}") from None


def parse_faults(text: str, source: str = "faults") -> FaultSet:
    """Rules and seed from YAML; `source` names it in errors. Raises `FaultSpecError`."""
    try:
        if len(text) > MAX_FILE:
            raise FaultSpecError(f"more than {MAX_FILE} characters")
        return _fault_set(_parse_yaml(text))
    except FaultSpecError as error:
        raise FaultSpecError(f"{source}: {error}") from None


def load_faults(path: Path) -> FaultSet:
    """Read a file of faults. Raises `FaultSpecError`."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FaultSpecError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FaultSpecError(f"{path}: not UTF-8 text") from None
    return parse_faults(text, source=str(path))


def format_fault(rule: FaultRule) -> str:
    """The spec that `parse_fault` reads back to an equal rule."""
    plain = FaultRule()
    changed = {
        field.name: value
        for field in fields(FaultRule)
        if (value := getattr(rule, field.name)) != getattr(plain, field.name)
    }
    link = changed.pop("link", None)
    tokens = [_FORMATS[type(value)](name.replace("_", "-"), value) for name, value in changed.items()]
    return f"{link or ALL_LINKS}:{','.join(tokens)}"


# --- texts ----------------------------------------------------------------------------------------------


def _tokens(spec: str) -> dict[str, str]:
    """Keys and values of a line, as a mapping in YAML would hold them."""
    found: dict[str, str] = {}
    if (prefix := _LINK.fullmatch(spec)) is not None:
        found["link"], spec = prefix[1], prefix[2]
    for token in spec.split(","):
        match = _TOKEN.fullmatch(token.strip())
        if match is None:
            raise FaultSpecError(f"{token.strip()!r} is not KEY, KEY=VALUE or KEY@BYTES")
        key, value = match[1], match[2]
        if key in tuple(Direction):
            if value is not None:
                raise FaultSpecError(f"{key} takes no value")
            key, value = "direction", key
        if key in found:
            raise FaultSpecError(f"{key} is there twice")
        if value is None:
            if key not in _BARE:
                raise FaultSpecError(f"{key} needs a value" if key in _KEYS else _unknown(key))
            value = _BARE[key]
        found[key] = value
    return found


def _rule(values: Mapping[str, str]) -> FaultRule:
    arguments: dict[str, Any] = {}
    for key, text in values.items():
        if key not in _KEYS:
            raise FaultSpecError(_unknown(key))
        try:
            arguments[key.replace("-", "_")] = _KEYS[key](text)
        except FaultSpecError as error:
            raise FaultSpecError(f"{key}: {error}") from None
    if not arguments.keys() - {"link", "direction", "share"}:
        raise FaultSpecError(f"nothing happens: give one of {', '.join(_FAULTS)}")
    return FaultRule(**arguments)


def _unknown(key: str) -> str:
    return f"unknown key {key!r}; known: {', '.join(_KEYS)}"


def _link(text: str) -> Link | None:
    if text == ALL_LINKS:
        return None
    return Link(_known(text, [ALL_LINKS, *Link]))


def _direction(text: str) -> Direction:
    return Direction(_known(text, list(Direction)))


def _known(text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise FaultSpecError(f"{text!r} is not one of {', '.join(choices)}")
    return text


def _share(text: str) -> float:
    if re.fullmatch(r"\d(\.\d{1,9})?", text) is None:
        raise FaultSpecError(f"{text!r} is not a number from 0 to 1")
    return float(text)


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise FaultSpecError(f"{text!r} is not a time such as 200ms or 3s ({', '.join(_SECONDS)})")
    return float(Fraction(match[1]) * _SECONDS[match[2]])


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise FaultSpecError(f"{text!r} is not a size such as 7, 50KB or 1MiB ({', '.join(_BYTES)})")
    return int(match[1]) * _BYTES[match[2] or "B"]


def _span(text: str) -> Span:
    low, _, high = text.partition("..")
    return Span(_size(low), _size(high) if high else _size(low))


def _rate(text: str) -> int:
    if not text.endswith("/s"):
        raise FaultSpecError(f"{text!r} is not a rate such as 16KB/s")
    rate = _size(text.removesuffix("/s"))
    if not rate:
        raise FaultSpecError("nothing would ever pass: half-open does that")
    return rate


def _stall(text: str) -> Stall:
    seconds, _, at = text.partition("@")
    return Stall(_seconds(seconds), _span(at) if at else START)


def _duplicates(text: str) -> Duplicates:
    return _DUPLICATES[_known(text, list(_DUPLICATES))]


_DUPLICATES: Final = {"qos1": Duplicates.QOS1, "all": Duplicates.ALL}
#: Key -> what reads its value.
_KEYS: Final[Mapping[str, Callable[[str], Any]]] = {
    "link": _link,
    "direction": _direction,
    "share": _share,
    "latency": _seconds,
    "jitter": _seconds,
    "bandwidth": _rate,
    "slice": _span,
    "pause": _seconds,
    "reset": _span,
    "limit": _span,
    "half-open": _span,
    "timeout": _stall,
    "slow-close": _seconds,
    "duplicate": _duplicates,
}
_FAULTS: Final = [key for key in _KEYS if key not in ("link", "direction", "share", "jitter", "pause")]
#: What a key without a value means.
_BARE: Final = {"reset": "0", "half-open": "0", "duplicate": "qos1"}


def _format_seconds(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"


def _format_span(span: Span) -> str:
    return str(span.low) if span.low == span.high else f"{span.low}..{span.high}"


_FORMATS: Final[Mapping[type, Callable[[str, Any], str]]] = {
    Direction: lambda _name, value: str(value),
    float: lambda name, value: f"{name}={value if name == 'share' else _format_seconds(value)}",
    int: lambda name, value: f"{name}={value}B/s",
    Span: lambda name, value: f"{name}={_format_span(value)}",
    Stall: lambda name, value: f"{name}={_format_seconds(value.seconds)}@{_format_span(value.at)}",
    Duplicates: lambda name, value: f"{name}={value.name.lower()}",
}


# --- YAML -----------------------------------------------------------------------------------------------


def _parse_yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise FaultSpecError(f"not YAML: {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML lets an impossible date or too deep a nesting through as these.
        raise FaultSpecError(f"not YAML: {str(error).splitlines()[0]}") from None


def _fault_set(document: object) -> FaultSet:
    if not isinstance(document, dict) or "faults" not in document:
        raise FaultSpecError("must be a mapping with the key faults, and maybe seed")
    for key in document:
        if key not in ("faults", "seed"):
            raise FaultSpecError(f"unknown key {key!r}; known: faults, seed")
    seed = document.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise FaultSpecError("seed must be a whole number")
    rows = document["faults"]
    if not isinstance(rows, list):
        raise FaultSpecError("faults must be a list")
    if len(rows) > MAX_RULES:
        raise FaultSpecError(f"faults has more than {MAX_RULES} rules")
    return FaultSet(tuple(_row(number, row) for number, row in enumerate(rows)), seed)


def _row(number: int, row: object) -> FaultRule:
    where = f"faults[{number}]"
    try:
        if isinstance(row, str):
            return _rule(_tokens(row))
        if not isinstance(row, dict):
            raise FaultSpecError("must be a line or a mapping")
        return _rule({_key(key): _text(key, value) for key, value in row.items()})
    except FaultSpecError as error:
        raise FaultSpecError(f"{where}: {error}") from None


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise FaultSpecError(_unknown(str(key)))
    return key


def _text(key: object, value: object) -> str:
    """A value as a line would have it: YAML reads 7 and 0.3 as numbers, `duplicate: true` as a bare key."""
    if value is True and key in _BARE:
        return _BARE[str(key)]
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise FaultSpecError(f"{key}: must be text or a number")

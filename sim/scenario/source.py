"""Scenario files: found, read, and refused with the line that is to blame."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.files import open_regular
from sim.flash.layout import load_board
from sim.fleet.identities import MAX_DEVICES, numbered, read_identities
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.models import PopulationModel, Scenario, Upgrade

MAX_FILE: Final = 256 * 1024  # bytes
MAX_DEPTH: Final = 20  # mappings and lists in each other
MAX_PROBLEMS: Final = 50  # that are told
READY: Final = Path(__file__).parent / "ready"
_SCALARS: Final = ("str", "int", "float", "bool", "null")
_TAG: Final = "tag:yaml.org,2002:"
#: Messages of pydantic that need another word; by its type of error.
_MESSAGES: Final = {
    "missing": "{key} is missing: add it",
    "extra_forbidden": "{key} is no key here: remove it, or correct its spelling",
    "string_type": "{key} must be text: put it in quotes",
    "union_tag_not_found": "do is missing: say which behaviour it is",
    "model_type": "{key} must be a mapping",
    "model_attributes_type": "{key} must be a mapping",
    "dict_type": "{key} must be a mapping",
    "tuple_type": "{key} must be a list",
    "int_type": "{key} must be a whole number",
    "too_short": "{key} is empty: add an entry",
}


def ready_names() -> list[str]:
    """The scenarios that come with the package."""
    return sorted(path.stem for path in READY.glob("*.yaml"))


def find_scenario(name: str) -> Path:
    """A file by its path, or a ready scenario by its name with or without `.yaml`. Raises `UsageError`."""
    path = Path(name)
    if path.exists():
        return path
    stem = name.removesuffix(".yaml")
    if stem in ready_names():
        return READY / f"{stem}.yaml"
    raise UsageError(f"no scenario {name!r}: neither a file nor one of {', '.join(ready_names())}")


def load_scenario(path: Path) -> Scenario:
    """The scenario in a file, complete in itself and with the files that it names.

    Raises `ScenarioError` with all problems, and `UsageError` for a file that cannot be read.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    return parse_scenario(content, str(path), path.parent)


def parse_scenario(content: bytes, source: str, folder: Path) -> Scenario:
    """The same of the bytes of a file; `folder` is where the paths in it count from."""
    reader = _Reader(source)
    if len(content) > MAX_FILE:
        raise ScenarioError([Problem(source, None, f"more than {MAX_FILE} bytes: split it")])
    root, plain = reader.read(content)
    try:
        scenario = Scenario.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        raise ScenarioError([reader.problem(root, detail) for detail in _causes(error)]) from None
    problems = [reader.at(root, place, message) for place, message in _contradictions(scenario, folder)]
    if problems:
        raise ScenarioError(problems[:MAX_PROBLEMS])
    return scenario


def serial_numbers(population: PopulationModel, folder: Path) -> tuple[str, ...]:
    """Of one population. Raises `IdentitiesError`."""
    if population.sn is not None:
        return numbered(population.sn, population.count)
    return read_identities(folder / (population.identities or ""), count=population.count)


# --- from YAML, with lines ------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """`on`, `off`, `yes` and `no` are text, as in YAML 1.2, which editors go by."""

    yaml_implicit_resolvers = {
        first: [each for each in resolvers if each[0] != f"{_TAG}bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile("true|false"), list("tf"))


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source

    def read(self, content: bytes) -> tuple[yaml.Node, Any]:
        """The nodes, which know their lines, and the plain values."""
        try:
            text = content.decode("utf-8")
            self._check_depth(text)
            root = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line + 1 if mark else None, f"not YAML: {error.problem}") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise self._error(None, "not YAML: it holds what is no text") from None
        if root is None:
            raise self._error(None, "it is empty: see `cloudsim scenario show smoke`")
        return root, self._plain(root, set())

    def problem(self, root: yaml.Node, detail: Any) -> Problem:
        """What pydantic found, in our words and with its line."""
        place = tuple(detail["loc"])
        key = _name(place)
        message = _MESSAGES.get(detail["type"], "").format(key=key)
        if detail["type"] == "union_tag_invalid":
            context = detail["ctx"]
            message = f"no behaviour {context['tag']!r}: choose from {context['expected_tags']}"
        if not message:
            text = str(detail["msg"]).removeprefix("Value error, ")
            message = f"{key}: {text[:1].lower()}{text[1:]}" if place else text
        return self.at(root, place, message)

    def at(self, root: yaml.Node, place: Sequence[str | int], message: str) -> Problem:
        """A problem at the deepest node on the way to `place`; tags of unions are no nodes."""
        node, line = root, root.start_mark.line
        for step in place:
            found = _child(node, step)
            if found is not None:
                line, node = found
        return Problem(self._source, line + 1, " ".join(message.split()))

    def _check_depth(self, text: str) -> None:
        """Before anything is built: composing is recursive, and slow where it is deep."""
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark is not None else None
                raise self._error(line, f"nested more than {MAX_DEPTH} deep")

    def _plain(self, node: yaml.Node, seen: set[int]) -> Any:
        line = node.start_mark.line + 1
        if id(node) in seen:
            raise self._error(line, "anchors and aliases are not for scenarios: write it out")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, seen)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(each, seen) for each in node.value]
        if node.tag.removeprefix(_TAG) not in _SCALARS:
            raise self._error(line, f"{node.value!r} is read as no text or number: put it in quotes")
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
            json.dumps(value, allow_nan=False)
        except (ValueError, yaml.YAMLError):
            raise self._error(line, "no number that can be used") from None
        return value

    def _mapping(self, node: yaml.MappingNode, seen: set[int]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                raise self._error(line, "a key must be text")
            if key.value in values:
                raise self._error(line, f"{key.value} comes twice: remove one")
            values[key.value] = self._plain(value, seen)
        return values

    def _error(self, line: int | None, message: str) -> ScenarioError:
        return ScenarioError([Problem(self._source, line, message)])


def _causes(error: ValidationError) -> list[Any]:
    """What is wrong, without what only follows from it: a list whose entries are refused counts as empty."""
    details = error.errors(include_url=False, include_input=False)
    places = [detail["loc"] for detail in details]

    def follows(detail: Any) -> bool:
        place = detail["loc"]
        return detail["type"] == "too_short" and any(
            len(other) > len(place) and other[: len(place)] == place for other in places
        )

    return [detail for detail in details if not follows(detail)][:MAX_PROBLEMS]


def _name(place: Sequence[str | int]) -> str:
    """What to call a place: its key, or the number of its entry."""
    if not place:
        return "the file"
    if isinstance(place[-1], int) and len(place) > 1:
        return f"{place[-2]}, entry {place[-1] + 1}"
    return str(place[-1])


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """Line and node behind a key or an index."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line, node.value[step]
    return None


# --- what only the whole can tell -----------------------------------------------------------------------

_Found = tuple[tuple[str | int, ...], str]


def _contradictions(scenario: Scenario, folder: Path) -> Iterator[_Found]:
    yield from _twice("populations", [each.name for each in scenario.populations])
    yield from _twice("phases", [each.name for each in scenario.phases])
    yield from _identities(scenario, folder)
    yield from _references(scenario)
    phases = {phase.name: phase for phase in scenario.phases}
    for place, threshold in enumerate(scenario.thresholds):
        if threshold.phase is not None and threshold.phase not in phases:
            yield (
                ("thresholds", place, "phase"),
                f"no phase {threshold.phase!r}: choose from {', '.join(phases)}",
            )


def _twice(key: str, names: Sequence[str]) -> Iterator[_Found]:
    for place, name in enumerate(names):
        if name in names[:place]:
            yield (key, place, "name"), f"name {name!r} comes twice: choose another"


def _identities(scenario: Scenario, folder: Path) -> Iterator[_Found]:
    if scenario.count > MAX_DEVICES:
        yield ("populations",), f"{scenario.count} devices: a fleet has at most {MAX_DEVICES}"
        return
    owners: dict[str, str] = {}
    for place, population in enumerate(scenario.populations):
        where: tuple[str | int, ...] = ("populations", place)
        try:
            load_board(population.board)
        except CloudSdkError as error:
            yield (*where, "board"), str(error)
        key = "sn" if population.sn is not None else "identities"
        try:
            numbers = serial_numbers(population, folder)
        except CloudSdkError as error:
            yield (*where, key), str(error)
            continue
        for sn in numbers:
            if sn in owners:
                yield (
                    (*where, key),
                    f"serial number {sn!r} is also of population {owners[sn]}: use another pattern",
                )
                break
        owners.update(dict.fromkeys(numbers, population.name))


def _references(scenario: Scenario) -> Iterator[_Found]:
    names = [population.name for population in scenario.populations]
    for number, phase in enumerate(scenario.phases):
        for place, behaviour in enumerate(phase.behaviours):
            where = ("phases", number, "behaviours", place)
            for index, name in enumerate(getattr(behaviour, "populations", ())):
                if name not in names:
                    yield (
                        (*where, "populations", index),
                        f"no population {name!r}: choose from {', '.join(names)}",
                    )
            if isinstance(behaviour, Upgrade) and scenario.cloud.reference is None:
                yield (
                    (*where, "do"),
                    "upgrade needs a reference cloud: start the tasks in yours while the phase runs",
                )

"""`--fault`, `--faults` and `--fault-seed` of the commands that put faults on a network."""

import functools
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloudsdk.errors import CloudSdkError
from sim.faults.network import FaultProxy, FaultSet, load_faults, parse_fault


@dataclass(frozen=True, slots=True)
class GivenFaults:
    """What the user gave; the file is read whenever the rules are asked for."""

    specs: tuple[str, ...]
    file: Path | None
    seed: int | None

    def __bool__(self) -> bool:
        return bool(self.specs) or self.file is not None

    def read(self) -> FaultSet:
        """The rules of the file, then those of the command line. Raises `FaultSpecError`."""
        filed = load_faults(self.file) if self.file is not None else FaultSet()
        rules = (*filed.rules, *map(parse_fault, self.specs))
        return FaultSet(rules, filed.seed if self.seed is None else self.seed)

    def reread_on_hangup(self, proxy: FaultProxy, tell: Callable[[CloudSdkError | None], None]) -> None:
        """At SIGHUP read the file again and `tell`; an error changes nothing."""

        def hangup(*_: object) -> None:
            error: CloudSdkError | None = None
            try:
                proxy.set(self.read())
            except CloudSdkError as exc:
                error = exc
            tell(error)

        if self.file is not None:
            signal.signal(signal.SIGHUP, hangup)


def fault_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The three options, which reach `command` as one argument `faults: GivenFaults`."""

    @click.option(
        "--fault",
        "fault_specs",
        metavar="SPEC",
        multiple=True,
        help="Such as http:reset@1KB..50KB,share=0.3 or mqtt:latency=200ms. Repeat it.",
    )
    @click.option(
        "--faults",
        "faults_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Faults as YAML; read again at SIGHUP.",
    )
    @click.option(
        "--fault-seed",
        type=int,
        metavar="N",
        help="Draws shares, offsets and delays. Default: the file's, or 0.",
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        fault_specs: tuple[str, ...],
        faults_file: Path | None,
        fault_seed: int | None,
        **options: Any,
    ) -> Any:
        return command(*args, faults=GivenFaults(fault_specs, faults_file, fault_seed), **options)

    return wrapper

"""`cloudsim device run`: one board against any compatible cloud."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

import click

from cloudsdk.env_key import read_env_key
from cloudsdk.errors import CloudSdkError
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import PROFILES, profile_named
from cloudsdk.route import Route, direct
from sim.board import open_board
from sim.cli.command_file import load_commands
from sim.cli.faults import GivenFaults, fault_options
from sim.cli.output import echo_console
from sim.cli.port_options import port_options
from sim.cli.terminal import serial_port
from sim.device import Dead, Device
from sim.faults.network import FaultProxy, require_loopback

_log = logging.getLogger(__name__)

REMEDY: Final = (
    "check that the cloud is running, that the SN is added to the product, ProductID and ProductKey, "
    "and with https the certificates"
)


class NotActivatedError(CloudSdkError):
    """The cloud did not activate the device."""

    code = "device.not-activated"


class DeadBoardError(CloudSdkError):
    """The bootloader does not start an application."""

    code = "device.no-application"


@click.group()
def device() -> None:
    """Simulated devices."""


@device.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@port_options
@click.option("--profile", type=click.Choice(list(PROFILES)), default="manual", show_default=True)
@click.option(
    "--activation-attempts",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Give up after so many failed activations; 0 goes on for ever, as the original does.",
)
@click.option(
    "--env-key-file",
    type=click.Path(path_type=Path),
    help="Board key of `cloudsim board env-key`: seal the secrets in the ENV.",
)
@click.option(
    "--commands",
    "command_file",
    metavar="FILE.py",
    type=click.Path(path_type=Path),
    help="Add the console commands this file defines with sim.msh.commands.command.",
)
@click.option("--console/--no-console", default=True, help="Type standard input into the console.")
@fault_options
def run(
    directory: Path,
    port: Port,
    profile: str,
    activation_attempts: int,
    env_key_file: Path | None,
    command_file: Path | None,
    console: bool,
    faults: GivenFaults,
) -> None:
    """Run the board in DIR until Ctrl-C; its console goes to standard output.

    On a terminal the console is interactive and Ctrl-C is the board's: leave with Ctrl-] or two Ctrl-C
    within a second. From a pipe or file, each line is typed when the console waits for one.
    """
    env_key = read_env_key(env_key_file) if env_key_file is not None else None
    commands = load_commands(command_file) if command_file is not None else ()
    limits = Limits(activation_attempts=activation_attempts)
    with _route(port, faults) as route, open_board(directory) as board:
        running = Device(
            board,
            port,
            profile=profile_named(profile),
            limits=limits,
            console=echo_console,
            commands=commands,
            route=route,
            env_key=env_key,
        )

        def stop(_number: int, _frame: FrameType | None) -> None:
            running.stop()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        with serial_port(running) if console else contextlib.nullcontext():
            outcome = running.run()
    if isinstance(outcome, Dead):
        diagnosis = outcome.boot.diagnosis or outcome.boot.outcome.value
        raise DeadBoardError(f"the bootloader started no application: {diagnosis}")
    session = running.session
    if session is not None and session.activation_failures and not session.activated:
        raise NotActivatedError(
            f"no activation for SN {port.sn!r} at {port.activation_url}: {session.last_activation_error}; "
            f"{REMEDY}"
        )


@contextlib.contextmanager
def _route(port: Port, faults: GivenFaults) -> Iterator[Route]:
    """The way to the cloud: through a proxy if there are faults."""
    if not faults:
        yield direct
        return
    for host in (urlsplit(port.activation_url).hostname or "", port.mqtt_address.host):
        require_loopback(host)
    with FaultProxy(faults.read()) as proxy:
        faults.reread_on_hangup(proxy, _tell_reloaded)
        yield proxy.route


def _tell_reloaded(error: CloudSdkError | None) -> None:
    if error is None:
        _log.info("faults are read again")
    else:
        _log.warning("faults stay as they are: %s [%s]", error, error.code)

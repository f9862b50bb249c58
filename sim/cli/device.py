"""`cloudsim device run`: one board against any compatible cloud."""

import signal
from pathlib import Path
from types import FrameType
from typing import Final

import click

from cloudsdk.env_key import read_env_key
from cloudsdk.errors import CloudSdkError
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import PROFILES, profile_named
from sim.board import open_board
from sim.cli.output import echo_console
from sim.cli.port_options import port_options
from sim.device import Dead, Device

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
def run(
    directory: Path,
    port: Port,
    profile: str,
    activation_attempts: int,
    env_key_file: Path | None,
) -> None:
    """Run the board in DIR until Ctrl-C; its console goes to standard output."""
    env_key = read_env_key(env_key_file) if env_key_file is not None else None
    limits = Limits(activation_attempts=activation_attempts)
    with open_board(directory) as board:
        running = Device(
            board,
            port,
            profile=profile_named(profile),
            limits=limits,
            console=echo_console,
            env_key=env_key,
        )

        def stop(_number: int, _frame: FrameType | None) -> None:
            running.stop()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
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

"""Entry point: the commands, and every error a user can cause as one line and an exit status."""

import logging
import os
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Final, cast

import click

from cloudsdk.errors import CloudSdkError

#: Command -> module and object; imported when it is used, so that `cloudsim rbl` needs no web server.
_COMMANDS: Final = {
    "demo": ("sim.cli.demo", "demo"),
    "cloud": ("sim.cli.cloud", "cloud"),
    "board": ("sim.cli.board", "board"),
    "device": ("sim.cli.device", "device"),
    "proxy": ("sim.cli.proxy", "proxy"),
    "record": ("sim.cli.record", "record"),
    "replay": ("sim.cli.replay", "replay"),
    "diff": ("sim.cli.diff", "diff"),
    "traffic": ("sim.cli.traffic", "traffic"),
    "rbl": ("sim.cli.rbl", "rbl"),
    "powercut": ("sim.cli.powercut", "powercut"),
    "certs": ("sim.cli.certs", "certs"),
    "fleet": ("sim.cli.fleet", "fleet"),
    "conform": ("sim.cli.conform", "conform"),
    "scenario": ("sim.cli.scenario", "scenario"),
}
#: Distribution that each optional import comes from -> the extra that installs it.
_EXTRAS: Final = {
    **dict.fromkeys(
        (
            "alembic",
            "fastapi",
            "h11",
            "nicegui",
            "prometheus_client",
            "psycopg",
            "segno",
            "sqlalchemy",
            "starlette",
            "uvicorn",
        ),
        "cloud",
    ),
    "pydantic": "fleet",
}
EXIT_INTERRUPTED: Final = 130


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        return cast(click.Command, getattr(import_module(module), name))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("cloudsim"), prog_name="cloudsim")
@click.option("-v", "--verbose", count=True, help="Log to standard error; twice for debugging.")
def cli(verbose: int) -> None:
    """Simulated RT-Thread boards, the CloudSDK on them, and a reference cloud."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )


def main() -> None:
    """Run `cloudsim` and exit: 0 for success, 1 for a failure, 2 for a wrong call."""
    _open_closed_streams()
    try:
        status = cli.main(standalone_mode=False, prog_name="cloudsim")
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        status = exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        status = exc.exit_code
    except click.UsageError as exc:
        context = f" (see: {exc.ctx.command_path} --help)" if exc.ctx is not None else ""
        status = _fail(f"{exc.format_message()}{context}", "cloudsim.usage", exc.exit_code)
    except click.ClickException as exc:
        status = _fail(exc.format_message(), "cloudsim.error", exc.exit_code)
    except CloudSdkError as exc:
        status = _fail(str(exc), exc.code, exc.exit_status)
    except BrokenPipeError:
        # The reader of our output has gone; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as exc:
        place = f" ({exc.filename})" if exc.filename else ""
        status = _fail(f"{exc.strerror or exc}{place}", "cloudsim.os", 1)
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        remedy = f"this command needs more packages: pip install 'cloudsim[{extra}]'"
        status = _fail(remedy, "cloudsim.extra-missing", 1)
    except (KeyboardInterrupt, click.Abort):
        status = EXIT_INTERRUPTED
    sys.exit(status if isinstance(status, int) else 0)


def _open_closed_streams() -> None:
    """Lead standard streams that the caller has closed nowhere; else a file could get such a descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open as long as the process
            setattr(sys, name, stream)


def _fail(message: str, code: str, status: int) -> int:
    line = " ".join(message.split())
    click.echo(f"cloudsim: error: {line} [{code}]", err=True)
    return status

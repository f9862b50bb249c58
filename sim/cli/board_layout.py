"""`cloudsim board import-layout` and `validate`: bring your own board."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.ota.lint import Finding, Severity
from sim.board import LAYOUT_FILE
from sim.cli.output import echo_json, json_option
from sim.flash.layout import LayoutDraft, save_layout
from sim.flash.layout_source import Given, SourceKind, parse_device, read_source

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


class LayoutFindingsError(CloudSdkError):
    """A layout with findings that are errors."""

    code = "layout.findings"


def _source_options(command: Callable[..., None]) -> Callable[..., None]:
    """SOURCE and what has to be said about it; the command gets `source`, `kind` and `draft`."""

    @click.argument("source")
    @click.option(
        "--device",
        "devices",
        multiple=True,
        metavar="NAME=PART[@ADDRESS]",
        help="A flash device the table names: its part, or SIZE/BLOCK/PAGE/UNIT. May be repeated.",
    )
    @click.option(
        "--define",
        "-D",
        "defines",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="What the project's configuration defines for the header. May be repeated.",
    )
    @click.option("--app", help="The application's partition. Default: app.")
    @click.option("--name", help="The board's name. Default: from SOURCE.")
    @wraps(command)
    def read(
        source: str,
        devices: tuple[str, ...],
        defines: tuple[str, ...],
        app: str | None,
        name: str | None,
        **others: Any,
    ) -> None:
        given = Given(tuple(map(parse_device, devices)), dict(map(_definition, defines)), app, name)
        place = str(Path(source) / LAYOUT_FILE) if Path(source).is_dir() else source
        kind, draft = read_source(place, given)
        command(source=source, kind=kind, draft=draft, **others)

    return read


def _definition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name.isidentifier():
        raise UsageError(f"{text!r} defines no name: give NAME or NAME=VALUE")
    return name, value if equals else "1"


@click.command("import-layout")
@_source_options
@click.option("-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="Layout file.")
@json_option
def import_layout(source: str, kind: SourceKind, draft: LayoutDraft, target: Path, as_json: bool) -> None:
    """Make a layout file from SOURCE: a fal_cfg.h, or a firmware image with a FAL partition table in it.

    A fal_cfg.h does not say what the flash devices are, so each needs a --device.
    """
    layout = draft.board()
    save_layout(layout, target)
    if as_json:
        echo_json(
            {
                "source": source,
                "kind": kind.value,
                "file": str(target),
                "board": layout.name,
                "partitions": [asdict(entry) for entry in layout.partitions],
            }
        )
    else:
        click.echo(
            f"wrote layout {layout.name} with {len(layout.partitions)} partitions on {len(layout.devices)} "
            f"devices to {click.format_filename(target)}"
        )


@click.command()
@_source_options
@json_option
def validate(source: str, kind: SourceKind, draft: LayoutDraft, as_json: bool) -> None:
    """List everything that is wrong or odd with a layout. Exits with 1 if something keeps it from working.

    SOURCE is a layout file, a board directory, the name of a board, a fal_cfg.h or a firmware image.
    """
    findings = draft.findings()
    count = Counter(finding.severity for finding in findings)
    if as_json:
        echo_json(
            {
                "source": source,
                "kind": kind.value,
                "board": draft.name,
                "ok": not count[Severity.ERROR],
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        for finding in findings:
            _echo(finding)
        if not findings:
            click.echo(f"{click.format_filename(source)}: nothing to complain about")
    if count[Severity.ERROR]:
        raise LayoutFindingsError(f"{source}: {count[Severity.ERROR]} of {len(findings)} findings are errors")


def _echo(finding: Finding) -> None:
    severity = click.style(f"{finding.severity:<7}", fg=_COLOURS[finding.severity])
    click.echo(f"{severity} {finding.id}: {finding.message} [{finding.fact}]")

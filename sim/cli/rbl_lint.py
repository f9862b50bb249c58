"""`cloudsim rbl lint` and `diff`: judge a package for a board, compare two."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast, get_args

import click

from cloudsdk.ota.compare import compare
from cloudsdk.ota.errors import LintError
from cloudsdk.ota.header import printable
from cloudsdk.ota.lint import BoardFacts, Bootloader, PartitionFacts, Severity
from cloudsdk.ota.lint import lint as lint_package
from cloudsdk.ota.package import read_package
from sim.cli.keys import GivenKeys, key_options
from sim.cli.output import echo_json, json_option
from sim.flash.layout import BoardLayout, load_board

EXIT_DIFFERENT: Final = 1
_BOOTLOADERS: Final = get_args(Bootloader)
_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_NUMBERS_IN_DECIMAL: Final = {"timestamp", "raw_size", "body_size"}


def board_facts(layout: BoardLayout, bootloader: str | None = None) -> BoardFacts:
    """What lint wants to know of a board; a bootloader with an option takes what it takes without."""
    kind = bootloader or layout.bootloader.kind.partition("+")[0]
    devices = {device.name: device for device in layout.devices}
    partitions = tuple(
        PartitionFacts(
            entry.name,
            entry.length,
            devices[entry.device].largest_block(entry.offset, entry.length),
            devices[entry.device].program_unit,
        )
        for entry in layout.partitions
    )
    return BoardFacts(cast(Bootloader, kind), partitions, layout.app.link_address, layout.app.partition)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--board", default="iot-board", show_default=True, help="Board name, or a layout file.")
@click.option("--bootloader", type=click.Choice(_BOOTLOADERS), help="Default: the board's.")
@key_options
@json_option
def lint(file: Path, board: str, bootloader: str | None, given: GivenKeys, as_json: bool) -> None:
    """Say what will hurt when FILE meets a board. Exits with 1 if something keeps it from working.

    Key and IV are those of the board's bootloader. docs/packages.md lists all findings.
    """
    layout = load_board(board)
    facts = board_facts(layout, bootloader)
    findings = lint_package(read_package(file), facts, given.keys.key, given.keys.iv)
    errors = [finding.id for finding in findings if finding.severity is Severity.ERROR]
    if as_json:
        rows = [asdict(finding) for finding in findings]
        echo_json(
            {
                "file": str(file),
                "board": layout.name,
                "bootloader": facts.bootloader,
                "ok": not errors,
                "findings": rows,
            }
        )
    else:
        for finding in findings:
            severity = click.style(f"{finding.severity:<7}", fg=_COLOURS[finding.severity])
            click.echo(f"{severity} {finding.id}: {finding.message} [{finding.fact}]")
        if not findings:
            click.echo(f"{click.format_filename(file)}: nothing to complain about on {layout.name}")
    if errors:
        raise LintError(f"{file}: will not work on {layout.name} ({facts.bootloader}): {', '.join(errors)}")


@click.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@key_options
@json_option
@click.pass_context
def diff(context: click.Context, first: Path, second: Path, given: GivenKeys, as_json: bool) -> None:
    """Compare packages A and B, headers and firmware.

    Exits with 0 if they are the same, 1 if they differ, 2 if they cannot be compared.
    """
    result = compare(read_package(first), read_package(second), given.keys.key, given.keys.iv)
    content = result.content
    if as_json:
        fields = {
            difference.field: [
                _shown(difference.field, difference.first),
                _shown(difference.field, difference.second),
            ]
            for difference in result.fields
        }
        echo_json(
            {
                "a": str(first),
                "b": str(second),
                "same": result.same,
                "fields": fields,
                "content": {"kind": result.content_kind, "same": content.same, **asdict(content)},
            }
        )
    else:
        for difference in result.fields:
            one, other = (_shown(difference.field, value) for value in (difference.first, difference.second))
            click.echo(f"{difference.field.replace('_', ' ')}: {one} -> {other}")
        sizes = f"{content.first_size} and {content.second_size} bytes"
        if content.same:
            click.echo(f"{result.content_kind}: the same, {content.first_size} bytes")
        else:
            click.echo(
                f"{result.content_kind}: {sizes}, first difference at 0x{content.first_difference:x}, "
                f"{content.differing_blocks} of {content.blocks} blocks of 4 KiB differ"
            )
    if not result.same:
        context.exit(EXIT_DIFFERENT)


def _shown(field: str, value: int | bytes) -> Any:
    """A header value as engineers expect it: text as text, sizes and times as numbers, the rest in hex."""
    if isinstance(value, bytes):
        return printable(value.rstrip(b"\0"))
    if field in _NUMBERS_IN_DECIMAL:
        return value
    return f"0x{value:04x}" if field.startswith("algo") else f"0x{value:08x}"

"""`cloudsim conform`: hold a cloud, a device or a bootloader against named cases."""

import functools
import itertools
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from cloudsdk.port import ACTIVATION_PATH
from sim.cli.main import EXIT_INTERRUPTED
from sim.cli.output import echo_json, json_option
from sim.conformance.case import Suite
from sim.conformance.reports import badge, junit
from sim.conformance.results import Report, Result, Verdict
from sim.conformance.runner import CASE_TIMEOUT, Plan, run_cases
from sim.conformance.scope import Scope
from sim.conformance.xfails import parse_xfails

EXIT_BAD: Final = 1
DEVICE_TIMEOUT: Final = 240.0  # seconds for a case; the original pauses 10 s between two attempts
MAX_XFAILS: Final = 1024 * 1024  # bytes of the file of expected failures
_FILE: Final = click.Path(path_type=Path)
_STYLES: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.XPASS: "bold red",
    Verdict.XFAIL: "yellow",
    Verdict.NOT_RUN: "dim",
}
Bench = TypeVar("Bench")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options that all suites share."""

    only: tuple[str, ...]
    listed: bool
    xfails: Path | None
    timeout: float | None
    strict: bool
    xml: Path | None
    badge: Path | None
    as_json: bool


@click.group()
def conform() -> None:
    """Hold a cloud, a device or a bootloader against named cases."""


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is run and how it is told, which reaches `command` as one argument `chosen: Chosen`."""

    @click.option(
        "--only", multiple=True, metavar="PATTERN", help="Run cases whose id fits; may be repeated."
    )
    @click.option("--list", "listed", is_flag=True, help="Print the cases and run none.")
    @click.option("--xfails", type=_FILE, help="Expected failures, one 'case-id: reason' a line.")
    @click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        help=f"Seconds for each case.  [default: {CASE_TIMEOUT:g}, of a device {DEVICE_TIMEOUT:g}]",
    )
    @click.option("--strict", is_flag=True, help="Count failures of `should`, too.")
    @click.option("--junit", "xml", type=_FILE, help="Write JUnit XML for CI.")
    @click.option("--badge", type=_FILE, help="Write an SVG badge.")
    @json_option
    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> Any:
        values = {name: options.pop(name) for name in Chosen.__dataclass_fields__}
        chosen = Chosen(**{**values, "only": tuple(values["only"])})
        outputs = [path.absolute() for path in (chosen.xml, chosen.badge) if path is not None]
        if len(set(outputs)) < len(outputs):
            raise UsageError("--junit and --badge name the same file: give two")
        return command(*args, chosen=chosen, **options)

    return wrapper


def run_suite(
    context: click.Context,
    suite: Suite[Bench],
    chosen: Chosen,
    subject: str,
    bench: Callable[[Scope], Bench],
    abilities: tuple[str, ...] = (),
    timeout: float = CASE_TIMEOUT,
) -> None:
    """Run what is chosen, report, and exit."""
    cases = suite.selected(chosen.only)
    xfails = parse_xfails(_read(chosen.xfails), suite.ids) if chosen.xfails is not None else {}
    plan = Plan(suite.name, subject, abilities, xfails, chosen.timeout or timeout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is known is reported
    with ExitStack() as outputs:
        # Opened first: a place that cannot be written is known before the work is done.
        xml = outputs.enter_context(replacing(chosen.xml)) if chosen.xml else None
        image = outputs.enter_context(replacing(chosen.badge)) if chosen.badge else None
        numbers = itertools.count(1)

        def tell(result: Result) -> None:
            click.echo(f"[{next(numbers)}/{len(cases)}] {result.id}: {result.verdict}", err=True)

        report = run_cases(cases, bench, plan, None if chosen.as_json else tell)
        if xml:
            xml.write(junit(report))
        if image:
            image.write(badge(report))
    if chosen.as_json:
        echo_json(report.facts())
    else:
        _print(report)
    good = report.ok(strict=chosen.strict)
    context.exit(EXIT_INTERRUPTED if report.interrupted else 0 if good else EXIT_BAD)


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read(MAX_XFAILS).decode()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}") from None


def print_list(suite: Suite[Any], chosen: Chosen) -> None:
    """The cases without running them."""
    cases = suite.selected(chosen.only)
    if chosen.as_json:
        fields = ("id", "title", "source", "severity", "reason", "needs")
        echo_json({"cases": [{name: getattr(case, name) for name in fields} for case in cases]})
        return
    table = Table("case", "severity", "needs", "source", "title")
    for case in cases:
        table.add_row(case.id, case.severity, ", ".join(case.needs), case.source, case.title)
    Console().print(table)


def _print(report: Report) -> None:
    table = Table("case", "severity", "verdict", "detail")
    for result in report.results:
        style = _STYLES[result.verdict]
        table.add_row(result.id, result.severity, f"[{style}]{result.verdict}[/]", _plain(result.detail))
    Console().print(table)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count)
    stopped = " (interrupted)" if report.interrupted else ""
    click.echo(f"{report.suite}: {counts}{stopped}")


def _plain(text: str) -> str:
    """Without markup and control characters: what a subject sends is not to be trusted."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("[", r"\[")


@conform.command()
@click.option("--activation-url", help="http[s]://host:port, or the whole URL.")
@click.option("--mqtt-url", help="mqtt[s]://host:port")
@click.option("--product-id", help="ProductID, from the cloud.")
@click.option("--product-key", envvar="CLOUDSIM_PRODUCT_KEY", help="ProductKey; or set CLOUDSIM_PRODUCT_KEY.")
@click.option("--sn", help="Serial number of a device that the cloud knows.")
@click.option("--ca", type=_FILE, help="CAs that are trusted (PEM). Default: those of the system.")
@click.option("--admin-hook", metavar="MODULE:FACTORY", help="What makes products, devices and tasks.")
@run_options
@click.pass_context
def cloud(
    context: click.Context,
    activation_url: str | None,
    mqtt_url: str | None,
    product_id: str | None,
    product_key: str | None,
    sn: str | None,
    ca: Path | None,
    admin_hook: str | None,
    chosen: Chosen,
) -> None:
    """Hold a cloud against the cases of docs/conformance/cloud.md, with a small scripted device.

    Cases that need products, tasks or consoles are not run without --admin-hook. That of the reference cloud
    is sim.conformance.cloud.reference:running, with CLOUDSIM_DATA set. The exit status is 1 when a
    `must` is broken.
    """
    from sim.conformance.cloud import SUITE, CloudBench, CloudTarget, Identity
    from sim.conformance.cloud.hook import Product, abilities_of, load_hook
    from sim.conformance.stream import Address

    if chosen.listed:
        print_list(SUITE, chosen)
        return
    if activation_url is None or mqtt_url is None:
        raise UsageError("a cloud has two addresses: give --activation-url and --mqtt-url")
    given = None
    if product_id and product_key and sn:
        given = Identity(Product(product_id, product_key), sn)
    hook = load_hook(admin_hook) if admin_hook is not None else None
    if given is None and hook is None:
        raise UsageError("give a device (--product-id, CLOUDSIM_PRODUCT_KEY, --sn) or --admin-hook")
    address = Address.of(activation_url, ca)
    if address.path == "/":
        address = replace(address, path=ACTIVATION_PATH)
    target = CloudTarget(address, Address.of(mqtt_url, ca), given, hook)
    subject = f"{address.host}:{address.port}"
    run_suite(context, SUITE, chosen, subject, lambda scope: CloudBench(scope, target), abilities_of(hook))


@conform.command()
@click.option(
    "--exec", "command", metavar="COMMAND", help="Run it once; {directory} and {images} are replaced."
)
@click.option(
    "--board", "layout", default="iot-board", show_default=True, help="Layout: a name or a YAML file."
)
@click.option("--bootloader", "kind", help="Kind that the cases are for.  [default: that of the layout]")
@click.option("--vectors", type=_FILE, help="Recorded packages, too: a folder with index.json.")
@run_options
@click.pass_context
def bootloader(
    context: click.Context,
    command: str | None,
    layout: str,
    kind: str | None,
    vectors: Path | None,
    chosen: Chosen,
) -> None:
    """Hold a bootloader against the cases of docs/conformance/bootloader.md, on flash images.

    COMMAND runs it once on the flash of a board: {images} are raw images, one per flash device of the layout,
    which it changes in place; {directory} is the board directory instead. Its output is the console; exit
    status 0 says that an application was started. For the simulated ones it is:
    python -m sim.conformance.bootloader.reference {directory}
    """
    from sim.conformance.bootloader import SUITE, BootBench, BootTarget, launcher
    from sim.flash.layout import load_board, with_bootloader

    if chosen.listed:
        print_list(SUITE, chosen)
        return
    if command is None:
        raise UsageError("nothing to run: give --exec")
    if vectors is not None and not (vectors / "index.json").is_file():
        raise UsageError(f"{vectors} holds no index.json: give the folder of the recorded packages")
    facts = load_board(layout)
    if kind is not None:
        facts = with_bootloader(facts, kind)
    target = BootTarget(facts, launcher(command), vectors=vectors)
    run_suite(context, SUITE, chosen, command, lambda scope: BootBench(scope, target), target.abilities)


@conform.command()
@click.option("--exec", "command", metavar="COMMAND", help="Run it as the device; placeholders are replaced.")
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 600),
    default=20.0,
    show_default=True,
    help="Seconds for what a device does by itself, its pauses included.",
)
@run_options
@click.pass_context
def device(context: click.Context, command: str | None, patience: float, chosen: Chosen) -> None:
    """Hold a device against the cases of docs/conformance/device.md, with a small scripted cloud.

    COMMAND gets {activation_url} {mqtt_url} {product_id} {product_key} {sn} {state}, also in its environment
    as CLOUDSIM_ACTIVATION_URL and so on. The directory {state} is empty at first and stays when the case
    takes the power away. For the simulated device it is: python -m sim.conformance.device.reference
    """
    from sim.conformance.device import SUITE, DeviceBench, DeviceTarget, starter

    if chosen.listed:
        print_list(SUITE, chosen)
        return
    if command is None:
        raise UsageError("nothing to run: give --exec")
    target = DeviceTarget(starter(command), patience)
    run_suite(
        context, SUITE, chosen, command, lambda scope: DeviceBench(scope, target), timeout=DEVICE_TIMEOUT
    )

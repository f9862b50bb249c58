"""`cloudsim record`, `replay`, `diff` and `traffic`: what device and cloud say to each other, as files."""

import asyncio
import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from cloudsdk.route import Address, Link
from sim.cli.output import echo_json, echo_warning, json_option
from sim.faults.network.rules import Direction
from sim.traffic.bindings import Identity
from sim.traffic.compare import Comparison, Difference, compare
from sim.traffic.conversation import decoded
from sim.traffic.errors import TranscriptError
from sim.traffic.events import Header, event_line, header_line
from sim.traffic.fields import Placeholders, fields_of
from sim.traffic.mask import Mask
from sim.traffic.pcapng import pcapng as capture
from sim.traffic.recorder import HOST, Recorder
from sim.traffic.recording import MAX_FILE, RecordingReader, RecordingWriter, load_recording
from sim.traffic.replay import TIMEOUT, Replay
from sim.traffic.script import Connects, script
from sim.traffic.transcript import import_console, import_http, import_mqtt, merge

MAX_TRANSCRIPT: Final = 16 << 20  # bytes
DIFFERENT: Final = 1  # exit status
_PORTS: Final = {"http": 80, "mqtt": 1883}
_FILE: Final = click.Path(path_type=Path)
_HOST: Final = re.compile(r"[^\s/?#@]+")


def _upstream(_context: click.Context, option: click.Parameter, text: str | None) -> Address | None:
    if text is None:
        return None
    scheme, separator, _ = text.partition("://")
    try:
        parts = urlsplit(text if separator else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    scheme = scheme if separator else ""
    if scheme in ("https", "mqtts"):
        raise UsageError(f"--{option.name.replace('_', '-') if option.name else ''}: TLS cannot be recorded")
    port = port or _PORTS.get(scheme)
    if not host or not port or not _HOST.fullmatch(host) or scheme not in ("", *_PORTS):
        raise UsageError(f"{text!r} is neither HOST:PORT nor a URL with http:// or mqtt://")
    return host, port


@click.command()
@click.option("--to-activation", callback=_upstream, metavar="URL", help="HTTP of the cloud.")
@click.option("--to-mqtt", callback=_upstream, metavar="URL", help="Its broker.")
@click.option("-o", "--output", required=True, type=_FILE, metavar="FILE", help="The recording; a new file.")
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    help="Address of this machine where devices connect; other machines need one they can reach.",
)
@click.option("--http-port", type=click.IntRange(0, 65535), default=0, help="Port for activation; 0: any.")
@click.option("--mqtt-port", type=click.IntRange(0, 65535), default=0, help="Port for MQTT; 0: any.")
@click.option(
    "--rewrite/--no-rewrite",
    default=True,
    help="Lead the addresses the cloud names (firmware, Web Shell, Web Log) through the recorder.",
)
@click.option("--mask", is_flag=True, help="Replace DeviceKeys, the ProductKey, Signs and passwords.")
@click.option(
    "--product-key",
    envvar="CLOUDSIM_PRODUCT_KEY",
    help="With --mask: masked wherever it is. Or set CLOUDSIM_PRODUCT_KEY.",
)
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    default=MAX_FILE >> 20,
    show_default=True,
    help="MiB after which nothing more is recorded.",
)
@json_option
def record(
    to_activation: Address | None,
    to_mqtt: Address | None,
    output: Path,
    host: str,
    http_port: int,
    mqtt_port: int,
    rewrite: bool,
    mask: bool,
    product_key: str | None,
    max_size: int,
    as_json: bool,
) -> None:
    """Stand between device and cloud and write down what they say, until Ctrl-C."""
    places = [
        (Link.HTTP, to_activation, http_port, "activation_url", "http"),
        (Link.MQTT, to_mqtt, mqtt_port, "mqtt_url", "mqtt"),
    ]
    if to_activation is None and to_mqtt is None:
        raise UsageError("nothing to record: give --to-activation, --to-mqtt or both")
    if rewrite and host in ("0.0.0.0", "::", ""):  # noqa: S104 - refused, not bound to
        raise UsageError("--host must be the one address that devices are to be led to")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    header = Header(time.time(), masked=mask)
    with RecordingWriter(output, header, max_size=max_size << 20) as writer:
        masking = Mask(product_key) if mask else None
        with Recorder(writer, host=host, rewrite=rewrite, mask=masking) as recorder:
            facts: dict[str, Any] = {"file": str(output.absolute())}
            for link, upstream, port, name, scheme in places:
                if upstream is not None:
                    found_host, found_port = recorder.listen(link, upstream, port)
                    facts[name] = f"{scheme}://{found_host}:{found_port}"
            if as_json:
                echo_json(facts)
            else:
                for name, value in facts.items():
                    click.echo(f"{name}: {value}")
            _wait(stop, writer)
        stopped, events = writer.stopped, writer.events
    if stopped is not None:
        raise stopped
    if not as_json:
        click.echo(f"{events} events")


def _wait(stop: threading.Event, writer: RecordingWriter) -> None:
    """Until the signal; a recording that has stopped is told at once, and the traffic goes on."""
    told = False
    while not stop.wait(1.0):
        if writer.stopped is not None and not told:
            told = True
            echo_warning(f"nothing more is recorded: {writer.stopped}")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--as", "role", required=True, type=click.Choice(["device", "cloud"]), help="The side to play.")
@click.option("--to-activation", callback=_upstream, metavar="URL", help="As device: HTTP of the live cloud.")
@click.option("--to-mqtt", callback=_upstream, metavar="URL", help="As device: its broker.")
@click.option("--sn", help="As device: SN, if not the recorded one.")
@click.option("--product-id", help="As device: ProductID, if not the recorded one.")
@click.option("--product-key", envvar="CLOUDSIM_PRODUCT_KEY", help="Its key; or set CLOUDSIM_PRODUCT_KEY.")
@click.option("--host", default=HOST, show_default=True, help="As cloud: where the live device connects.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=0, help="As cloud; 0: any.")
@click.option("--mqtt-port", type=click.IntRange(0, 65535), default=0, help="As cloud; 0: any.")
@click.option("--skip-activation", is_flag=True, help="The device has been activated before.")
@click.option("--pace", is_flag=True, help="Keep the recorded pauses before what is sent.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=TIMEOUT, show_default=True, help="Seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event, a line each.")
def replay(
    file: Path,
    role: str,
    to_activation: Address | None,
    to_mqtt: Address | None,
    sn: str | None,
    product_id: str | None,
    product_key: str | None,
    host: str,
    http_port: int,
    mqtt_port: int,
    skip_activation: bool,
    pace: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Play one side of FILE against the live other side. Exit status 1: it does something else."""
    ours = Direction.UP if role == "device" else Direction.DOWN
    steps = script(load_recording(file).events, activation=not skip_activation)
    targets = {Link.HTTP: to_activation, Link.MQTT: to_mqtt}
    if role == "device":
        for step in steps:
            if isinstance(step, Connects) and targets.get(step.link, step.to) is None:
                option = "--to-activation" if step.link is Link.HTTP else "--to-mqtt"
                raise UsageError(f"the recording has {step.link} connections: give {option}")
    player = Replay(steps, ours, identity=Identity(sn, product_id, product_key), timeout=timeout, pace=pace)

    def echo(event: str, **details: Any) -> None:
        if as_json:
            click.echo(json.dumps({"event": event, **details}))
        else:
            click.echo(" ".join([event, *(f"{name}={value}" for name, value in details.items())]))

    async def play() -> None:
        for link, target in targets.items():
            if target is not None:
                player.connect_to(link, target)
        if ours is Direction.DOWN:
            ports = {Link.HTTP: http_port, Link.MQTT: mqtt_port}
            places = await player.listen(host, ports)
            names = {Link.HTTP: "activation_url", Link.MQTT: "mqtt_url"}
            urls = {
                names[link]: f"{link}://{place[0]}:{place[1]}"
                for link, place in places.items()
                if link in names
            }
            echo("listening", **urls)
        await player.run()

    asyncio.run(play())
    echo("same", messages=player.matched)


@click.command()
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE)
@click.option("--identifiers", is_flag=True, help="Compare ids, tokens, addresses and times, too.")
@click.option("--timing", type=click.FloatRange(min=0), metavar="SECONDS", help="How far times may differ.")
@click.option("--pings", is_flag=True, help="Compare MQTT pings, too.")
@click.option("--link", "links", multiple=True, type=click.Choice([str(each) for each in Link]))
@click.option("--direction", type=click.Choice([str(each) for each in Direction]), help="Only what goes so.")
@json_option
def diff(
    a: Path,
    b: Path,
    identifiers: bool,
    timing: float | None,
    pings: bool,
    links: tuple[str, ...],
    direction: str | None,
    as_json: bool,
) -> None:
    """Compare what was said in two recordings. Exit status 0: the same, 1: something else."""
    wanted = Comparison(
        identifiers,
        pings,
        timing,
        frozenset(map(Link, links)) or frozenset(Link),
        frozenset(Direction) if direction is None else frozenset({Direction(direction)}),
    )
    found = compare(load_recording(a), load_recording(b), wanted)
    if as_json:
        echo_json({"same": not found, "differences": [each.as_json() for each in found]})
    else:
        for each in found:
            click.echo(_difference_line(each))
    if found:
        click.get_current_context().exit(DIFFERENT)


def _difference_line(found: Difference) -> str:
    place = f"{found.link} {found.connection}"
    if found.direction is not None:
        place += f" {found.direction} {found.message}"
    if found.a is None or found.b is None:
        sign, fields = ("-", found.a) if found.b is None else ("+", found.b)
        return f"{place}: {sign} {json.dumps(fields)}"
    pairs = (f"{path}: {_at(found.a, path)} -> {_at(found.b, path)}" for path in found.members)
    return f"{place}: {found.a.get('message')} {', '.join(pairs)}"


def _at(value: Any, path: str) -> str:
    for name in filter(None, path.split(".")):
        if isinstance(value, list) and name.isdecimal():
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return "nothing"
    return json.dumps(value)


@click.group()
def traffic() -> None:
    """Recordings: shown, exported, imported."""


@traffic.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per message, a line each.")
def show(file: Path, as_json: bool) -> None:
    """Print the messages in FILE, decoded, with placeholders for identifiers and secrets."""
    visit = Placeholders()
    with RecordingReader(file) as reader:
        for event, messages in decoded(reader):
            for said in messages:
                fields = fields_of(said.message, visit)
                place = {"t": said.t, "connection": event.connection, "link": str(event.link)}
                if as_json:
                    click.echo(json.dumps({**place, "direction": str(said.direction), **fields}))
                else:
                    kind = fields.pop("message")
                    arrow = "->" if said.direction is Direction.UP else "<-"
                    where = f"{said.t:10.3f} {event.link} {event.connection}"
                    click.echo(f"{where} {arrow} {kind} {json.dumps(fields)}")
        if reader.cut:
            echo_warning(f"{file} ends in the middle of a line")


@traffic.command()
@click.argument("file", type=_FILE)
@click.argument("output", type=_FILE)
def pcapng(file: Path, output: Path) -> None:
    """Export FILE as a packet capture for Wireshark. It holds the same secrets."""
    with RecordingReader(file) as reader, replacing(output) as target:
        for block in capture(reader.header, reader):
            target.write(block)


@traffic.command("import")
@click.option("--mqtt", type=_FILE, help="MQTT transcript (tap).")
@click.option("--http", type=_FILE, help="Requests.")
@click.option("--shell", type=_FILE, help="Web Shell connections.")
@click.option("--log", type=_FILE, help="Web Log connections.")
@click.option("-o", "--output", required=True, type=_FILE, metavar="FILE")
def import_(mqtt: Path | None, http: Path | None, shell: Path | None, log: Path | None, output: Path) -> None:
    """Make a recording of transcripts of the original CloudSDK."""
    first = 1
    parts = []
    for path, link in ((mqtt, Link.MQTT), (http, Link.HTTP), (shell, Link.SHELL), (log, Link.LOG)):
        if path is None:
            continue
        text = _transcript(path)
        if link is Link.MQTT:
            events = import_mqtt(text, first)
        elif link is Link.HTTP:
            events = import_http(text, first)
        else:
            events = import_console(text, link, first)
        first = max(event.connection for event in events) + 1
        parts.append(events)
    if not parts:
        raise UsageError("nothing to import: give --mqtt, --http, --shell or --log")
    with replacing(output) as target:
        target.write(header_line(Header(0.0)))
        for event in merge(*parts):
            target.write(event_line(event))


def _transcript(path: Path) -> str:
    try:
        with open_regular(path) as file:
            text = file.read(MAX_TRANSCRIPT + 1)
    except OSError as error:
        raise TranscriptError(f"cannot read {path}: {error.strerror}") from None
    if len(text) > MAX_TRANSCRIPT:
        raise TranscriptError(f"{path} is longer than {MAX_TRANSCRIPT >> 20} MiB")
    return text.decode(errors="replace")

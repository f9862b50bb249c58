"""`cloudsim traffic`: recordings shown, exported, imported."""

import json
import os
from pathlib import Path
from typing import Final

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import PRIVATE, open_regular, replacing
from cloudsdk.route import Link
from sim.cli.output import echo_warning
from sim.cli.traffic_options import FILE
from sim.faults.network.rules import Direction
from sim.traffic.conversation import decoded
from sim.traffic.errors import TranscriptError
from sim.traffic.events import Header, event_line, header_line
from sim.traffic.fields import Placeholders, fields_of
from sim.traffic.pcapng import pcapng as capture
from sim.traffic.recording import RecordingReader
from sim.traffic.transcript import import_console, import_http, import_mqtt, merge

MAX_TRANSCRIPT: Final = 16 << 20  # bytes


@click.group()
def traffic() -> None:
    """Recordings: shown, exported, imported."""


@traffic.command()
@click.argument("file", type=FILE)
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
@click.argument("file", type=FILE)
@click.argument("output", type=FILE)
def pcapng(file: Path, output: Path) -> None:
    """Export FILE as a packet capture for Wireshark. It holds the same secrets."""
    with RecordingReader(file) as reader, replacing(output) as target:
        os.fchmod(target.fileno(), PRIVATE)
        for block in capture(reader.header, reader):
            target.write(block)


@traffic.command("import")
@click.option("--mqtt", type=FILE, help="MQTT transcript (tap).")
@click.option("--http", type=FILE, help="Requests.")
@click.option("--shell", type=FILE, help="Web Shell connections.")
@click.option("--log", type=FILE, help="Web Log connections.")
@click.option("-o", "--output", required=True, type=FILE, metavar="FILE")
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
        os.fchmod(target.fileno(), PRIVATE)
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

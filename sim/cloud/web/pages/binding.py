"""Where the QR code of a device leads: `/m/#/login?sn=<SN>` (cloudsdk-protocol 8)."""

from typing import Any, Final
from urllib.parse import parse_qs

from nicegui import events, ui

from sim.cloud.operations import Operations
from sim.cloud.web.layout import heading
from sim.cloud.web.notes import noted
from sim.cloud.web.routes import device_path
from sim.cloud.web.visit import Visit

SN_CHARS: Final = 32


async def build(visit: Visit) -> None:
    t = visit.t
    heading(t("bind.title"))
    with ui.card().classes("wide form"):
        ui.label(t("bind.how")).classes("soft")
        sn = ui.input(t("device.sn")).props(f"outlined dense maxlength={SN_CHARS}").classes("field")
        go = ui.button(t("bind.find")).props("no-caps unelevated")

    async def find() -> None:
        with noted(visit):
            device = await visit.run(Operations.show_device, (sn.value or "").strip())
            ui.navigate.to(device_path(device["device_id"]) + "?tab=binding")

    def scanned(event: events.GenericEventArguments) -> None:
        sn.set_value(sn_of(event.args))

    sn.on("keydown.enter", find)
    go.on_click(find)
    ui.on("scanned", scanned)
    # Browsers keep what follows the # to themselves.
    ui.run_javascript("if (location.hash) emitEvent('scanned', location.hash)")


def sn_of(fragment: Any) -> str:
    """The SN in the part of the address after the path; empty without one."""
    query = str(fragment).partition("?")[2]
    return parse_qs(query).get("sn", [""])[0][:SN_CHARS]

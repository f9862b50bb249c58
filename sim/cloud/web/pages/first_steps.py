"""What to do next, for somebody who begins: product, device, port settings, a device that runs."""

import re
import shlex
from typing import Final

from nicegui import ui

from sim.cloud.shapes import ProductInfo
from sim.cloud.web.layout import section
from sim.cloud.web.secret import copy_button
from sim.cloud.web.visit import Visit

#: An example where the reader has no SN yet.
EXAMPLE_SN: Final = "SN0001"
#: A SN that can be the name of a directory as it is.
_PLAIN_SN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DONE, _OPEN = "check_circle", "radio_button_unchecked"


def first_steps(visit: Visit, product: ProductInfo | None, *, device: bool, sn: str = EXAMPLE_SN) -> None:
    """A checklist; `product` and `device` say what is there, `sn` names the device of the examples."""
    t = visit.t
    with ui.card().classes("wide steps"):
        section(t("steps.title"))
        _step(t("steps.product"), t("steps.product-why"), done=product is not None)
        _step(t("steps.device"), t("steps.device-why"), done=device)
        with _step(t("steps.port"), t("steps.port-why"), done=False):
            if product is not None:
                code(visit, port_snippet(product, sn))
        with _step(t("steps.run"), t("steps.run-why"), done=False):
            if product is not None:
                code(visit, run_command(visit, product, sn))
        _step(t("steps.next"), t("steps.next-why"), done=False)


def _step(title: str, why: str, *, done: bool) -> ui.column:
    with ui.row().classes("step"):
        ui.icon(_DONE if done else _OPEN).classes("step-done" if done else "step-open").props(
            "aria-hidden=true"
        )
        with ui.column().classes("step-text") as text:
            ui.label(title).classes("step-title")
            ui.label(why).classes("soft")
    return text


def code(visit: Visit, text: str) -> None:
    """Text to copy, as it is."""
    with ui.row().classes("code"):
        ui.label(text).classes("code-text mono")
        copy_button(visit, lambda: text)


def run_command(visit: Visit, product: ProductInfo, sn: str) -> str:
    """A simulated device for this cloud, for any POSIX shell. The command asks for the ProductKey, so that it
    stays out of the history. A SN is any printable text, so it is quoted."""
    addresses = visit.cloud.addresses
    board = sn if _PLAIN_SN.fullmatch(sn) else "board"
    return (
        f"cloudsim board new {board}\n"
        f"cloudsim device run {board} {shlex.quote('--sn=' + sn)} --product-id {product['product_id']} \\\n"
        f"    --activation-url {shlex.quote(addresses.activation_url)} --mqtt-url {addresses.mqtt_url}"
    )


def port_snippet(product: ProductInfo, sn: str) -> str:
    """What the integrator supplies in `rt_cld_port.c` (platform 4.1)."""
    return f"SN:          {sn}\nProductID:   {product['product_id']}\nProductKey:  ..."

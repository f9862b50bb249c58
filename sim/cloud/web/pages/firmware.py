"""One firmware (platform 7.2, 8)."""

from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import FirmwareInfo, PackageInfo
from sim.cloud.web.dialogs import ask
from sim.cloud.web.facts import facts
from sim.cloud.web.formats import size
from sim.cloud.web.layout import heading, section
from sim.cloud.web.pages.firmware_list import packing
from sim.cloud.web.routes import FIRMWARE_PATH, NEW_TASK_PATH, product_path
from sim.cloud.web.uploads import api_url
from sim.cloud.web.visit import Visit

MAX_ID: Final = 2**31 - 1


async def build(visit: Visit) -> None:
    t = visit.t
    firmware = await visit.run(Operations.show_firmware, number(visit, "firmware_id"))
    with heading(f"{firmware['name']} {firmware['version']}"):
        _actions(visit, firmware)
    package = firmware["package"]
    with ui.card().classes("wide"):
        facts(
            (t("product.title"), lambda: ui.link(firmware["product"], product_path(firmware["product_id"]))),
            (t("firmware.name"), firmware["name"]),
            (t("firmware.version"), firmware["version"]),
            (t("firmware.packing"), packing(firmware)),
            (t("firmware.file-size"), size(firmware["file_size"])),
            (t("firmware.verified"), t("firmware.yes" if firmware["verified"] else "firmware.unchecked")),
            (t("firmware.by"), firmware["uploaded_by"]),
            (t("firmware.created"), visit.moment(firmware["created_at"])),
            (t("product.description"), firmware["description"]),
        )
    if package is not None:
        with ui.card().classes("wide"):
            section(t("firmware.package"))
            package_facts(visit, package)
    if firmware["findings"]:
        with ui.card().classes("wide"):
            section(t("firmware.findings"))
            for finding in firmware["findings"]:
                ui.label(f"{finding['severity']}: {finding['message']}").classes("problem-row")


def package_facts(visit: Visit, package: PackageInfo) -> None:
    """The six results of a packer, under the names of the manual."""
    facts(
        ("HASH_CODE", f"0x{package['hash_code']:08X}"),
        ("HDR_CRC32", f"0x{package['hdr_crc32']:08X}"),
        ("BODY_CRC32", f"0x{package['body_crc32']:08X}"),
        ("RAW_SIZE", str(package["raw_size"])),
        ("PKG_SIZE", str(package["pkg_size"])),
        ("TIMESTAMP", f"{package['timestamp']} ({visit.moment(package['timestamp'])})"),
    )


def number(visit: Visit, name: str) -> int:
    """An id in the path; 0, which nothing has, for what is none."""
    text = visit.parameter(name)
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    return found if found <= MAX_ID else 0


def _actions(visit: Visit, firmware: FirmwareInfo) -> None:
    t, firmware_id = visit.t, firmware["id"]

    async def delete() -> None:
        await visit.run(Operations.delete_firmware, firmware_id)
        ui.navigate.to(f"{FIRMWARE_PATH}?product={firmware['product_id']}")

    task = ui.button(t("tasks.create"), icon="add").props("no-caps unelevated")
    task.props["href"] = f"{NEW_TASK_PATH}?product={firmware['product_id']}&firmware={firmware_id}"
    download = ui.button(t("do.download"), icon="download").props("no-caps outline download")
    download.props["href"] = api_url(f"/firmware/{firmware_id}/file")
    ui.button(t("do.delete"), icon="delete").props("no-caps outline color=negative").props(
        "data-mark=delete"
    ).on_click(lambda: ask(visit, t("firmware.ask-delete"), delete, confirm="do.delete"))

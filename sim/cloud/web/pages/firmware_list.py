"""The firmware of a product: list and upload (platform 8)."""

import json
from typing import Any, Final

from nicegui import ui

from sim.cloud.blobs import MAX_PACKAGE
from sim.cloud.operations import Operations
from sim.cloud.shapes import FirmwareInfo
from sim.cloud.web.choices import product_choice
from sim.cloud.web.formats import size
from sim.cloud.web.layout import heading
from sim.cloud.web.routes import PACK_PATH, firmware_path, product_path
from sim.cloud.web.tables import Column, Pager, Row, table
from sim.cloud.web.uploads import aim, answer_problem, api_url, uploader
from sim.cloud.web.visit import Visit

COLUMNS: Final = (
    Column("name", "firmware.name", "link"),
    Column("version", "firmware.version"),
    Column("product", "product.title", "link"),
    Column("size", "firmware.file-size", align="right"),
    Column("packing", "firmware.packing"),
    Column("created", "firmware.created"),
)


async def build(visit: Visit) -> None:
    t = visit.t
    with heading(t("firmware.title")):
        pack = ui.button(t("menu.pack"), icon="handyman").props("no-caps outline")
        pack.props["href"] = PACK_PATH
    with ui.row().classes("filters"):
        product = await product_choice(visit, visit.request.query_params.get("product"))
    with ui.card().classes("wide"):
        hint = ui.label(t("firmware.choose-product")).classes("soft")
        lower = ui.checkbox(t("firmware.allow-lower"))

        async def answered(answer: dict[str, Any]) -> None:
            problem = answer_problem(visit, answer)
            refusal.set_visibility(problem is not None)
            refusal.set_text(problem.text if problem is not None else "")
            if problem is None:
                name = json.loads(answer["body"])
                ui.notify(t("firmware.uploaded", name=name["name"], version=name["version"]), type="positive")
            await pager.refresh()

        box = uploader(visit, "firmware.upload", accept=".rbl", limit=MAX_PACKAGE, answered=answered)
        refusal = ui.label().classes("dialog-problem").props("role=alert").props("data-mark=refusal")
        refusal.set_visibility(False)
    shown = table(visit, COLUMNS, [], empty="firmware.empty")

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        page = await visit.run(Operations.page_firmware, product.value, after=after, limit=limit)
        return [_row(visit, firmware) for firmware in page["items"]], page["next"]

    pager = Pager(visit, shown, fetch)
    pager.controls()

    async def choose() -> None:
        chosen = product.value is not None
        hint.set_visibility(not chosen)
        box.set_visibility(chosen)
        lower.set_visibility(chosen)
        if chosen:
            aim(box, api_url("/firmware", product=product.value, allow_lower="true" if lower.value else ""))
        await pager.restart()

    product.on_value_change(choose)
    lower.on_value_change(choose)
    await choose()


def _row(visit: Visit, firmware: FirmwareInfo) -> Row:
    return {
        "id": firmware["id"],
        "name": firmware["name"],
        "name_href": firmware_path(firmware["id"]),
        "version": firmware["version"],
        "product": firmware["product"],
        "product_href": product_path(firmware["product_id"]),
        "size": size(firmware["file_size"]),
        "packing": packing(firmware),
        "created": visit.moment(firmware["created_at"]),
    }


def packing(firmware: FirmwareInfo) -> str:
    """Compression and encryption, as far as the cloud knows."""
    return ", ".join(part for part in (firmware["compression"], firmware["encryption"]) if part)

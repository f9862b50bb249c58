"""Adding devices: one by a form, many by a table (platform 3.1)."""

import json
from typing import Any, Final

from nicegui import ui

from sim.cloud.device_table import COLUMNS, MAX_TABLE
from sim.cloud.operations import Operations
from sim.cloud.shapes import DeviceInfo, DeviceState
from sim.cloud.web.dialogs import Field, Values, open_form
from sim.cloud.web.routes import DEVICES_PATH, device_path
from sim.cloud.web.uploads import aim, answer_problem, api_url, uploader
from sim.cloud.web.visit import Visit

SHOWN_ROWS: Final = 100  # bad rows of a refused table that are listed
EXAMPLE: Final = "sn,name,mac,description,tags\nSN0001,Kitchen,,,beta north"


def device_fields(known: DeviceInfo | None = None) -> list[Field]:
    """What is asked for a new device, or shown of a known one to change."""
    fixed = known is not None and (known["state"] == DeviceState.ACTIVATED or known["published"])
    tags = " ".join(known["tags"]) if known else ""
    return [
        Field("sn", "device.sn", value=known["sn"] if known else "", required=True, limit=32, disabled=fixed),
        Field("name", "device.name", value=known["name"] if known else ""),
        Field("mac", "device.mac", value=known["mac"] if known else "", limit=32, disabled=fixed),
        Field("tags", "device.tags", value=tags, limit=600, hint="device.tags-hint"),
        Field("description", "device.description", "long", known["description"] if known else "", limit=512),
    ]


def with_tags(values: Values) -> Values:
    """`values` with the tags as a list."""
    return {**values, "tags": values["tags"].replace(",", " ").split()}


def open_add_device(visit: Visit, product_id: str) -> None:
    async def submit(values: Values) -> None:
        device = await visit.run(Operations.add_device, product_id, **with_tags(values))
        ui.navigate.to(device_path(device["device_id"]))

    open_form(visit, "devices.add", device_fields(), submit, confirm="do.add")


def open_import(visit: Visit, product_id: str) -> None:
    """A dialog that takes a table. It is all or nothing; the rows that are wrong are listed."""
    t = visit.t
    with ui.dialog() as dialog, ui.card().classes("dialog"):
        ui.label(t("devices.import")).classes("dialog-title").props('role=heading aria-level="2"')
        ui.label(t("devices.import-how", columns=", ".join(COLUMNS))).classes("soft")
        ui.label(EXAMPLE).classes("code-text code mono")

        def answered(answer: dict[str, Any]) -> None:
            problems.clear()
            problem = answer_problem(visit, answer)
            if problem is None:
                added = json.loads(answer["body"])["added"]
                ui.notify(t("devices.imported", count=added), type="positive")
                ui.navigate.to(f"{DEVICES_PATH}?product={product_id}")
                return
            with problems:
                ui.label(problem.text).classes("dialog-problem")
                for row in problem.rows[:SHOWN_ROWS]:
                    text = t("devices.row", row=row["row"], reason=row["reason"])
                    ui.label(text).classes("problem-row")

        box = uploader(
            visit, "devices.import-file", accept=".csv,text/csv", limit=MAX_TABLE, answered=answered
        )
        aim(box, api_url("/devices/import", product=product_id))
        problems = ui.column().classes("problems").props("role=alert")
        with ui.row().classes("dialog-actions"):
            ui.button(t("do.close"), on_click=dialog.close).props("flat no-caps")
    dialog.on("hide", dialog.delete)
    dialog.open()

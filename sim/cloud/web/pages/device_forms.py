"""Adding devices: one by a form, many by a table (platform 3.1)."""

from typing import Final

from nicegui import events, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.device_table import COLUMNS, MAX_TABLE
from sim.cloud.errors import DevicesRefusedError
from sim.cloud.operations import Operations
from sim.cloud.shapes import DeviceInfo
from sim.cloud.web.dialogs import Field, Values, open_form
from sim.cloud.web.notes import error_text
from sim.cloud.web.routes import DEVICES_PATH, device_path
from sim.cloud.web.visit import Visit

SHOWN_PROBLEMS: Final = 100  # rows of a refused table


def device_fields(known: DeviceInfo | None = None) -> list[Field]:
    """What is asked for a new device, or shown of a known one to change."""
    fixed = known is not None and (known["state"] == "activated" or known["published"])
    return [
        Field("sn", "device.sn", value=known["sn"] if known else "", required=True, limit=32, disabled=fixed),
        Field("name", "device.name", value=known["name"] if known else ""),
        Field("mac", "device.mac", value=known["mac"] if known else "", limit=32, disabled=fixed),
        Field(
            "tags",
            "device.tags",
            value=" ".join(known["tags"]) if known else "",
            limit=600,
            hint="device.tags-hint",
        ),
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
        ui.label("sn,name,mac,description,tags\nSN0001,Kitchen,,,beta north").classes("code-text mono code")
        problems = ui.column().classes("problems").props("role=alert")

        async def take(event: events.UploadEventArguments) -> None:
            problems.clear()
            try:
                # The name of the file is of no use here, and is not used.
                done = await visit.run(Operations.add_devices, product_id, await event.file.read())
            except CloudSdkError as exc:
                upload.reset()
                with problems:
                    _show_problems(visit, exc)
            else:
                ui.notify(t("devices.imported", count=done["added"]), type="positive")
                ui.navigate.to(f"{DEVICES_PATH}?product={product_id}")

        upload = ui.upload(label=t("devices.import-file"), on_upload=take, auto_upload=True, max_files=1)
        upload.props(f'accept=".csv,text/csv" max-file-size={MAX_TABLE} flat bordered').classes("wide")
        upload.on_rejected(lambda: ui.notify(t("devices.import-large"), type="negative"))
        with ui.row().classes("dialog-actions"):
            ui.button(t("do.close"), on_click=dialog.close).props("flat no-caps")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _show_problems(visit: Visit, error: CloudSdkError) -> None:
    ui.label(error_text(visit.t, error)).classes("dialog-problem")
    rows = error.rows if isinstance(error, DevicesRefusedError) else ()
    for problem in rows[:SHOWN_PROBLEMS]:
        ui.label(visit.t("devices.row", row=problem["row"], reason=problem["reason"])).classes("problem-row")

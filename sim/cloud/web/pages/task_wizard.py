"""Creating an OTA task: product, firmware in order, devices, rollout, review (platform 9)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from nicegui import events, ui

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.task import UpgradeMode
from sim.cloud.errors import BadRequestError
from sim.cloud.operations import Operations
from sim.cloud.rollout import Rollout, Selection
from sim.cloud.shapes import DeviceFilter, FirmwareInfo
from sim.cloud.web.choices import product_choice
from sim.cloud.web.facts import facts
from sim.cloud.web.formats import from_input
from sim.cloud.web.layout import heading, icon_button
from sim.cloud.web.notes import error_text
from sim.cloud.web.routes import task_path
from sim.cloud.web.visit import Visit

MAX_OFFERED: Final = 1000  # firmwares of a product to choose from
MODES: Final = tuple(mode.name.lower() for mode in UpgradeMode)
SELECTS: Final = ("all", "sns", "tags", "versions")
WHOLE: Final = 100  # percent


@dataclass(slots=True)
class _Plan:
    """What has been chosen so far."""

    firmware: list[FirmwareInfo] = field(default_factory=list)
    offered: dict[int, FirmwareInfo] = field(default_factory=dict)


async def build(visit: Visit) -> None:
    await _Wizard(visit).build()


class _Wizard:
    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._t = visit.t
        self._plan = _Plan()

    async def build(self) -> None:
        t = self._t
        heading(t("tasks.create"))
        self._problem = ui.label().classes("dialog-problem").props("role=alert")
        with ui.stepper().props("flat bordered animated=false").classes("wide wizard") as self._steps:
            with ui.step("product", t("wizard.product"), icon="category"):
                query = self._visit.request.query_params
                self._product = await product_choice(self._visit, query.get("product"))
                self._next(self._chosen_product, first=True)
            with ui.step("firmware", t("wizard.firmware"), icon="inventory_2"):
                ui.label(t("wizard.firmware-how")).classes("soft")
                self._order = ui.column().classes("order").props("data-mark=order")
                grip, ghost = ".order-grip", "order-ghost"
                self._order.make_sortable(on_end=self._dropped, handle=grip, ghost_class=ghost)
                self._offer = ui.select({}, label=t("wizard.firmware-add")).props("outlined dense")
                self._offer.classes("field").on_value_change(self._add)
                self._next(self._chosen_firmware)
            with ui.step("devices", t("wizard.devices"), icon="memory"):
                self._devices()
                self._next(self._chosen_devices)
            with ui.step("rollout", t("wizard.rollout"), icon="stacked_line_chart"):
                self._rollout_fields()
                self._next(self._review)
            with ui.step("review", t("wizard.review"), icon="checklist"):
                self._summary = ui.column().classes("wide")
                with ui.stepper_navigation():
                    create = ui.button(t("tasks.create"), on_click=self._create)
                    create.props("no-caps unelevated")
                    ui.button(t("wizard.back"), on_click=self._steps.previous).props("no-caps flat")
        if self._product.value is not None and query.get("firmware") is not None:
            await self._chosen_product()
            first = self._plan.offered.get(int(text) if (text := query["firmware"]).isdigit() else 0)
            if first is not None:
                self._offer.set_value(first["id"])

    def _next(self, check: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        async def go() -> None:
            self._problem.set_text("")
            try:
                await check()
            except CloudSdkError as exc:
                self._problem.set_text(error_text(self._t, exc))

        with ui.stepper_navigation():
            ui.button(self._t("wizard.next"), on_click=go).props("no-caps unelevated")
            if not first:
                ui.button(self._t("wizard.back"), on_click=self._steps.previous).props("no-caps flat")

    # The steps

    async def _chosen_product(self) -> None:
        if self._product.value is None:
            raise BadRequestError(self._t("wizard.choose-product"))
        page = await self._visit.run(Operations.page_firmware, self._product.value, limit=MAX_OFFERED)
        self._plan.offered = {firmware["id"]: firmware for firmware in page["items"]}
        self._plan.firmware.clear()
        tags = await self._visit.run(Operations.list_tags, self._product.value)
        self._tags.set_options([tag["tag"] for tag in tags])
        wanted = DeviceFilter(product=self._product.value)
        counts = await self._visit.run(Operations.count_devices, wanted)
        self._matching.set_text(self._t("wizard.matching", count=counts["total"]))
        self._show_order()
        self._steps.set_value("firmware")

    async def _chosen_firmware(self) -> None:
        if not self._plan.firmware:
            raise BadRequestError(self._t("wizard.choose-firmware"))
        self._steps.set_value("devices")

    async def _chosen_devices(self) -> None:
        self._selection()
        self._steps.set_value("rollout")

    async def _review(self) -> None:
        rollout = self._rollout()
        t, mode = self._t, str(self._mode.value)
        self._summary.clear()
        with self._summary:
            facts(
                (t("wizard.product"), str(self._product.options[self._product.value])),
                (t("task.firmware"), ", ".join(_name(each) for each in self._plan.firmware)),
                (t("wizard.select"), self._selected()),
                (t("wizard.percent"), str(self._selection().percent)),
                (t("wizard.mode"), t(f"mode.{mode}")),
                (t("task.stages"), ", ".join(f"{stage} %" for stage in rollout.stages)),
                (t("wizard.version"), self._version.value or ""),
                (t("task.starts"), self._visit.moment(self._time(self._starts))),
                (t("task.ends"), self._visit.moment(self._time(self._ends))),
            )
        self._steps.set_value("review")

    async def _create(self) -> None:
        self._problem.set_text("")
        try:
            task = await self._visit.run(
                Operations.create_task,
                self._product.value,
                firmware_ids=[firmware["id"] for firmware in self._plan.firmware],
                selection=self._selection(),
                mode=UpgradeMode[str(self._mode.value).upper()],
                version=(self._version.value or "").strip() or None,
                rollout=self._rollout(),
                starts_at=self._time(self._starts),
                ends_at=self._time(self._ends),
            )
        except CloudSdkError as exc:
            self._problem.set_text(error_text(self._t, exc))
        else:
            ui.navigate.to(task_path(task["id"]))

    # Firmware in order

    def _add(self) -> None:
        firmware = self._plan.offered.get(self._offer.value or 0)
        if firmware is not None:
            self._plan.firmware.append(firmware)
            self._show_order()

    def _show_order(self) -> None:
        chosen, t = self._plan.firmware, self._t
        self._order.clear()
        with self._order:
            for place, firmware in enumerate(chosen):
                with ui.row().classes("order-line"):
                    ui.icon("drag_indicator").classes("order-grip").props("aria-hidden=true")
                    ui.label(f"{place + 1}.").classes("soft")
                    ui.label(_name(firmware)).classes("order-name")
                    ui.space()
                    up = icon_button("arrow_upward", t("wizard.up")).props("size=sm")
                    up.on_click(lambda place=place: self._swap(place - 1)).set_enabled(place > 0)
                    down = icon_button("arrow_downward", t("wizard.down")).props("size=sm")
                    down.on_click(lambda place=place: self._swap(place)).set_enabled(place + 1 < len(chosen))
                    icon_button("close", t("wizard.remove")).props("size=sm").on_click(
                        lambda place=place: self._remove(place)
                    )
        taken = {firmware["id"] for firmware in chosen}
        rest = {key: _name(each) for key, each in self._plan.offered.items() if key not in taken}
        self._offer.set_options(rest, value=None)

    def _swap(self, place: int) -> None:
        chosen = self._plan.firmware
        chosen[place], chosen[place + 1] = chosen[place + 1], chosen[place]
        self._show_order()

    def _dropped(self, event: events.SortableEventArguments) -> None:
        chosen = self._plan.firmware
        # The places come from the browser.
        if event.old_index in range(len(chosen)) and event.new_index in range(len(chosen)):
            chosen.insert(event.new_index, chosen.pop(event.old_index))
        self._show_order()

    def _remove(self, place: int) -> None:
        del self._plan.firmware[place]
        self._show_order()

    # Devices

    def _devices(self) -> None:
        t = self._t
        self._matching = ui.label().classes("soft")
        selects = {each: t(f"wizard.select.{each}") for each in SELECTS}
        self._by = ui.radio(selects, value="all")
        self._by.props["aria-label"] = t("wizard.select")
        self._sns = ui.textarea(t("wizard.sns")).props("outlined dense autogrow").classes("field")
        self._tags = ui.select([], label=t("wizard.tags"), multiple=True, value=[]).classes("field")
        self._tags.props("outlined dense use-chips")
        self._versions = ui.input(t("wizard.versions")).props("outlined dense").classes("field")
        self._percent = ui.number(t("wizard.percent"), value=WHOLE, min=1, max=WHOLE, precision=0)
        self._percent.props("outlined dense").classes("field")
        for name, element in (("sns", self._sns), ("tags", self._tags), ("versions", self._versions)):
            element.bind_visibility_from(self._by, "value", value=name)

    def _selection(self) -> Selection:
        by = self._by.value
        return Selection(
            sns=_words(self._sns.value) if by == "sns" else (),
            tags=tuple(self._tags.value or ()) if by == "tags" else (),
            versions=_words(self._versions.value) if by == "versions" else (),
            percent=int(self._percent.value or 0),
            everyone=by == "all",
        )

    def _selected(self) -> str:
        chosen = self._selection()
        words = " ".join((*chosen.sns, *chosen.tags, *chosen.versions))
        return words or self._t("wizard.select.all")

    # Rollout

    def _rollout_fields(self) -> None:
        t = self._t
        modes = {mode: t(f"mode.{mode}") for mode in MODES}
        self._mode = ui.select(modes, label=t("wizard.mode"), value=MODES[0])
        self._version = ui.input(t("wizard.version"))
        self._stages = ui.input(t("wizard.stages"), value=str(WHOLE))
        self._limit = ui.number(t("wizard.limit"), min=0, max=WHOLE - 1, precision=0)
        self._starts = ui.input(t("wizard.starts")).props("type=datetime-local stack-label clearable")
        self._ends = ui.input(t("wizard.ends")).props("type=datetime-local stack-label clearable")
        for element in (self._mode, self._version, self._stages, self._limit, self._starts, self._ends):
            element.props("outlined dense").classes("field")

    def _rollout(self) -> Rollout:
        try:
            stages = tuple(int(part) for part in str(self._stages.value or WHOLE).split(","))
        except ValueError:
            raise BadRequestError(self._t("wizard.numbers")) from None
        limit = self._limit.value
        return Rollout(stages=stages, failure_limit=int(limit) if limit is not None else None)

    def _time(self, element: ui.input) -> int | None:
        return from_input(element.value, self._visit.preferences.zone)


def _name(firmware: FirmwareInfo) -> str:
    return f"{firmware['name']} {firmware['version']}"


def _words(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())

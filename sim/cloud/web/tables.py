"""Tables: rows of plain text, escaped by the browser; on a phone each row is a card."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from nicegui import events, ui

from sim.cloud.web.layout import icon_button
from sim.cloud.web.notes import noted
from sim.cloud.web.visit import Visit

PAGE_ROWS: Final = 50

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """`title` is the key of its text; `kind` says how cells look: `state` is a coloured mark whose text and
    colour the row has as `<name>` and `<name>_color`, `link` leads to the row's `<name>_href`."""

    name: str
    title: str
    kind: str = "text"
    align: str = "left"


_STATE_CELL: Final = """
<q-td :props="props"><q-badge :color="props.row.{0}_color" :label="props.value" /></q-td>
"""
_LINK_CELL: Final = """
<q-td :props="props"><a class="cell-link" :href="props.row.{0}_href">{{{{ props.value }}}}</a></q-td>
"""
_LOG_CELL: Final = """
<q-td :props="props" class="log-cell mono">{{{{ props.value }}}}</q-td>
"""
_BAR_CELL: Final = """
<q-td :props="props"><q-linear-progress rounded size="14px" :value="props.value / 100"
  :aria-label="props.value + ' %'" class="cell-bar" /></q-td>
"""
_CARD: Final = """
<div class="table-card"><div v-for="col in props.cols" :key="col.name" class="table-card-line">
  <span class="table-card-name">{{ col.label }}</span>
  <q-btn v-if="col.text" flat dense no-caps color="negative" :label="col.text"
    @click="$parent.$emit('act', props.row)" />
  <a v-else-if="props.row[col.name + '_href']" class="cell-link" :href="props.row[col.name + '_href']"
    >{{ col.value }}</a>
  <q-badge v-else-if="props.row[col.name + '_color']" :color="props.row[col.name + '_color']"
    :label="col.value" />
  <span v-else>{{ col.value }}</span>
</div></div>
"""


_ACTION_CELL: Final = """
<q-td :props="props" auto-width><q-btn flat dense no-caps color="negative" :label="props.col.text"
  @click="$parent.$emit('act', props.row)" /></q-td>
"""


def filter_input(visit: Visit, label: str, value: str = "") -> ui.input:
    """A search field; its value comes when typing pauses."""
    field = ui.input(visit.t(label), value=value).props("outlined dense clearable debounce=300 maxlength=64")
    return field.classes("filter")


def table(
    visit: Visit,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    empty: str,
    action: str | None = None,
) -> ui.table:
    """A table of `rows`, each with an `id`. `empty` is the key of what is said without any, `action` that of
    a button of each row, which emits the event `act` with its row."""
    shown = ui.table(
        columns=[
            {"name": column.name, "field": column.name, "label": visit.t(column.title), "align": column.align}
            for column in columns
        ]
        + ([] if action is None else [{"name": "act", "label": "", "field": "id", "text": visit.t(action)}]),
        rows=list(rows),
        row_key="id",
    )
    shown.classes("table").props('flat bordered :grid="Quasar.Screen.lt.sm" hide-pagination')
    shown.props(":rows-per-page-options=[0]")
    shown.props["no-data-label"] = visit.t(empty)
    for column in columns:
        template = {"state": _STATE_CELL, "link": _LINK_CELL, "bar": _BAR_CELL, "log": _LOG_CELL}.get(
            column.kind
        )
        if template:
            shown.add_slot(f"body-cell-{column.name}", template.format(column.name))
    if action is not None:
        shown.add_slot("body-cell-act", _ACTION_CELL)
    shown.add_slot("item", _CARD)
    return shown


@dataclass(slots=True)
class Pager:
    """A table that shows one page at a time: `fetch(after, limit)` gives rows and the cursor of the next."""

    visit: Visit
    shown: ui.table
    fetch: Callable[[int, int], Awaitable[tuple[list[Row], int | None]]]
    limit: int = PAGE_ROWS
    _before: list[int] = field(default_factory=list)
    _after: int = 0
    _next: int | None = None
    _buttons: list[ui.button] = field(default_factory=list)
    _row: ui.row | None = None

    def controls(self) -> None:
        """The buttons below the table."""
        with ui.row().classes("pager") as self._row:
            back = icon_button("chevron_left", self.visit.t("table.previous")).on_click(self._back)
            forward = icon_button("chevron_right", self.visit.t("table.next")).on_click(self._forward)
        self._buttons = [back, forward]

    async def refresh(self) -> None:
        """Fetch the present page again, and tell the reader when that fails."""
        with noted(self.visit):
            await self.look()

    async def look(self) -> None:
        """Fetch the present page again; rows that did not change are not sent. Raises what fetching does."""
        rows, self._next = await self.fetch(self._after, self.limit)
        if rows != self.shown.rows:
            self.shown.rows = rows
        for button, usable in zip(self._buttons, (self._before, self._next is not None), strict=False):
            button.set_enabled(bool(usable))
        if self._row is not None:
            self._row.set_visibility(bool(self._before) or self._next is not None)

    async def restart(self, _event: events.EventArguments | None = None) -> None:
        """Show the first page: the filter has changed."""
        self._before.clear()
        self._after = 0
        await self.refresh()

    async def _forward(self) -> None:
        if self._next is not None:
            self._before.append(self._after)
            self._after = self._next
            await self.refresh()

    async def _back(self) -> None:
        if self._before:
            self._after = self._before.pop()
            await self.refresh()

"""The Web Shell in the browser (platform 5, cloudsdk-protocol 4)."""

import asyncio
from typing import Any, Final

from nicegui import background_tasks, context, events, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.gateways.shells import ShellSession
from sim.cloud.operations import Operations
from sim.cloud.web.layout import heading
from sim.cloud.web.live import follow
from sim.cloud.web.notes import error_text
from sim.cloud.web.routes import device_path
from sim.cloud.web.terminal import MAX_COMMAND, REVERSE_WRAP, LineEditor, OutputFilter
from sim.cloud.web.visit import Visit

BROWSER_PATIENCE: Final = 30.0  # seconds in which a browser must draw a piece of output
OPTIONS: Final[dict[str, Any]] = {
    "cursorBlink": True,
    "fontSize": 14,
    "lineHeight": 1.2,  # else some fonts lose the underscore
    "fontFamily": 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
    "scrollback": 5000,
    "theme": {"background": "#0b1020", "foreground": "#dbe4f3", "cursor": "#93c5fd"},
}
#: xterm.js makes links of addresses in the output and opens them from an empty window; a device must not lead
#: anybody anywhere. The console names where it goes.
NO_LINKS: Final = (
    "(open => { window.open = (...to) => to.length ? open(...to) : null })(window.open.bind(window))"
)


async def build(visit: Visit) -> None:
    t, device_id = visit.t, visit.parameter("device_id")
    device = await visit.run(Operations.show_device, device_id)
    with heading(t("shell.title")):
        copy = ui.button(t("shell.copy"), icon="content_copy").props("no-caps outline")
        again = ui.button(t("shell.again"), icon="refresh").props("no-caps outline")
        close = ui.button(t("shell.close"), icon="close").props("no-caps unelevated")
    with ui.row().classes("log-bar"):
        ui.link(device["name"] or device["sn"], device_path(device_id))
        state = ui.label().classes("soft").props("data-mark=shell-state").props("role=status")
    terminal = ui.xterm(OPTIONS).classes("terminal")
    terminal.props["aria-label"] = t("shell.terminal")
    ui.label(t("shell.help", count=MAX_COMMAND)).classes("soft")
    view = _View(visit, device_id, terminal, state, again, close)
    terminal.on_data(view.typed)
    again.on_click(view.open)
    close.on_click(view.close)
    focus = f"getElement({terminal.id}).terminal.focus()"
    copy.on("click", js_handler=f"() => {{ {focus}; document.execCommand('copy') }}")
    client = context.client
    client.on_delete(view.leave)
    await client.connected()
    if client.is_deleted:  # nobody came for the page, so the device is left alone
        return
    fit = f"getElement({terminal.id}).fit()"
    ui.run_javascript(
        f"{NO_LINKS}; {fit}; new ResizeObserver(() => {fit}).observe(getElement({terminal.id}).$el);{focus}"
    )

    async def look() -> None:
        await visit.console_of(device_id)

    follow(look, ended=view.leave)
    await view.open()


class _View:
    """One terminal and the session behind it."""

    def __init__(
        self,
        visit: Visit,
        device_id: str,
        terminal: ui.xterm,
        state: ui.label,
        again: ui.button,
        close: ui.button,
    ) -> None:
        self._visit = visit
        self._device_id = device_id
        self._terminal = terminal
        self._state = state
        self._again = again
        self._close = close
        self._session: ShellSession | None = None
        self._editor = LineEditor()
        self._left = False
        self._typed: asyncio.Queue[str] = asyncio.Queue(maxsize=64)

    async def open(self) -> None:
        t = self._visit.t
        if self._session is not None:
            return
        self._again.set_visibility(False)
        self._close.set_visibility(True)
        self._state.set_text(t("shell.connecting"))
        self._terminal.run_terminal_method("reset")
        self._terminal.write(REVERSE_WRAP)
        try:
            consoles = await self._visit.console_of(self._device_id)
            session = await consoles.open_shell(self._device_id)
        except CloudSdkError as exc:
            self._ended(error_text(t, exc))
            return
        if self._left:
            session.hang_up()
            return
        self._session, self._editor = session, LineEditor()
        self._state.set_text(t("shell.connected"))
        sender = background_tasks.create(self._send(session), name="shell input")
        background_tasks.create(self._show(session, sender), name="shell output")

    def typed(self, event: events.XtermDataEventArguments) -> None:
        """Take a key or a paste; in order, and no more than a device can follow."""
        if self._session is not None and not self._typed.full():
            self._typed.put_nowait(event.data)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def leave(self) -> None:
        """The page is gone: so is the session."""
        self._left = True
        if self._session is not None:
            self._session.hang_up()

    async def _send(self, session: ShellSession) -> None:
        while True:
            typed = self._editor.feed(await self._typed.get())
            if typed.echo:
                self._terminal.write(typed.echo)
            try:
                for command in typed.commands:
                    await session.send(command)
            except CloudSdkError:
                return  # the session is over, and whoever shows it says so

    async def _show(self, session: ShellSession, sender: "asyncio.Task[None]") -> None:
        harmless = OutputFilter()
        try:
            async for data in session:
                # Waiting for the browser holds up the device, not the memory of the cloud.
                await self._terminal.run_method("write", harmless.feed(data), timeout=BROWSER_PATIENCE)
        except TimeoutError:
            session.hang_up()
        self._session = None
        sender.cancel()
        if not self._left:
            reason = str(session.end) if session.end is not None else ""
            self._ended(self._visit.t.known(f"shell.end.{reason}", self._visit.t("shell.ended")))

    def _ended(self, text: str) -> None:
        self._session = None
        self._state.set_text(text)
        self._again.set_visibility(True)
        self._close.set_visibility(False)

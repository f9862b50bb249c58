"""The frame of every page: menu, language, theme, account, and the page inside."""

import logging
from typing import Final

from nicegui import Client, context, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.errors import CloudError
from sim.cloud.web.access import NOBODY
from sim.cloud.web.notes import error_text
from sim.cloud.web.preferences import LANGUAGE_COOKIE, THEME_COOKIE, ZONE_SCRIPT, Theme, set_cookie_script
from sim.cloud.web.routes import (
    ACCOUNT_PATH,
    AUDIT_PATH,
    DEVICES_PATH,
    FIRMWARE_PATH,
    HOME_PATH,
    LOGOUT_PATH,
    PACK_PATH,
    PRODUCTS_PATH,
    TASKS_PATH,
    PageRoute,
)
from sim.cloud.web.visit import Visit

#: Address, icon and text of the menu's entries.
MENU: Final = (
    (HOME_PATH, "dashboard", "menu.dashboard"),
    (PRODUCTS_PATH, "category", "menu.products"),
    (DEVICES_PATH, "memory", "menu.devices"),
    (FIRMWARE_PATH, "inventory_2", "menu.firmware"),
    (PACK_PATH, "handyman", "menu.pack"),
    (TASKS_PATH, "system_update_alt", "menu.tasks"),
    (AUDIT_PATH, "fact_check", "menu.audit"),
)
THEME_ICONS: Final = {Theme.AUTO: "brightness_auto", Theme.LIGHT: "light_mode", Theme.DARK: "dark_mode"}
COLORS: Final = {"primary": "#2563eb", "secondary": "#475569", "positive": "#15803d", "negative": "#c0262d"}
_STYLE: Final = '<link rel="stylesheet" href="/console/console.css">'


_log = logging.getLogger(__name__)


async def show_page(visit: Visit, route: PageRoute, client: Client) -> None:
    """Build `route` for `visit`. What is unknown or refused becomes a page that says so."""
    ui.add_head_html(f"{_STYLE}<script>{ZONE_SCRIPT}</script>")
    ui.colors(**COLORS)
    ui.page_title(f"{visit.t(route.title)} · cloudsim")
    known = visit.caller is not NOBODY
    menu = _header(visit, known)
    if menu is not None:
        _menu(visit, route, menu)
    with ui.element("main").classes("page").props("id=main") as main:
        ui.skip_link(visit.t("frame.skip"), target=main)
        try:
            await route.build(visit)
        except Exception as exc:
            if not isinstance(exc, CloudSdkError):
                _log.exception("a page cannot be built")
                exc = CloudError("the cloud has failed: its log says why")
            client.status_code = exc.http_status if isinstance(exc, CloudError) else 400
            main.clear()
            with main, ui.card().classes("notice"):
                ui.icon("error_outline", size="2.5rem").props("aria-hidden=true")
                ui.label(error_text(visit.t, exc)).classes("notice-text")
                ui.link(visit.t("frame.home"), HOME_PATH)


def heading(text: str) -> ui.row:
    """The page's title; what is built inside the row goes to its right."""
    with ui.row().classes("heading") as row:
        ui.label(text).classes("heading-text").props('role=heading aria-level="1"')
        ui.space()
    return row


def section(text: str) -> ui.label:
    return ui.label(text).classes("section").props('role=heading aria-level="2"')


def icon_button(icon: str, label: str) -> ui.button:
    """A button that shows only an icon; `label` is its tooltip and its name."""
    with ui.button(icon=icon).props("flat round dense") as button:
        ui.tooltip(label)
    button.props["aria-label"] = label
    return button


def _header(visit: Visit, known: bool) -> ui.button | None:
    """Returns the button of the menu."""
    menu = None
    with ui.header().classes("top").props("bordered"):
        if known:
            menu = icon_button("menu", visit.t("frame.menu")).classes("top-button")
        with ui.link(target=HOME_PATH).classes("brand"):
            ui.image("/console/favicon.svg").classes("brand-mark").props('alt="" no-spinner no-transition')
            ui.label("cloudsim").classes("brand-name")
        ui.space()
        _language_button(visit)
        _theme_button(visit)
        if known:
            _account_button(visit)
    return menu


def _language_button(visit: Visit) -> None:
    other = "zh" if visit.t.language == "en" else "en"
    button = ui.button(visit.t("frame.other-language")).props("flat dense no-caps").classes("top-button")
    button.props["aria-label"] = visit.t("frame.switch-language")
    script = set_cookie_script(LANGUAGE_COOKIE, other)
    button.on("click", js_handler=f"() => {{ {script}; location.reload() }}")


def _theme_button(visit: Visit) -> None:
    button = icon_button(THEME_ICONS[visit.preferences.theme], visit.t("frame.theme")).classes("top-button")
    shown = [visit.preferences.theme]

    def change() -> None:
        shown[0] = shown[0].next
        button.props["icon"] = THEME_ICONS[shown[0]]
        dark = {None: "None", True: "true", False: "false"}[shown[0].dark]
        script = f"{set_cookie_script(THEME_COOKIE, shown[0])}; "
        mode = {"None": '"auto"', "true": "true", "false": "false"}[dark]
        ui.run_javascript(f"{script}Quasar.Dark.set({mode})")

    button.on_click(change)


def _account_button(visit: Visit) -> None:
    with icon_button("account_circle", visit.t("frame.account")).classes("top-button"):
        with ui.menu(), ui.list().props("dense").classes("account-menu"):
            ui.item_label(visit.caller.name).props("header")
            ui.menu_item(visit.t("menu.account"), on_click=lambda: ui.navigate.to(ACCOUNT_PATH))
            ui.separator()
            with ui.element("form").props(f'method=post action="{LOGOUT_PATH}"'):
                ui.button(visit.t("frame.logout")).props("flat no-caps type=submit").classes("logout")


def _menu(visit: Visit, route: PageRoute, button: ui.button) -> None:
    # NiceGUI's own drawer asks every browser for its state, and complains about those that have gone.
    layout = context.client.layout
    layout.props["view"] = "hHh LpR fff"  # header and menu stay while the page scrolls
    with layout:
        drawer = ui.element("q-drawer").props("show-if-above bordered breakpoint=900 width=220")
    with drawer.classes("side"):
        with ui.element("nav") as nav:
            nav.props["aria-label"] = visit.t("frame.menu")
            for path, icon, text in MENU:
                entry = ui.element("q-item").props("clickable tag=a role=link").classes("side-item")
                entry.props["href"] = path
                if path == (route.section or route.path):
                    entry.props('active aria-current="page"')
                with entry:
                    with ui.item_section().props("avatar"):
                        ui.icon(icon).props("aria-hidden=true")
                    with ui.item_section():
                        ui.label(visit.t(text))
    button.on("click", js_handler=f"() => getElement({drawer.id}).toggle()")

"""Registration and log-in (platform 1.1)."""

from nicegui import ui

from sim.cloud.web.routes import LOGIN_PATH, REGISTER_PATH
from sim.cloud.web.visit import Visit


async def build_login(visit: Visit) -> None:
    _form(visit, LOGIN_PATH, "login", other=REGISTER_PATH, new_password=False)


async def build_register(visit: Visit) -> None:
    _form(visit, REGISTER_PATH, "register", other=LOGIN_PATH, new_password=True)


def _form(visit: Visit, path: str, area: str, *, other: str, new_password: bool) -> None:
    t, query = visit.t, visit.request.query_params
    with ui.card().classes("login"):
        ui.image("/console/favicon.svg").classes("login-mark").props('alt="" no-spinner no-transition')
        ui.label(t(f"{area}.title")).classes("heading-text").props('role=heading aria-level="1"')
        ui.label(t("login.what")).classes("soft")
        if (code := query.get("error")) is not None:
            with ui.row().classes("login-problem").props("role=alert"):
                ui.icon("error_outline").props("aria-hidden=true")
                ui.label(t.known(f"login.error.{code}", t("login.error")))
        with ui.element("form").props(f'method=post action="{path}"').classes("login-form"):
            name = ui.input(t("login.name")).props("name=name autocomplete=username outlined required")
            name.props("autofocus maxlength=64")
            word = "new-password" if new_password else "current-password"
            password = ui.input(t("login.password"), password=True, password_toggle_button=True)
            password.props(f"name=password autocomplete={word} outlined required maxlength=128")
            if new_password:
                password.props["minlength"] = 8
                password.props["hint"] = t("register.rules")
            wanted = ui.element("input").props("type=hidden name=next")
            wanted.props["value"] = query.get("next", "")
            ui.button(t(f"{area}.do")).props("type=submit unelevated no-caps size=lg").classes("login-do")
        with ui.row().classes("login-other"):
            ui.label(t(f"{area}.other")).classes("soft")
            ui.link(t(f"{area}.other-do"), other)

"""The packager (platform 7, manual 3.4.1): a firmware goes in, a package and its six results come out.

The browser sends the firmware to the API itself and keeps the package until it is saved. Key and IV go in
headers, never in an address.
"""

import json
from typing import Any, Final

from nicegui import events, ui

from sim.cloud.api.context import CSRF_HEADER
from sim.cloud.web.choices import product_choice
from sim.cloud.web.dialogs import Field, input_of
from sim.cloud.web.layout import heading, section
from sim.cloud.web.pages.firmware import package_facts
from sim.cloud.web.uploads import answer_problem, api_url
from sim.cloud.web.visit import Visit

COMPRESSIONS: Final = ("none", "gzip", "quicklz", "fastlz")
ENCRYPTIONS: Final = ("none", "aes256")
KEY_CHARS: Final = 32
IV_CHARS: Final = 16

#: Sends the chosen file to `url` with `headers`; keeps the package that comes back as `window.packed`.
_SEND: Final = """
const send = async (url, headers) => {
  const file = document.getElementById("pack-file").files[0];
  const answer = await fetch(url, { method: "POST", headers: headers, body: file });
  const shown = answer.headers.get("X-Package");
  if (!answer.ok || shown === null) return { status: answer.status, body: await answer.text() };
  window.packed = await answer.blob();
  return { status: answer.status, body: shown };
};
"""
_SAVE: Final = """(name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(window.packed);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}"""


async def build(visit: Visit) -> None:
    t = visit.t
    heading(t("pack.title"))
    ui.label(t("pack.what")).classes("soft")
    with ui.card().classes("wide form"):
        with ui.element("label").classes("file"):
            ui.label(t("pack.file")).classes("fact-name")
            chosen = ui.element("input").props('type=file id="pack-file"').props("data-mark=pack-file")
        fields = [
            Field("name", "pack.name", required=True, limit=15, hint="pack.name-hint"),
            Field("version", "firmware.version", required=True, limit=23),
            Field("compression", "pack.compression", "choice", "none", choices=COMPRESSIONS),
            Field("encryption", "pack.encryption", "choice", "none", choices=ENCRYPTIONS),
        ]
        inputs = {field.name: input_of(visit, field) for field in fields}
        secrets = {
            field.name: input_of(visit, field)
            for field in (
                Field("key", "pack.key", "password", limit=KEY_CHARS),
                Field("iv", "pack.iv", "password", limit=IV_CHARS),
            )
        }
        product = await product_choice(visit, None, clear=True)
        product.classes(replace="field").props(f'label="{t("pack.store")}"')
        problem = ui.label().classes("dialog-problem").props("role=alert")
        problem.set_visibility(False)
        go = ui.button(t("pack.do"), icon="handyman").props("no-caps unelevated")
    with ui.card().classes("wide") as result:
        section(t("pack.result"))
        results = ui.column().classes("wide")
        save = ui.button(t("pack.save"), icon="download").props("no-caps outline")
    result.set_visibility(False)
    for element in secrets.values():
        element.bind_visibility_from(inputs["encryption"], "value", value="aes256")
    has_file = [False]
    chosen.on(
        "change",
        lambda event: has_file.__setitem__(0, bool(event.args)),
        js_handler="(event) => emit(event.target.files.length)",
    )

    def start() -> None:
        wrong = [element for element in inputs.values() if not element.validate()]
        if wrong or not has_file[0]:
            _show(problem, t("pack.no-file") if not wrong else "")
            return
        go.disable()
        _show(problem, "")
        query = {name: str(element.value) for name, element in inputs.items()}
        url = api_url("/packages", **query, product=product.value or "")
        headers = {CSRF_HEADER: visit.csrf_token(), "Content-Type": "application/octet-stream"}
        if query["encryption"] == "aes256":
            headers |= {"X-Package-Key": secrets["key"].value, "X-Package-IV": secrets["iv"].value}
        ui.run_javascript(
            f"{_SEND} send({json.dumps(url)}, {json.dumps(headers)})"
            '.catch(() => ({ status: 0, body: "" })).then((answer) => emitEvent("packed", answer))'
        )

    def packed(event: events.GenericEventArguments) -> None:
        go.enable()
        answer: dict[str, Any] = event.args
        wrong = answer_problem(visit, answer)
        _show(problem, wrong.text if wrong is not None else "")
        result.set_visibility(wrong is None)
        if wrong is None:
            found = json.loads(answer["body"])
            results.clear()
            with results:
                package_facts(visit, found["package"])
                for warning in found["warnings"]:
                    ui.label(warning).classes("warning")
            save.set_visibility(found["firmware"] is None)
            if found["firmware"] is not None:
                ui.notify(t("pack.stored"), type="positive")

    go.on_click(start)
    ui.on("packed", packed)
    save.on("click", js_handler=f'() => ({_SAVE})("firmware.rbl")')


def _show(label: ui.label, text: str) -> None:
    label.set_text(text)
    label.set_visibility(bool(text))

"""Files from the browser to the API, in one piece each, with progress and drag and drop.

The browser sends them itself, so that the API's checks and limits hold and nothing is kept twice. The name of
a file is shown in the browser and goes nowhere.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import events, ui
from nicegui.element import Element

from sim.cloud.api.context import CSRF_HEADER
from sim.cloud.app import API_PATH
from sim.cloud.errors import by_code
from sim.cloud.web.notes import error_text
from sim.cloud.web.visit import Visit

#: What the page hears of an answer: HTTP status and the body, JSON of the API.
_ANSWER: Final = "({xhr}) => emit({status: xhr.status, body: xhr.responseText})"


def api_url(path: str, **query: str) -> str:
    """The address of an API route; empty values are left out."""
    given = {name: value for name, value in query.items() if value}
    return f"{API_PATH}{path}" + (f"?{urlencode(given)}" if given else "")


def uploader(
    visit: Visit,
    label: str,
    *,
    accept: str,
    limit: int,
    answered: Callable[[dict[str, Any]], Any],
) -> Element:
    """A field for one file of at most `limit` bytes; set its address with `aim`. `answered` gets status and
    body of what the API says."""
    box = ui.element("q-uploader").props("flat bordered send-raw auto-upload max-files=1 method=POST")
    box.classes("uploader").props["label"] = visit.t(label)
    box.props["accept"] = accept
    box.props["max-file-size"] = limit
    box.props["headers"] = [
        {"name": CSRF_HEADER, "value": visit.csrf_token()},
        {"name": "Content-Type", "value": "application/octet-stream"},
    ]

    def heard(event: events.GenericEventArguments) -> Any:
        box.run_method("reset")
        return answered(event.args)

    box.on("uploaded", heard, js_handler=_ANSWER)
    box.on("failed", heard, js_handler=_ANSWER)
    box.on("rejected", lambda: ui.notify(visit.t("upload.rejected"), type="negative"), args=[])
    return box


def aim(box: Element, url: str) -> None:
    """Send what comes from now on to `url`."""
    box.props["url"] = url


@dataclass(frozen=True, slots=True)
class Problem:
    """What the API said against an upload. `rows` are the bad rows of a table."""

    text: str
    rows: list[dict[str, Any]]


def answer_problem(visit: Visit, answer: dict[str, Any]) -> Problem | None:
    """What is wrong, None for success. The answer comes through the browser, so nothing of it is trusted."""
    if answer.get("status") in (200, 201):
        return None
    try:
        fields = json.loads(str(answer.get("body")))
        code, detail = str(fields["code"]), str(fields["detail"])
        rows = [{"row": int(row["row"]), "reason": str(row["reason"])} for row in fields.get("rows", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Problem(visit.t("upload.failed"), [])
    return Problem(error_text(visit.t, by_code(code)(detail)), rows)

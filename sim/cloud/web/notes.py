"""How a page says what happened."""

import contextlib
from collections.abc import Iterator

from nicegui import ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.web.i18n import Translator
from sim.cloud.web.visit import Visit


def error_text(t: Translator, error: CloudSdkError) -> str:
    """What to tell the reader: the kind of error in his language, where there is one, and the cause."""
    kind = t.known(f"error.{error.code}", "")
    return f"{kind}: {error}" if kind else str(error)


def note_error(visit: Visit, error: CloudSdkError) -> None:
    ui.notify(error_text(visit.t, error), type="negative", timeout=8000, close_button=visit.t("do.close"))


def note_done(text: str) -> None:
    ui.notify(text, type="positive")


@contextlib.contextmanager
def noted(visit: Visit) -> Iterator[None]:
    """Tell the reader of an error inside, and go on."""
    try:
        yield
    except CloudSdkError as exc:
        note_error(visit, exc)

"""How a page says what happened."""

import contextlib
from collections.abc import Iterator

from nicegui import ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.web.i18n import Language, Translator
from sim.cloud.web.visit import Visit


def error_text(t: Translator, error: CloudSdkError) -> str:
    """What to tell the reader: the kind of error in his language, and the cause, which is English and so has
    a line of its own in another language."""
    kind = t.known(f"error.{error.code}", "")
    if not kind:
        return str(error)
    return f"{kind}: {error}" if t.language is Language.EN else f"{kind}\n{error}"


def note_error(visit: Visit, error: CloudSdkError) -> None:
    text, close = error_text(visit.t, error), visit.t("do.close")
    ui.notify(text, type="negative", timeout=8000, close_button=close, classes="lines", multi_line=True)


def note_done(text: str) -> None:
    ui.notify(text, type="positive")


@contextlib.contextmanager
def noted(visit: Visit) -> Iterator[None]:
    """Tell the reader of an error inside, and go on."""
    try:
        yield
    except CloudSdkError as exc:
        note_error(visit, exc)

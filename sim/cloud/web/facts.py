"""A list of names and values, as product and device pages have them."""

from collections.abc import Callable

from nicegui import ui

from sim.cloud.web.formats import NOTHING


def facts(*pairs: tuple[str, str | Callable[[], object]]) -> dict[str, ui.label]:
    """Show `pairs`; a value is text, or a function that builds what is shown. Returns the labels by name."""
    labels: dict[str, ui.label] = {}
    with ui.element("dl").classes("facts"):
        for name, value in pairs:
            with ui.element("div").classes("fact"):
                with ui.element("dt").classes("fact-name"):
                    ui.label(name)
                with ui.element("dd").classes("fact-value"):
                    if callable(value):
                        value()
                    elif isinstance(value, str):
                        labels[name] = ui.label(value or NOTHING)
    return labels

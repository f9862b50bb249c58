"""A chip map as one self-contained SVG: no scripts, no fonts or images from elsewhere, all text escaped."""

from collections.abc import Iterator
from html import escape
from typing import Final

from sim.cli.chip_text import device_text, firmware_text, human_size
from sim.flash.chip_map import ChipMap, DeviceMap, Region

_WIDTH: Final = 960  # of the drawing, in pixels, as all below
_MARGIN: Final = 24
_BAR_HEIGHT: Final = 44
_ROW_HEIGHT: Final = 20
_TITLE_HEIGHT: Final = 30
_BAR: Final = _WIDTH - 2 * _MARGIN
_NARROWEST: Final = 2.0  # a partition is never invisible
_SWATCH: Final = 12
_COLUMNS: Final = (22, 210, 320, 420, 520, 580)  # from the margin: name, offset, length, used, wear, firmware
_HEADINGS: Final = ("partition", "offset", "length", "used", "wear", "firmware")
#: Pairs for used and erased flash, told apart with any colour vision.
_COLOURS: Final = (
    ("#0072b2", "#cce3f0"),
    ("#e69f00", "#faeccc"),
    ("#009e73", "#ccece3"),
    ("#cc79a7", "#f5e4ed"),
    ("#d55e00", "#f7dfcc"),
    ("#56b4e9", "#ddf0fb"),
)
_FREE: Final = ("#777777", "#eeeeee")


def chip_svg(chips: ChipMap) -> str:
    """The drawing as text."""
    body: list[str] = []
    top = _MARGIN
    for device in chips.devices:
        body += _device(device, top)
        top += _device_height(device)
    height = top + _MARGIN
    title = escape(f"Flash of {chips.board}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" font-family="ui-monospace, monospace" font-size="13" '
            'shape-rendering="crispEdges" role="img">',
            f"<title>{title}</title>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *body,
            "</svg>\n",
        ]
    )


def _device_height(device: DeviceMap) -> int:
    return _TITLE_HEIGHT + _BAR_HEIGHT + (len(device.regions) + 3) * _ROW_HEIGHT


def _device(device: DeviceMap, top: int) -> Iterator[str]:
    yield _text(_MARGIN, top + 14, f"{device.name}: {device_text(device)}", 'font-weight="bold"')
    top += _TITLE_HEIGHT
    rows = list(zip(device.regions, _pairs(device.regions), strict=True))
    left = float(_MARGIN)
    for (region, pair), width in zip(rows, _widths(device), strict=True):
        yield from _bar(region, pair, left, top, width)
        left += width
    top += _BAR_HEIGHT + _ROW_HEIGHT + 4
    for column, heading in zip(_COLUMNS, _HEADINGS, strict=True):
        yield _text(_MARGIN + column, top, heading, 'fill="#777777"')
    for region, (colour, _) in rows:
        top += _ROW_HEIGHT
        yield _rect(_MARGIN, top - _SWATCH + 1, _SWATCH, _SWATCH, f'fill="{colour}"')
        cells = (
            region.name or "(free)",
            f"0x{region.offset:08x}",
            human_size(region.length),
            "erased" if region.erased else human_size(region.used),
            str(region.wear),
            firmware_text(region.firmware),
        )
        for column, cell in zip(_COLUMNS, cells, strict=True):
            yield _text(_MARGIN + column, top, cell)


def _pairs(regions: tuple[Region, ...]) -> Iterator[tuple[str, str]]:
    number = 0
    for region in regions:
        yield _COLOURS[number % len(_COLOURS)] if region.name else _FREE
        number += bool(region.name)


def _widths(device: DeviceMap) -> list[float]:
    """In proportion, none below `_NARROWEST`, together the width of the bar."""
    plain = [max(region.length * _BAR / device.size, _NARROWEST) for region in device.regions]
    return [width * _BAR / sum(plain) for width in plain]


def _bar(region: Region, pair: tuple[str, str], left: float, top: int, width: float) -> Iterator[str]:
    used, erased = pair
    label = f"{region.name or 'free'}, 0x{region.offset:08x}, {human_size(region.length)}"
    yield f"<g><title>{escape(label)}</title>"
    yield _rect(left, top, width, _BAR_HEIGHT, f'fill="{erased}" stroke="#ffffff"')
    step = width / len(region.density)
    for index, part in enumerate(region.density):
        if part:
            height = _BAR_HEIGHT * part
            yield _rect(left + index * step, top + _BAR_HEIGHT - height, step, height, f'fill="{used}"')
    yield "</g>"


def _rect(left: float, top: float, width: float, height: float, attributes: str) -> str:
    return f'<rect x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}" {attributes}/>'


def _text(left: int, baseline: int, text: str, attributes: str = "") -> str:
    return f'<text x="{left}" y="{baseline}" {attributes} xml:space="preserve">{escape(text)}</text>'

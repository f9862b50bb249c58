"""Curves over the time of a run as SVG: no scripts, colours from the page. Pure."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 960  # pixels
HEIGHT: Final = 220
_LEFT: Final = 64
_TOP: Final = 8
_BOTTOM: Final = 24
_RIGHT: Final = 8
_GRID: Final = 4  # lines
_TICKS: Final = 8  # of the time axis
#: Colours that colour-blind readers can tell apart (Okabe and Ito).
COLOURS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#999933",
    "#882255",
    "#777777",
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of time (seconds) and value; None interrupts the line."""

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time with a name, in seconds."""

    name: str
    start: float
    end: float


def curves(
    lines: Sequence[Curve], bands: Sequence[Band], seconds: float, show: Callable[[float], str]
) -> str:
    """Lines over time; `show` writes a value."""
    values = [value for line in lines for _, value in line.points if value is not None]
    scale = _Scale(max(seconds, 0.001), _top(max(values, default=0.0)))
    parts = [*_frame(scale, bands, show)]
    for number, line in enumerate(lines):
        for piece in _pieces(line.points):
            path = " ".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in piece)
            parts.append(
                f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="1.5" points="{path}"/>'
            )
    return _figure(parts, [line.name for line in lines])


def stacked(
    layers: Sequence[Curve], bands: Sequence[Band], seconds: float, show: Callable[[float], str]
) -> str:
    """Layers upon each other; all have their points at the same times."""
    count = max((len(layer.points) for layer in layers), default=0)
    floor = [0.0] * count
    sums = [sum(layer.points[place][1] or 0.0 for layer in layers) for place in range(count)]
    scale = _Scale(max(seconds, 0.001), _top(max(sums, default=0.0)))
    parts = [*_frame(scale, bands, show)]
    for number, layer in enumerate(layers):
        ceiling = [low + (value or 0.0) for low, (_, value) in zip(floor, layer.points, strict=True)]
        times = [at for at, _ in layer.points]
        edge = [(at, value) for at, value in zip(times, ceiling, strict=True)]
        edge += [(at, value) for at, value in zip(reversed(times), reversed(floor), strict=True)]
        path = " ".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in edge)
        parts.append(f'<polygon fill="{_colour(number)}" fill-opacity="0.75" points="{path}"/>')
        floor = ceiling
    return _figure(parts, [layer.name for layer in layers])


def bars(values: Sequence[tuple[str, float]], show: Callable[[float], str]) -> str:
    """A table of names, values and bars."""
    most = max((value for _, value in values), default=0.0) or 1.0
    rows = (
        f'<tr><td>{escape(name)}</td><td class="number">{escape(show(value))}</td>'
        f'<td><svg width="200" height="12"><rect width="{200 * value / most:.1f}" height="12" '
        f'fill="{COLOURS[1]}"/></svg></td></tr>'
        for name, value in values
    )
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


@dataclass(frozen=True, slots=True)
class _Scale:
    seconds: float
    top: float

    def x(self, at: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(1.0, at / self.seconds)

    def y(self, value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / self.top)


def _frame(scale: _Scale, bands: Sequence[Band], show: Callable[[float], str]) -> Iterator[str]:
    low = HEIGHT - _BOTTOM
    for number, band in enumerate(bands):
        start, end = scale.x(band.start), scale.x(band.end)
        width = max(0.0, end - start)
        yield f'<rect class="band{number % 2}" x="{start:.1f}" y="{_TOP}" width="{width:.1f}" '
        yield f'height="{low - _TOP}"><title>{escape(band.name)}</title></rect>'
        if end - start > 8 * len(band.name):
            yield f'<text x="{start + 4:.1f}" y="{_TOP + 12}">{escape(band.name)}</text>'
    for number in range(_GRID + 1):
        value = scale.top * number / _GRID
        y = scale.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text text-anchor="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(show(value))}</text>'
    step = _step(scale.seconds / _TICKS)
    for number in range(int(scale.seconds / step) + 1):
        at = number * step
        yield f'<text text-anchor="middle" x="{scale.x(at):.1f}" y="{HEIGHT - 6}">{at:g} s</text>'


def _figure(parts: Sequence[str], names: Sequence[str]) -> str:
    legend = "".join(
        f'<span><i style="background:{_colour(number)}"></i>{escape(name)}</span>'
        for number, name in enumerate(names)
    )
    label = escape(", ".join(names))
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f"<figcaption>{legend}</figcaption></figure>"
    )


def _pieces(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None:
            piece.append((at, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece if len(piece) > 1 else [piece[0], (piece[0][0] + 0.01, piece[0][1])]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _top(value: float) -> float:
    """A round number that is not below `value`."""
    return _step(value) if value > 0 else 1.0


def _step(value: float) -> float:
    base = float(10.0 ** math.floor(math.log10(value)))
    return next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= value * 0.999999)

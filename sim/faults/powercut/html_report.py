"""A sweep as one HTML page that needs nothing else: no network, no scripts, light and dark, wide and narrow.

The strip shows every place of a first cut, in the order of the run. Neighbours of one verdict are one bar,
and where there are more operations than columns, a column shows the worst of several.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from typing import Final

from sim.faults.powercut.model import MOMENTS, VERDICTS, Verdict
from sim.faults.powercut.results import LETTERS, MOST_BAD, UNTRIED, Stretch, SweepReport
from sim.faults.powercut.summary import MEANINGS, headline, place, plain, summary

MOST_COLUMNS: Final = 1600  # of the whole strip
MOST_STRETCHES: Final = 120
_WIDE: Final = 960  # pixels; about what the strip takes on a desk
_TILE: Final = 320  # pixels; the widest piece, which fits a phone
_CAPTION: Final = 96  # pixels; the least that a piece takes
_SHORT: Final = 40  # operations; shorter stretches have a column for each
_COLUMN: Final = 8  # pixels; the widest column
_ROW: Final = 14  # pixels
_MARKS: Final = 12  # pixels; height of the line with the letters of bad places
_MARK: Final = 8  # pixels; width of such a letter
_BAR: Final = 3  # pixels; the narrowest bar of a bad verdict

_VERDICTS: Final = {LETTERS[verdict]: verdict for verdict in VERDICTS}
_SEVERITY: Final = UNTRIED + "".join(_VERDICTS)
_BAD: Final = frozenset(letter for letter, verdict in _VERDICTS.items() if not verdict.good)
#: Colours that colour-blind readers can tell apart; bad ones are hatched, too, and carry a letter.
_COLOURS: Final = {
    Verdict.RECOVERED_NEW: "#009e73",
    Verdict.RECOVERED_OLD: "#56b4e9",
    Verdict.NO_CONVERGENCE: "#f0e442",
    Verdict.WRONG_IMAGE: "#e69f00",
    Verdict.SILENT_CORRUPTION: "#cc79a7",
    Verdict.BRICK: "#d55e00",
}
_HATCHES: Final = {
    Verdict.NO_CONVERGENCE: "M0 3H6",
    Verdict.WRONG_IMAGE: "M3 0V6",
    Verdict.SILENT_CORRUPTION: "M0 0L6 6",
    Verdict.BRICK: "M0 0L6 6M6 0L0 6",
}
_STYLE: Final = """
:root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--soft:#57606a;--line:#d0d7de;--none:#e4e8ec}
@media(prefers-color-scheme:dark){
:root{--text:#e6edf3;--back:#0d1117;--soft:#9aa4af;--line:#30363d;--none:#262c34}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1040px;color:var(--text);background:var(--back);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.5rem 0}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1rem 0}
dt,th,.soft{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse}
th,td{padding:.25rem 1rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600}.number{text-align:right;font-variant-numeric:tabular-nums}.id{white-space:nowrap}
.strip{display:flex;flex-wrap:wrap;gap:14px 8px;margin:1rem 0}figure{margin:0;min-width:96px}
figcaption{font-size:12px;line-height:1.3}svg{display:block;overflow:visible}
svg text{font:bold 11px ui-monospace,monospace;fill:var(--text)}.none{fill:var(--none)}
"""


def html_report(report: SweepReport) -> str:
    """The page."""
    return "".join(_page(report))


def _page(report: SweepReport) -> Iterator[str]:
    title = _text(f"Power cuts: {report.swept.board}")
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{title}</title><style>{_STYLE}{_fills()}</style></head><body>\n{_HATCH_PATTERNS}"
    yield f"<h1>{title}</h1>\n<p><b>{_text(headline(report))}</b></p>\n<dl>"
    for name, value in summary(report):
        yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
    yield "</dl>\n<h2>Verdicts</h2>\n"
    yield from _verdicts(report)
    yield "<h2>Where the power was cut</h2>\n"
    yield from _strip(report)
    if report.bad:
        yield "<h2>Bad points</h2>\n"
        yield from _bad_points(report)
    yield "</body></html>\n"


def _text(text: str) -> str:
    return escape(plain(text))


def _fills() -> str:
    return "".join(
        f".{LETTERS[verdict]}{{fill:{colour if verdict.good else f'url(#{LETTERS[verdict]})'}}}\n"
        for verdict, colour in _COLOURS.items()
    )


_HATCH_PATTERNS: Final = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    + "".join(
        f'<pattern id="{LETTERS[verdict]}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{_COLOURS[verdict]}"/><path d="{hatch}" stroke="#000"/></pattern>'
        for verdict, hatch in _HATCHES.items()
    )
    + "</defs></svg>\n"
)


def _verdicts(report: SweepReport) -> Iterator[str]:
    yield '<table><tr><th></th><th>verdict</th><th class="number">one cut</th>'
    yield '<th class="number">two cuts</th></tr>\n'
    for count in report.counts:
        letter = LETTERS[count.verdict]
        yield f'<tr><td><svg width="{_ROW}" height="{_ROW}"><rect class="{letter}" width="{_ROW}" '
        yield f'height="{_ROW}"/></svg></td><td>{letter} {count.verdict.value}'
        yield f'<br><small class="soft">{MEANINGS[count.verdict]}</small></td>'
        yield f'<td class="number">{count.one}</td><td class="number">{count.two}</td></tr>\n'
    yield "</table>\n"


def _bad_points(report: SweepReport) -> Iterator[str]:
    if len(report.bad) < report.bad_count:
        yield f'<p class="soft">{len(report.bad)} of {report.bad_count}, at most {MOST_BAD} of each</p>\n'
    if report.swept.replay:
        yield f"<p>Replay: <code>{_text(report.swept.replay)} <i>id</i></code></p>\n"
    yield '<div class="wide"><table><tr><th>id</th><th>verdict</th><th>at work</th><th>first cut</th>'
    yield "<th>seen</th></tr>\n"
    for bad in report.bad:
        verdict = bad.point.judgement.verdict
        yield f'<tr><td class="id"><code>{bad.point.schedule}</code></td>'
        yield f'<td class="id">{LETTERS[verdict]} {verdict.value}</td><td>{_text(bad.title)}</td>'
        yield f"<td>{_text(place(bad))}</td><td>{_text(bad.point.judgement.detail)}</td></tr>\n"
    yield "</table></div>\n"


# --- the strip ------------------------------------------------------------------------------------------


def _strip(report: SweepReport) -> Iterator[str]:
    most = max(1, -(-report.operations // MOST_COLUMNS))  # operations in a column
    column = f"the worst of up to {most} operations" if most > 1 else "an operation"
    yield '<p class="soft">Every place of a first cut, in the order of the run. Rows from the top: power cut '
    yield f"before, torn, after. A column is {column}, a letter marks what ended badly.</p>\n"
    yield '<div class="strip">\n'
    for stretch in _few(report.stretches):
        yield from _tiles(report, stretch, most)
    yield "</div>\n"


def _tiles(report: SweepReport, stretch: Stretch, most: int) -> Iterator[str]:
    """A stretch; short ones are spread out, since few operations need not matter less than many."""
    length = stretch.last - stretch.first + 1
    each = most if length > _SHORT else 1
    width = max(min(_WIDE // -(-report.operations // most), _COLUMN), 1)
    width = max(min(_CAPTION // -(-length // each), _COLUMN), width)
    step = _TILE // width * each  # operations in a tile
    for first in range(stretch.first, stretch.last + 1, step):
        part = replace(stretch, first=first, last=min(first + step - 1, stretch.last))
        yield _tile(report, part, each, width)


def _few(stretches: Sequence[Stretch]) -> Sequence[Stretch]:
    """The stretches; where there are too many to show, of a stage each, or of the whole run."""
    if len(stretches) > MOST_STRETCHES:
        stretches = _joined(stretches, by_stage=True)
    return stretches if len(stretches) <= MOST_STRETCHES else _joined(stretches, by_stage=False)


def _joined(stretches: Sequence[Stretch], *, by_stage: bool) -> list[Stretch]:
    joined = []
    for stage, part in groupby(stretches, key=lambda stretch: stretch.stage if by_stage else ""):
        members = list(part)
        joined.append(Stretch(members[0].first, members[-1].last, stage, ""))
    return joined


def _tile(report: SweepReport, stretch: Stretch, each: int, width: int) -> str:
    """A part of the strip, `width` pixels for `each` operations."""
    rows = [report.letters(moment, stretch, each=each) for moment in MOMENTS]
    pixels = len(rows[0]) * width
    parts = [f'<svg width="{pixels}" height="{_MARKS + len(rows) * (_ROW + 1)}" role="img">']
    parts += _marks(rows, width)
    for number, (moment, row) in enumerate(zip(MOMENTS, rows, strict=True)):
        y = _MARKS + number * (_ROW + 1)
        parts.append(f'<g transform="translate(0 {y})"><rect class="none" width="{pixels}" height="{_ROW}"/>')
        # Bad bars come last: they may be wider than their columns.
        for column, length, letter in sorted(_runs(row), key=lambda run: run[2] in _BAD):
            start = stretch.first + column * each
            end = min(start + length * each - 1, stretch.last)
            span = f"operation {start}" if start == end else f"operations {start} to {end}"
            bar = max(length * width, _BAR if letter in _BAD else 0)
            parts.append(
                f'<rect class="{letter}" x="{column * width}" width="{bar}" height="{_ROW}">'
                f"<title>{span}, {moment.value}: {_VERDICTS[letter].value}</title></rect>"
            )
        parts.append("</g>")
    title = _text(stretch.title) or "run"
    span = f"{stretch.first} to {stretch.last}" if stretch.last > stretch.first else f"{stretch.first}"
    return (
        f'<figure>{"".join(parts)}</svg><figcaption>{title}<br><span class="soft">{span}</span>'
        "</figcaption></figure>\n"
    )


def _runs(letters: str) -> Iterator[tuple[int, int, str]]:
    """First column, number of columns and letter of each bar."""
    column = 0
    for letter, run in groupby(letters):
        length = len(list(run))
        if letter != UNTRIED:
            yield column, length, letter
        column += length


def _marks(rows: Sequence[str], width: int) -> Iterator[str]:
    """The letters of bad places above them, as far as there is room."""
    free = 0
    columns = ["".join(column) for column in zip(*rows, strict=True)]
    worst = "".join(max(column, key=_SEVERITY.index) for column in columns)
    for column, _, letter in _runs(worst):
        x = column * width
        if letter in _BAD and x >= free:
            yield f'<text x="{x}" y="{_MARKS - 3}">{letter}</text>'
            free = x + _MARK

"""A result as one HTML page that needs nothing else: no network, no scripts, light and dark. Pure."""

from collections.abc import Iterator
from html import escape
from typing import Final

from sim.scenario.plots import Band, Curve, bars, curves, stacked
from sim.scenario.results import LIMITED, Result
from sim.scenario.units import duration

MOST_CAUSES: Final = 20  # that are shown
_STYLE: Final = """
:root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--soft:#57606a;--line:#d0d7de;--band:#f3f5f7}
@media(prefers-color-scheme:dark){
:root{--text:#e6edf3;--back:#0d1117;--soft:#9aa4af;--line:#30363d;--band:#161b22}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1040px;color:var(--text);background:var(--back);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}
dt,th,.soft{color:var(--soft)}dd{margin:0}
.wide{overflow-x:auto}table{border-collapse:collapse}
th,td{padding:.2rem 1rem .2rem 0;text-align:left;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.number{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:0}figure svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line);stroke-width:1}.band0{fill:var(--band)}.band1{fill:none}
figcaption span{margin-right:1rem;white-space:nowrap}
figcaption i{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border-radius:2px}
.good{color:#00805f}.bad{color:#c4501b;font-weight:600}
"""


def html_report(result: Result) -> str:
    """The page."""
    return "".join(_page(result))


def _page(result: Result) -> Iterator[str]:
    title = escape(f"Fleet: {result.scenario}")
    bands = [Band(span.name, span.began, span.ended) for span in result.phases]
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{title}</title><style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    yield f'<p class="{"good" if result.passed else "bad"}">{escape(result.headline)}</p>\n'
    yield f"<p>{escape(result.description)}</p>\n"
    yield from _facts(result)
    yield from _verdicts(result)
    yield "<h2>Devices</h2>\n"
    yield curves(
        _columns(result, "online", "activated", "upgraded", "failed"), bands, result.seconds, _number
    )
    yield "<h2>Versions that are reported</h2>\n"
    yield stacked(_versions(result), bands, result.seconds, _number)
    yield "<h2>Latencies</h2>\n"
    yield from _latencies(result, bands)
    yield "<h2>Messages a second</h2>\n"
    yield curves(_rates(result, "published", "acknowledged", "received"), bands, result.seconds, _number)
    yield "<h2>Firmware, bytes a second</h2>\n"
    yield curves(_rates(result, "downloaded_bytes"), bands, result.seconds, _number)
    yield "<h2>Failures and lost connections a second</h2>\n"
    yield curves(_rates(result, "errors", "offline"), bands, result.seconds, _number)
    yield "<h2>Causes</h2>\n"
    causes = list(result.summary["causes"].items())
    yield bars(causes[:MOST_CAUSES], _number) if causes else '<p class="soft">none</p>'
    yield "<h2>Slowest devices</h2>\n"
    yield bars([(f"{each.sn} {each.what}", each.seconds) for each in result.slowest], duration)
    yield "<h2>The generator itself</h2>\n"
    generator = [
        Curve("lag of the event loop, seconds", [(each.at, each.lag) for each in result.samples]),
        Curve("processor, share of one", [(each.at, each.cpu) for each in result.samples]),
    ]
    yield curves(generator, bands, result.seconds, _number)
    yield "</body></html>\n"


def _facts(result: Result) -> Iterator[str]:
    facts = [
        ("began", result.began),
        ("took", duration(result.seconds)),
        ("devices", str(result.summary["devices"])),
        ("seed", str(result.seed)),
        *(("problem", problem) for problem in result.problems),
        *((LIMITED, reason) for reason in result.limited),
    ]
    yield "<dl>"
    for name, value in facts:
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl>\n"


def _verdicts(result: Result) -> Iterator[str]:
    yield "<h2>Thresholds</h2>\n"
    if not result.verdicts:
        yield '<p class="soft">none</p>\n'
        return
    yield '<div class="wide"><table><tr><th></th><th>threshold</th><th>measured</th><th>after</th></tr>\n'
    for each in result.verdicts:
        mark = '<td class="good">holds</td>' if each.passed else '<td class="bad">fails</td>'
        yield f"<tr>{mark}<td>{escape(each.words)}</td><td>{escape(each.shown)}</td>"
        yield f'<td class="number">{duration(each.at)}</td></tr>\n'
    yield "</table></div>\n"


def _latencies(result: Result, bands: list[Band]) -> Iterator[str]:
    lines = []
    for name in ("activation", "connect", "acknowledgement", "upgrade"):
        if any(each.latencies[name] for each in result.samples):
            for place, percentile in enumerate(("p50", "p99")):
                points = [
                    (each.at, found[place] if (found := each.latencies[name]) is not None else None)
                    for each in result.samples
                ]
                lines.append(Curve(f"{name} {percentile}", points))
    yield curves(lines, bands, result.seconds, duration)
    yield '<div class="wide"><table><tr><th></th><th>times</th><th>p50</th><th>p90</th><th>p99</th>'
    yield "<th>longest</th></tr>\n"
    for name, times in result.summary["latency"].items():
        cells = "".join(
            f'<td class="number">{duration(times[key])}</td>' for key in ("p50", "p90", "p99", "max")
        )
        yield f'<tr><td>{escape(name)}</td><td class="number">{times["count"]}</td>{cells}</tr>\n'
    yield "</table></div>\n"


def _columns(result: Result, *names: str) -> list[Curve]:
    return [Curve(name, [(each.at, getattr(each, name)) for each in result.samples]) for name in names]


def _rates(result: Result, *names: str) -> list[Curve]:
    """Counts of the samples by the time that each covers."""
    found = []
    for name in names:
        points: list[tuple[float, float | None]] = []
        before = 0.0
        for each in result.samples:
            points.append((each.at, getattr(each, name) / max(0.05, each.at - before)))
            before = each.at
        found.append(Curve(name, points))
    return found


def _versions(result: Result) -> list[Curve]:
    names = dict.fromkeys(name for each in result.samples for name in each.versions)
    return [Curve(name, [(each.at, each.versions.get(name, 0)) for each in result.samples]) for name in names]


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"

"""Charts as options of ECharts. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Readable on white and on black.
GREY: Final = "#7c8798"
BLUE, TEAL, AMBER, RED, GREEN, SLATE = "#3b82f6", "#14b8a6", "#f59e0b", "#ef4444", "#22c55e", "#94a3b8"
PALETTE: Final = (BLUE, TEAL, AMBER, "#a855f7", "#ec4899", SLATE)
#: Of the states of a task on a device.
STATE_COLORS: Final = {
    "waiting": SLATE,
    "sent": "#a5b4fc",
    "downloading": BLUE,
    "installing": AMBER,
    "done": GREEN,
    "failed": RED,
    "cancelled": "#cbd5e1",
    "expired": "#64748b",
}

#: The same as colours of marks, which carry white text.
BADGES: Final = {
    "waiting": "blue-grey-6",
    "sent": "indigo-5",
    "downloading": "blue-8",
    "installing": "orange-9",
    "done": "green-8",
    "failed": "red-8",
    "cancelled": "grey-7",
    "expired": "grey-8",
    "scheduled": "indigo-5",
    "running": "blue-8",
    "paused": "orange-9",
    "stopped": "red-8",
}

Option = dict[str, Any]

_LINE: Final = {"lineStyle": {"color": "rgba(128,140,160,.25)"}}
_TEXT: Final = {"textStyle": {"color": GREY}}
_MS: Final = 1000


def over_time(series: Mapping[str, Sequence[tuple[int, int]]]) -> Option:
    """Lines of (seconds since 1970, value), by name."""
    return {
        "color": list(PALETTE),
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "left": 0, "icon": "roundRect", "itemHeight": 8, **_TEXT},
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "xAxis": {"type": "time", "axisLabel": {"color": GREY, "hideOverlap": True}, "axisLine": _LINE},
        "yAxis": {"type": "value", "minInterval": 1, "axisLabel": {"color": GREY}, "splitLine": _LINE},
        "series": [
            {
                "name": name,
                "type": "line",
                "showSymbol": len(points) < 2,
                "areaStyle": {"opacity": 0.08},
                "data": [[at * _MS, value] for at, value in points],
            }
            for name, points in series.items()
        ],
    }


def shares(parts: Mapping[str, int], colors: Sequence[str] = PALETTE) -> Option:
    """A ring of named parts."""
    return {
        "color": list(colors),
        "animation": False,
        "tooltip": {"trigger": "item", "renderMode": "richText"},
        "legend": {"orient": "vertical", "right": 0, "top": "middle", "type": "scroll", **_TEXT},
        "series": [
            {
                "type": "pie",
                "radius": ["52%", "78%"],
                "center": ["32%", "50%"],
                "label": {"show": False},
                "data": [{"name": name, "value": value} for name, value in parts.items()],
            }
        ],
    }


def states(rows: Sequence[tuple[str, Mapping[str, int]]], names: Mapping[str, str]) -> Option:
    """One stacked bar per (label, counts by state). `names` are the states in the reader's language."""
    used = [state for state in STATE_COLORS if any(counts.get(state) for _, counts in rows)]
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "left": 0, "type": "scroll", "icon": "roundRect", "itemHeight": 8, **_TEXT},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "renderMode": "richText"},
        "xAxis": {"type": "value", "minInterval": 1, "axisLabel": {"color": GREY}, "splitLine": _LINE},
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": [label for label, _ in rows],
            "axisLabel": {"color": GREY, "width": 120, "overflow": "truncate"},
            "axisLine": _LINE,
        },
        "series": [
            {
                "name": names[state],
                "type": "bar",
                "stack": "all",
                "barMaxWidth": 22,
                "itemStyle": {"color": STATE_COLORS[state]},
                "data": [counts.get(state, 0) for _, counts in rows],
            }
            for state in used
        ],
    }

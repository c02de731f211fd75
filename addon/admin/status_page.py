# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The status as a page for people: from what `PagesOperations.status` tells to words, units and times. Pure."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from addon.admin.component_health import GREEN, RED
from addon.templates import StatusPage
from addon.templates.error_messages import time_text
from addon.templates.names import size_text

_WORDS = {GREEN: "healthy", "yellow": "degraded", RED: "broken"}
_NO_SECTIONS = frozenset({"Parts", "Sites", "Domains that need something", "Last errors"})
_LABELS = {
    "cpu_seconds": "processor time",
    "running_seconds": "running for",
    "event_loop_lag_ms": "event loop late by",
    "worst_event_loop_lag_ms": "event loop late by, at most in the last minute",
    "latency_ms": "an answer takes",
    "hit_rate": "hit rate",
    "clock_skew_seconds": "our clock ahead by",
}


def page(told: Mapping[str, Mapping[str, Any]], *, still: bool, every: int, now: float | None = None) -> StatusPage:
    """The page. told: by section; still: it is not to be asked for again. now: seconds since 1970."""
    now = time.time() if now is None else now
    parts = told["Parts"]
    order = {RED: 0, "yellow": 1, GREEN: 2}
    components = sorted(parts.items(), key=lambda item: order[item[1]["light"]])
    wrong = [part for part, component in components if component["light"] != GREEN]
    broken = [part for part, component in components if component["light"] == RED]
    headline = f"{_listed(broken)}: broken" if broken else f"{_listed(wrong)}: degraded" if wrong else "All healthy"
    server = told["Server"]
    return StatusPage(
        headline,
        headline,
        str(server["pages_domain"]),
        f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC, version {server['version']}",
        every,
        still,
        [_component(part, component, now) for part, component in components],
        [_site(row) for row in told["Sites"].values()],
        [{"host": host, **row} for host, row in told["Domains that need something"].items()],
        [_error(error, now) for error in told["Last errors"]["errors"]],
        [(title, _rows(rows)) for title, rows in told.items() if title not in _NO_SECTIONS],
    )


def _component(part: str, component: Mapping[str, Any], now: float) -> dict[str, str]:
    colour = str(component["light"])
    since = f"for {time_text(max(0, int(now - component['since'])))}"
    return {
        "part": part,
        "colour": colour,
        "word": _WORDS[colour],
        "says": str(component["says"]),
        "since": since,
        "remedy": str(component.get("remedy", "")),
    }


def _site(row: Mapping[str, Any]) -> dict[str, object]:
    state = str(row["state"])
    if row["trouble"] is not None:
        state = f"stale: {row['trouble']}"
    elif row["error"] is not None and row["state"] == "served":
        state = f"served, last error {row['error']['status']}"
    return {
        "name": row["site"],
        "repository": str(row["site"]).partition("@")[0],
        "commit": (row["commit"] or "–")[:10],
        "age": f"{time_text(int(row['age']))} ago",
        "size": "–" if row["bytes"] is None else size_text(row["bytes"]),
        "hits": f"{row['hits']:,}",
        "state": f"{state}, locked" if row["locked"] else state,
        "bad": row["state"] != "served" or row["trouble"] is not None,
    }


def _error(error: Mapping[str, Any], now: float) -> dict[str, object]:
    return {
        "iso": datetime.fromtimestamp(error["at"], UTC).isoformat(timespec="seconds"),
        "ago": f"{time_text(max(0, int(now - error['at'])))} ago",
        "status": error["status"],
        "site": error["site"] or "no site",
        "address": error["address"],
        "says": error["detail"] or error["reason"],
    }


def _rows(rows: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(_LABELS.get(name, name.replace("_", " ")), _worded(name, value)) for name, value in rows.items()]


def _worded(name: str, value: object) -> str:
    """A value with its unit, which its name says."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.endswith("_ms"):
        return f"{value:,.3g} ms"
    if isinstance(value, int | float) and name.endswith("_seconds"):
        return time_text(int(value))
    if isinstance(value, float):
        return f"{value:.1%}" if name.endswith("_rate") else f"{value:,.3g}"
    if isinstance(value, int):
        return size_text(value) if name.endswith("bytes") else f"{value:,}"
    return str(value)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

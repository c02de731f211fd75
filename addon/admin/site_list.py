# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The sites that memory holds, for the operator: commit, age, size, hits, last error; of one process, or of all.

Pure but for the library that it reads. A list is bounded: the sites that were asked for most come first. The surprise:
what a site's files take is added up only as far as half a million files, for the loop waits meanwhile.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from addon.admin.answer_meter import AnswerMeter
from addon.library.library import Library
from addon.shared.lookup import Lookup

Row = dict[str, Any]
MOST: Final = 2_000
SORTED_BY: Final = ("hits", "age", "files", "bytes", "error", "site")
_MOST_FILES: Final = 500_000


def rows(library: Library, meter: AnswerMeter, most: int = MOST) -> list[Row]:
    """Those of this process that decide what their paths mean: served, or refused for a reason of their own."""
    hits = meter.sites()
    errors: dict[str, dict[str, object]] = {}
    for error in reversed(meter.errors()):
        errors[str(error["site"])] = error
    known = (lookup for lookup in library.lookups() if lookup.is_site)
    chosen = heapq.nlargest(most, known, key=lambda lookup: (hits["/".join(lookup.key)], -library.age(lookup.looked)))
    found, files = [], 0
    for lookup in chosen:
        files += len(lookup.site.tree) if lookup.site is not None else 0
        found.append(_row(lookup, library, hits, errors, sizes=files <= _MOST_FILES))
    return found


def _row(
    lookup: Lookup, library: Library, hits: Mapping[str, int], errors: Mapping[str, object], *, sizes: bool
) -> Row:
    name, site = "/".join(lookup.key), lookup.site
    return {
        "site": name,
        "commit": lookup.commit,
        "age": round(library.age(lookup.looked), 1),
        "freshness": library.freshness(lookup).name.lower(),
        "files": None if site is None else len(site.tree),
        "bytes": site.tree.content_bytes if site is not None and sizes else None,
        "hits": hits.get(name, 0),
        "state": "served" if lookup.fault is None else lookup.fault.value,
        "trouble": None if lookup.trouble is None else str(lookup.trouble),
        "locked": bool(lookup.added or (site is not None and site.pages_file.password)),
        "domains": [] if site is None else list(site.pages_file.custom_domains[:10]),
        "error": errors.get(name),
    }


def merged(each: Iterable[Sequence[Row]]) -> list[Row]:
    """The lists of several processes as one: hits are added up, the rest is of who looked last."""
    found: dict[str, Row] = {}
    for row in (row for rows in each for row in rows):
        known = found.get(row["site"])
        if known is None:
            found[row["site"]] = dict(row)
            continue
        newer, older = (row, known) if row["age"] < known["age"] else (known, row)
        error = max((one["error"] for one in (row, known) if one["error"]), key=_at, default=None)
        found[row["site"]] = {**newer, "hits": known["hits"] + row["hits"], "error": error}
        if newer["commit"] != older["commit"]:
            found[row["site"]]["older_commit"] = older["commit"]  # another process has not seen the push yet
    return list(found.values())


def arranged(rows: Iterable[Row], by: str, most: int) -> list[Row]:
    """The first `most` rows: by one of SORTED_BY, the largest or latest first; names in their own order."""
    if by == "site":
        return sorted(rows, key=lambda row: row["site"])[:most]
    if by == "error":
        return sorted(rows, key=lambda row: (-_at(row["error"]), row["site"]))[:most]
    return sorted(rows, key=lambda row: (-(row[by] or 0), row["site"]))[:most]


def _at(error: Mapping[str, Any] | None) -> float:
    return float(error["at"]) if error else 0.0

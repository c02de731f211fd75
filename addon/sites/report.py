# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What an owner should know of their site: what its files say, and which of that can never come true. Pure.

Beside what was found when the files were read, a rule is told that no visitor can meet (a file is there, or an earlier
rule takes all its paths), one that leads in a circle, and one that shows a page that is not there. This walks through
all rules, so it takes a while for many (0.3 s for 10 000), and is made when somebody asks.
"""

from collections.abc import Sequence
from urllib.parse import unquote

from addon.sites.findings import MOST, Finding, quoted
from addon.sites.redirect_table import REDIRECTS, Rule, Ruled
from addon.sites.site import Missing, Site

_MOST_HOPS = 10
_SAMPLE = "x"


def findings(site: Site) -> tuple[Finding, ...]:
    """All that is to be told, the files' own faults first; bounded."""
    told = [Finding(".pages", None, warning) for warning in site.pages_file.warnings]
    told += [note if note.file else note._replace(file="the site") for note in site.notes]
    told += site.rules.findings
    table, file = site.rules.redirects, _file_of(site)
    found: list[Finding] = []
    for path, ruled in table.simple():
        segments = tuple(path.split("/")) if path else ()
        reason = _unmet(site, segments, ruled) or _circle(site, segments, ruled) or _no_page(site, ruled)
        if reason is not None:
            found.append(Finding(file, ruled.line, *reason))
    for place, rule in enumerate(table.rules):
        sample, ruled_of_sample = _sampled(rule)
        reason = _covered(table.rules[:place], rule)
        if reason is None and ruled_of_sample is not None:
            reason = _circle(site, sample, ruled_of_sample)
            if reason is None and all(isinstance(part, str) for part in rule.to):
                reason = _no_page(site, ruled_of_sample)
        if reason is not None:
            found.append(Finding(file, rule.line, *reason))
    found.sort(key=lambda finding: finding.line or 0)
    more = len(found) - MOST
    if more > 0:
        found[MOST:] = [Finding(file, None, f"and {more} more like these")]
    return (*told, *found)


def _file_of(site: Site) -> str:
    return "_redirects" if "_redirects" in site.rules.packed else ".redirects"


def _unmet(site: Site, segments: tuple[str, ...], ruled: Ruled) -> tuple[str, str] | None:
    """Why no visitor meets a rule for one path."""
    if not ruled.force and not isinstance(site.outcome(segments, False), Missing):
        return "it never matches: a file is there, and goes before it", f"write `{ruled.status}!`, or remove the file"
    earlier = site.rules.redirects.find(segments, False)
    if earlier is not None and earlier.line < ruled.line:
        return f"it never matches: line {earlier.line} takes this path before", f"move it above line {earlier.line}"
    return None


def _covered(before: Sequence[Rule], rule: Rule) -> tuple[str, str] | None:
    """Whether one of the rules before takes all the paths of this one."""
    for earlier in before:
        if _takes_all(earlier, rule):
            remedy = f"move it above line {earlier.line}"
            return f"it never matches: line {earlier.line} takes all its paths before", remedy
    return None


def _takes_all(earlier: Rule, later: Rule) -> bool:
    one, other = earlier.pattern, later.pattern
    if earlier.conditions or earlier.under or one.tail or one.start:
        return False
    if earlier.host and (earlier.host, earlier.scheme) != (later.host, later.scheme):
        return False
    if len(one.head) > len(other.head) or not (one.splat or (len(one.head) == len(other.head) and not other.splat)):
        return False
    return all(part is None or part == there for part, there in zip(one.head, other.head))


def _circle(site: Site, segments: tuple[str, ...], ruled: Ruled) -> tuple[str, str] | None:
    """Whether a redirect leads back, or on and on."""
    remedy = "let one of them lead to a page"
    seen = {segments}
    lines = [ruled.line]
    for _ in range(_MOST_HOPS):
        if ruled.status not in REDIRECTS or not ruled.to.startswith("/"):
            return None
        segments = _segments(ruled.to)
        if segments in seen:
            way = "itself" if len(lines) == 1 else "where it began, by lines " + ", ".join(map(str, lines))
            return f"it leads to {way}", remedy
        seen.add(segments)
        slash = ruled.to.partition("?")[0].partition("#")[0].endswith("/")
        following = site.rules.redirects.find(segments, slash)
        if following is None:
            return None
        if not following.force and not isinstance(site.outcome(segments, slash), Missing):
            return None
        ruled = following
        lines.append(ruled.line)
    return f"it leads on and on, by lines {', '.join(map(str, sorted(set(lines))))}", remedy


def _no_page(site: Site, ruled: Ruled) -> tuple[str, str] | None:
    """Whether a rule shows a page that is not there."""
    if ruled.status in REDIRECTS:
        return None
    segments, slash = _segments(ruled.to), ruled.to.endswith("/")
    if isinstance(site.outcome(segments, slash), Missing):
        return f"there is no {quoted(ruled.to)} to show", "add the page, or name another"
    return None


def _segments(to: str) -> tuple[str, ...]:
    path = to.partition("?")[0].partition("#")[0]
    return tuple(unquote(part) for part in path.split("/") if part)


def _sampled(rule: Rule) -> tuple[tuple[str, ...], Ruled | None]:
    """A path that a rule matches, and what it says of it."""
    pattern = rule.pattern
    between = [f"{pattern.start}{_SAMPLE}"] if pattern.splat else []
    parts = (*(part or _SAMPLE for part in pattern.head), *between, *(part or _SAMPLE for part in pattern.tail))
    query = {name: _SAMPLE if captured else value for name, value, captured in rule.conditions}
    return parts, rule.ruled(parts, False, query)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`_headers`: from text to rules, and which header fields a path gets. Pure.

As at Netlify and Cloudflare: a path pattern at the beginning of a line, fields below it with space before them; all
rules that match add up in the order of the file, the values of one name are joined, and `! Name` takes away what was
said before it, and what this server says by itself. Paths count by case, as everywhere here. The surprise: a `*` may
stand anywhere, and behind the first one no `:name` may, so that a pattern is compared in one pass.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from addon.sites.findings import Finding, Findings, quoted
from addon.sites.header_names import CONDITIONAL, SINGLE, checked_name, checked_value
from addon.sites.redirect_table import Places
from addon.sites.rule_lines import MOST_SEGMENTS, Pattern, Unfit, host_of, lines, pattern_of

FILE = "_headers"
MOST = 2_000
_MOST_FIELDS = 100
_REMOVABLE = frozenset({"access-control-allow-origin", "cache-control", "x-content-type-options"})


class Added(NamedTuple):
    """The fields that a path gets, in order; removed: those of ours that go. By lower-case names.

    key: the same for all paths to which the same is said.
    """

    fields: tuple[tuple[str, str], ...] = ()
    removed: frozenset[str] = frozenset()
    key: int = 0

    @property
    def depends(self) -> bool:
        """Whether a field among them holds only on some hosts, or for some files."""
        return any(name in CONDITIONAL for name, _ in self.fields)


NOTHING = Added()


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """One pattern with its fields. pieces: the texts between the `*`, of what follows the pattern's head.

    fields: names and values; the value None takes the name away.
    """

    line: int
    pattern: Pattern
    pieces: tuple[str, ...]
    host: str
    fields: tuple[tuple[str, str | None], ...]

    def matches(self, segments: Sequence[str], slash: bool) -> bool:
        """Whether a path that its place lets through is one of its own."""
        if not self.pieces:
            return True
        rest = "/".join(segments[len(self.pattern.head) :]) + ("/" if slash and segments else "")
        return _fits(rest, self.pieces)


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """The header rules of a site."""

    rules: tuple[HeaderRule, ...] = ()
    _places: Places = field(default_factory=lambda: Places(()))
    hosts: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.rules)

    @property
    def nbytes(self) -> int:
        """What they take in memory, in bytes."""
        texts = [text for rule in self.rules for name_and_value in rule.fields for text in name_and_value if text]
        parts = [part for rule in self.rules for part in (*rule.pattern.head, *rule.pieces) if part]
        return (
            200
            + self._places.nbytes
            + 350 * len(self.rules)
            + sum(sys.getsizeof(text) + 70 for text in [*texts, *parts])
        )

    def behind(self, added: Added) -> list[HeaderRule]:
        """The rules that had their part in what a path gets, in the order of the file."""
        return [rule for place, rule in enumerate(self.rules) if added.key >> place & 1]

    def added(self, segments: Sequence[str], slash: bool, host: str = "") -> Added:
        """What a path gets on a host."""
        mask = self._places.candidates(segments) if self.rules else 0
        if not mask:
            return NOTHING
        found: dict[str, list[str]] = {}
        removed: set[str] = set()
        key = 0
        while mask:
            bit = mask & -mask
            mask ^= bit
            rule = self.rules[bit.bit_length() - 1]
            if (rule.host and rule.host != host) or not rule.matches(segments, slash):
                continue
            key |= bit
            for name, value in rule.fields:
                if value is None:
                    found.pop(name, None)
                    removed.add(name)
                elif name in SINGLE:
                    found[name] = [value]
                else:
                    found.setdefault(name, []).append(value)
        if not key:
            return NOTHING
        fields = tuple((name, ", ".join(values)) for name, values in found.items())
        return Added(fields, frozenset(removed & _REMOVABLE), key)


def read(data: bytes) -> tuple[HeaderRules, tuple[Finding, ...]]:
    """The rules of a `_headers` file, and what is wrong with it."""
    findings = Findings(FILE)
    rules: list[HeaderRule] = []
    open_rule: tuple[int, Pattern, tuple[str, ...], str] | None = None
    fields: list[tuple[str, str | None]] = []
    orphan = left_out = 0

    def close() -> None:
        nonlocal left_out
        if open_rule is None:
            return
        if not fields:
            findings.add(
                open_rule[0], "no header follows this path", "write `  Name: value` below it, with space before"
            )
        elif len(rules) >= MOST:
            left_out += 1
        else:
            rules.append(HeaderRule(*open_rule, tuple(fields)))
        fields.clear()

    for number, text in lines(data, findings):
        if text.lstrip().startswith("#"):
            continue
        is_path = not text[0].isspace() and (text[0] == "/" or text[:8].lower().startswith(("http://", "https://")))
        try:
            if is_path:
                close()
                open_rule, orphan = None, 0
                open_rule = (number, *_path(text.strip()))
            elif open_rule is None:
                orphan += 1
                if orphan == 1:
                    raise Unfit(
                        "this header belongs to no path", "write the path on a line above it, from its beginning"
                    )
            elif len(fields) >= _MOST_FIELDS:
                raise Unfit(f"a path may have {_MOST_FIELDS} headers")
            else:
                fields.append(_field(text.strip()))
        except Unfit as unfit:
            findings.add(number, unfit.reason, unfit.remedy)
            if is_path:
                orphan = 1
    close()
    if left_out:
        findings.add(None, f"{left_out} rules are left out: a site may have {MOST}", "join paths by `*`")
    hosts = frozenset(rule.host for rule in rules if rule.host)
    return HeaderRules(tuple(rules), Places([rule.pattern for rule in rules]), hosts), findings.all()


def _path(text: str) -> tuple[Pattern, tuple[str, ...], str]:
    """The pattern of a line's path, the texts between its `*`, and its host."""
    host = ""
    if not text.startswith("/"):
        absolute = host_of(text)
        assert absolute is not None
        if ":" in absolute[1]:
            raise Unfit("a port is not offered", "write the host alone")
        host, text = absolute[1], absolute[2] or "/"
    if any(character.isspace() for character in text):
        raise Unfit(f"{quoted(text)} is no path", "write a space in a path as `%20`")
    head, star, _ = text.partition("*")
    if not star:
        return pattern_of(text), (), host
    cut = head.rindex("/") + 1
    rest = text[cut:]
    if any(part.startswith(":") and len(part) > 1 for part in rest.split("/")):
        raise Unfit("a `:name` behind a `*` is not offered", "write `*` for it, too")
    pattern = pattern_of(head[:cut])
    if len(pattern.head) > MOST_SEGMENTS:
        raise Unfit(f"a path with `*` or `:name` may have {MOST_SEGMENTS} parts")
    pieces = tuple("/".join(_piece(part) for part in piece.split("/")) for piece in rest.split("*"))
    return pattern._replace(splat=True), pieces, host


def _piece(part: str) -> str:
    if not part:
        return part
    (text,) = pattern_of(f"/{part}").head if not part.startswith(":") else (part,)
    return text or ""


def _field(text: str) -> tuple[str, str | None]:
    if text.startswith("!"):
        return checked_name(text[1:].strip().rstrip(":").rstrip()), None
    name, colon, value = text.partition(":")
    if not colon:
        raise Unfit(f"{quoted(text)} is no header", "write `Name: value`")
    name = checked_name(name.strip())
    value = checked_value(name, value.strip())
    if not value:
        raise Unfit(f"`{name}` has no value", f"write one, or `! {name}` to take it away")
    return name, value


def _fits(text: str, pieces: Sequence[str]) -> bool:
    """Whether a text is the pieces with anything between them: each is sought once, from where the last one ended."""
    first, *between, last = pieces
    if not (text.startswith(first) and text.endswith(last)) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in between:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Redirect rules, ready to be asked: which rule a path meets first, and where it leads. Pure and immutable.

Rules for one path each are a table. The others, 500 at most, are bits of an integer: for each place in a path, one
integer tells which rules have this part there, and another which have anything; a path's candidates are those integers
joined with AND, and the lowest bit left is the first rule. So a match costs a step for each part of the path, however
the rules are written: there is no tree to be walked twice and nothing to go back from.
"""

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from addon.sites.rule_lines import Pattern

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"
_QUERY_SAFE = "!$'()*,;:@/-._~"
_SAFE_QUERY = "!$%&'()*+,-./:;=?@_~"
_MOST_PARAMETERS = 100
"""Parts of a visitor's query that conditions are compared with."""


class Condition(NamedTuple):
    """What a query has to hold: a parameter with this value, or, where it is captured, with any."""

    name: str
    value: str
    captured: bool


class Ruled(NamedTuple):
    """What a rule says of a path. to: where it leads, percent-encoded: from `/`, the site's root, or with a host.

    used: parameters of the query that the rule took. line: in the file that it stands in.
    """

    line: int
    status: int
    force: bool
    to: str
    used: tuple[str, ...] = ()
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with `*`, `:name`, a query or a host. to: text, and names of captures with whether they are in a query.

    fallback: whatever is missing gets this one page, which is what a single-page app asks for. under: where a rule with
    `*` leads, as far as that is the same for all, if it is a path of its own; on to_host, if that is not "". No path
    there is sent on: `/* /en/:splat 302` would never end.
    """

    line: int
    status: int
    force: bool
    pattern: Pattern
    to: tuple[str | tuple[str, bool], ...]
    conditions: tuple[Condition, ...]
    host: str
    scheme: str
    fallback: bool
    under: tuple[str, ...]
    to_host: str

    def ruled(self, segments: Sequence[str], slash: bool, query: dict[str, str] | None, host: str = "") -> Ruled | None:
        """What it says of a path that its place in the table lets through; host: the visitor's."""
        pattern = self.pattern
        if self.under and tuple(segments[: len(self.under)]) == self.under and self.to_host in ("", host):
            return None
        captures: dict[str, tuple[str, bool]] = {}
        if pattern.start and not "/".join(segments[len(pattern.head) :]).startswith(pattern.start):
            return None
        if self.conditions:
            for name, value, captured in self.conditions:
                found = query.get(name) if query is not None else None
                if found is None or not (captured or found == value):
                    return None
                if captured:
                    captures[value] = (found, False)
        if pattern.splat:
            first, end = len(pattern.head), len(segments) - len(pattern.tail)
            between = "/".join(segments[first:end])
            if pattern.start:
                between = between[len(pattern.start) :].removeprefix("/")
            captures["splat"] = (f"{between}/" if slash and between and not pattern.tail else between, True)
            for name, place in reversed(pattern.tail_names):
                captures[name] = (segments[end + place], False)
        for name, place in reversed(pattern.names):
            captures[name] = (segments[place], False)
        used = tuple(condition.name for condition in self.conditions)
        return Ruled(self.line, self.status, self.force, self._target(captures), used, self.fallback)

    def _target(self, captures: dict[str, tuple[str, bool]]) -> str:
        written = []
        for part in self.to:
            if isinstance(part, str):
                written.append(part)
                continue
            name, in_query = part
            value, is_path = captures[name]
            data = value.encode("utf-8", "surrogateescape")
            written.append(
                quote(data, safe=_QUERY_SAFE if in_query else f"{_SEGMENT_SAFE}/" * is_path or _SEGMENT_SAFE)
            )
        return local("".join(written))


def local(to: str) -> str:
    """A target that begins with exactly one slash, unless it names a host: an empty capture must not make one."""
    return "/" + to.lstrip("/") if to.startswith("/") else to


class Places:
    """Which of up to some thousand patterns a path may meet, as bits.

    By place in the path, counted from its beginning, and from its end for what stands behind a `*`: the part that has
    to be there, or anything.
    """

    __slots__ = ("_fits", "_heads", "_longer", "_tails", "nbytes")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._heads = _bits([pattern.head for pattern in patterns])
        self._tails = _bits([pattern.tail[::-1] for pattern in patterns])
        longest = max((pattern.least for pattern in patterns), default=0)
        self._fits = [0] * (longest + 1)
        self._longer = 0
        for number, pattern in enumerate(patterns):
            bit = 1 << number
            for count in range(pattern.least, longest + 1 if pattern.splat else pattern.least + 1):
                self._fits[count] |= bit
            if pattern.splat:
                self._longer |= bit
        size = 60 + len(patterns) // 7
        parts = [parts for parts, _ in (*self._heads, *self._tails)]
        self.nbytes = size * (len(parts) + longest) + sum(
            sys.getsizeof(each) + sum(sys.getsizeof(part) + size for part in each) for each in parts
        )

    def candidates(self, segments: Sequence[str]) -> int:
        """The bits of the patterns that a path of these parts meets; what stands before a `*` in its part aside."""
        count = len(segments)
        mask = self._fits[count] if count < len(self._fits) else self._longer
        for part, (parts, free) in zip(segments, self._heads):
            if not mask:
                return 0
            mask &= parts.get(part, 0) | free
        if self._tails and mask:
            for part, (parts, free) in zip(reversed(segments), self._tails):
                mask &= parts.get(part, 0) | free
        return mask


def _bits(patterns: Sequence[Sequence[str | None]]) -> list[tuple[dict[str, int], int]]:
    """By place: which patterns have which part there, and which have none or anything."""
    places: list[tuple[dict[str, int], int]] = []
    for place in range(max(map(len, patterns), default=0)):
        parts: dict[str, int] = {}
        free = 0
        for number, pattern in enumerate(patterns):
            part = pattern[place] if place < len(pattern) else None
            if part is None:
                free |= 1 << number
            else:
                parts[part] = parts.get(part, 0) | 1 << number
        places.append((parts, free))
    return places


class Table:
    """The redirect rules of a site."""

    __slots__ = (
        "_by_condition",
        "_by_host",
        "_hostless",
        "_marks",
        "_paths",
        "_places",
        "_rules",
        "_targets",
        "_unasked",
    )

    def __init__(
        self, paths: dict[str, int], marks: "array[int]", targets: list[str], rules: Sequence[Rule] = ()
    ) -> None:
        """paths: of rules for one path, to its index in marks (line, status and force, see `mark`) and targets."""
        self._paths = paths
        self._marks = marks
        self._targets = targets
        self._rules = tuple(rules)
        self._places = Places([rule.pattern for rule in rules])
        self._by_condition: dict[tuple[str, str | None], int] = {}
        self._by_host: dict[str, int] = {}
        self._unasked = self._hostless = 0
        for number, rule in enumerate(rules):
            bit = 1 << number
            if rule.conditions:  # the one that tells most: a value
                name, value, captured = min(rule.conditions, key=lambda condition: condition.captured)
                key = (name, None if captured else value)
                self._by_condition[key] = self._by_condition.get(key, 0) | bit
            else:
                self._unasked |= bit
            if rule.host:
                self._by_host[rule.host] = self._by_host.get(rule.host, 0) | bit
            else:
                self._hostless |= bit

    def __len__(self) -> int:
        return len(self._marks) + len(self._rules)

    @property
    def has_forced(self) -> bool:
        """Whether any rule goes before files that exist."""
        return any(rule.force for rule in self._rules) or any(mark & 1 for mark in self._marks)

    @property
    def counts(self) -> tuple[int, int]:
        """How many rules are for one path each, and how many others there are."""
        return len(self._marks), len(self._rules)

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        texts = sum(map(sys.getsizeof, self._paths)) + sum(map(sys.getsizeof, self._targets))
        table = sys.getsizeof(self._paths) + sys.getsizeof(self._targets) + 36 * len(self._marks)
        return texts + table + self._places.nbytes + sum(_nbytes(rule) for rule in self._rules) + 500

    def find(
        self,
        segments: Sequence[str],
        slash: bool,
        query: str | None = None,
        host: str = "",
        secure: Callable[[], bool | None] = lambda: None,
        *,
        after: int = 0,
    ) -> Ruled | None:
        """What the first rule that meets a path says; None where none does.

        segments: of the clean path. query: as it came. host: the visitor's. secure: whether they came by HTTPS, asked
        only where a rule depends on it; None for "nobody knows". after: a line; rules up to it are passed over.
        """
        index = self._paths.get("/".join(segments))
        line, status, force = unmarked(self._marks[index]) if index is not None else (0, 0, False)
        if line <= after:
            index = None
        if self._rules:
            found = self._dynamic(
                segments, slash, query, host, secure, after, line if index is not None else sys.maxsize
            )
            if found is not None:
                return found
        return Ruled(line, status, force, self._targets[index]) if index is not None else None

    def _dynamic(
        self,
        segments: Sequence[str],
        slash: bool,
        query: str | None,
        host: str,
        secure: Callable[[], bool | None],
        after: int,
        before: int,
    ) -> Ruled | None:
        mask = self._places.candidates(segments)
        if self._by_host and mask:
            mask &= self._hostless | self._by_host.get(host, 0)
        parameters: dict[str, str] | None = None
        if self._by_condition and mask & ~self._unasked:
            asked = self._unasked
            if query:
                parameters = _parameters(query)
                for name, value in parameters.items():
                    asked |= self._by_condition.get((name, value), 0) | self._by_condition.get((name, None), 0)
            mask &= asked
        while mask:
            bit = mask & -mask
            rule = self._rules[bit.bit_length() - 1]
            if rule.line >= before:
                return None
            if rule.line > after and (not rule.scheme or secure() is (rule.scheme == "https")):
                found = rule.ruled(segments, slash, parameters, host)
                if found is not None:
                    return found
            mask ^= bit
        return None

    def simple(self) -> Iterator[tuple[str, Ruled]]:
        """The rules for one path each, with their paths, in the order of the file."""
        for path, index in sorted(self._paths.items(), key=lambda item: self._marks[item[1]]):
            line, status, force = unmarked(self._marks[index])
            yield path, Ruled(line, status, force, self._targets[index])

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The others, in the order of the file."""
        return self._rules


def mark(line: int, status: int, force: bool) -> int:
    """Line, status and force as one number that orders by line."""
    return line << 11 | status << 1 | force


def unmarked(number: int) -> tuple[int, int, bool]:
    """Line, status and force."""
    return number >> 11, number >> 1 & 1023, bool(number & 1)


def location(ruled: Ruled, base: str, query: str | None) -> str:
    """Where a redirect leads, for the Location header. base: of the site on its host, without its slash at the end.

    The visitor's query goes along, less what the rule took of it, unless the target has one; a fragment stays last.
    """
    to = f"{base}{ruled.to}" if ruled.to.startswith("/") else ruled.to
    if query is None or "?" in to.partition("#")[0]:
        return to
    if ruled.used:
        query = "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in ruled.used)
        if not query:
            return to
    page, hash_mark, fragment = to.partition("#")
    rest = quote(query.encode("utf-8", "surrogateescape"), safe=_SAFE_QUERY)
    return f"{page}?{rest}{hash_mark}{fragment}"


def _parameters(query: str) -> dict[str, str]:
    """A query's parameters with their last value; a name without `=` is none."""
    found = {}
    for pair in query.split("&", _MOST_PARAMETERS)[:_MOST_PARAMETERS]:
        name, equals, value = pair.partition("=")
        if equals:
            found[unquote_plus(name)] = unquote_plus(value)
    return found


def _nbytes(rule: Rule) -> int:
    texts = [part if isinstance(part, str) else part[0] for part in rule.to]
    texts += [part for part in (*rule.pattern.head, *rule.pattern.tail) if part is not None]
    return 400 + sum(map(sys.getsizeof, texts)) + 150 * len(rule.conditions) + 80 * len(rule.pattern.captures)

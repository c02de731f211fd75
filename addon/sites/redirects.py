# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`_redirects`: from text to a `Table`, with a finding for each line that says nothing, or nothing that we do. Pure.

Syntax and meaning are Netlify's (`from [query] to [status[!]]`), for that is what everybody knows. What we leave out is
said and nothing else is lost: rules that depend on who asks (Country, Language, Role, Sign), and those that would make
this server fetch another one's pages. The surprise: no host in `to` may hold a placeholder, for a path that a visitor
gave never chooses a host.
"""

import re
from array import array
from collections.abc import Sequence
from urllib.parse import unquote

from addon.sites.findings import Finding, Findings, quoted
from addon.sites.redirect_table import REDIRECTS, Condition, Places, Rule, Table, local, mark
from addon.sites.rule_lines import Pattern, Unfit, host_of, lines, pattern_of

FILE = "_redirects"
MOST_STATIC = 10_000
MOST_DYNAMIC = 500
DEFAULT_STATUS = 301
REWRITE = 200

# Most paths in rules are of these characters, and need no second look.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~,;=!$&'()@+-][A-Za-z0-9_~.,;=!$&'()@+-]*)*/?")
_STATUS = re.compile(r"([0-9]{1,4})(!?)")
_UNSAFE = re.compile(r"""[^\x21-\x7e]|["<>\\^`{|}]|%(?![0-9A-Fa-f]{2})""")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONDITION_NAMES = frozenset({"country", "language", "role", "sign", "cookie", "signed"})
_PLACEHOLDER = re.compile(r"/:([A-Za-z]\w*)(?=[/?#]|$)")
_PAGE = re.compile(r"(?:\.html?|/)$", re.IGNORECASE)


def read(data: bytes) -> tuple[Table, tuple[Finding, ...]]:
    """The rules of a `_redirects` file, and what is wrong with it."""
    findings = Findings(FILE)
    builder = Builder(findings)
    for number, text in lines(data, findings):
        tokens = text.split()
        if "#" in text:
            cut = next((place for place, token in enumerate(tokens) if token.startswith("#")), None)
            del tokens[len(tokens) if cut is None else cut :]
            if not tokens:
                continue
        try:
            builder.add(number, tokens)
        except Unfit as unfit:
            findings.add(number, unfit.reason, unfit.remedy)
    return builder.table(), findings.all()


class Builder:
    """A table that is being filled, rule by rule, in the order of the file."""

    def __init__(self, findings: Findings, most_static: int = MOST_STATIC, most_dynamic: int = MOST_DYNAMIC) -> None:
        self._findings = findings
        self._most = most_static, most_dynamic
        self._left_out = [0, 0]
        self._paths: dict[str, int] = {}
        self._marks: array[int] = array("Q")
        self._targets: list[str] = []
        self._rules: list[Rule] = []
        self._seen: dict[tuple[object, ...], int] = {}

    def add(self, line: int, tokens: Sequence[str]) -> None:
        """A rule by its words; raises Unfit."""
        origin = tokens[0]
        scheme, host = "", ""
        if not origin.startswith("/"):
            absolute = host_of(origin)
            if absolute is None:
                raise Unfit(f"{quoted(origin)} is no path", "begin it with `/`, or with `https://` and a domain")
            scheme, host, origin = absolute
            host = host.partition(":")[0]
            origin = origin or "/"
        query, to, status, force = _parts(origin, tokens)
        if not query and not host and _PLAIN.fullmatch(origin):
            path: str = origin.strip("/")
            pattern = None
        else:
            pattern = pattern_of(origin)
            path = pattern.path if pattern.is_static else ""
        _refuse_own(path.partition("/")[0] if pattern is None else (*pattern.head, None)[0])
        conditions = _conditions(query) if query else ()
        captures = _captures(pattern, conditions)
        target = self._target(line, to, status, captures)
        if pattern is None or (pattern.is_static and not conditions and not host):
            self._add_static(line, path, status, force, target)
        else:
            page = target[0] if len(target) == 1 and isinstance(target[0], str) else ""
            open_end = pattern.splat and not pattern.tail
            fallback = status == REWRITE and not force and open_end and bool(_PAGE.search(page))
            under, to_host = _under(target) if pattern.splat and status != REWRITE else ((), "")
            if not (
                Places([pattern]).candidates(under) and "/".join(under[len(pattern.head) :]).startswith(pattern.start)
            ):
                under = ()
            self._add_dynamic(
                Rule(line, status, force, pattern, target, conditions, host, scheme, fallback, under, to_host)
            )

    def add_path(self, line: int, path: str, status: int, to: str) -> None:
        """A rule for one path that goes before files; raises Unfit."""
        pattern = pattern_of("/" + re.sub(r"[%*:?#]", lambda found: f"%{ord(found[0]):02X}", path))
        _refuse_own((*pattern.head, None)[0])
        self._add_static(line, pattern.path, status, True, self._target(line, to, status, ()))

    def table(self) -> Table:
        """All of it."""
        for kind, most, count in zip(
            ("for one path each", "with `*`, `:name`, a query or a host"), self._most, self._left_out
        ):
            if count:
                self._findings.add(
                    None, f"{count} rules are left out: a site may have {most} {kind}", "join rules by `*` or `:name`"
                )
        return Table(self._paths, self._marks, self._targets, self._rules)

    def _add_static(
        self, line: int, path: str, status: int, force: bool, to: tuple[str | tuple[str, bool], ...]
    ) -> None:
        former = self._paths.get(path)
        if former is not None:
            self._findings.add(
                line, f"line {self._marks[former] >> 11} is for this path already, and counts", "remove one"
            )
            return
        if len(self._marks) >= self._most[0]:
            self._left_out[0] += 1
            return
        self._paths[path] = len(self._marks)
        self._marks.append(mark(line, status, force))
        self._targets.append(local("".join(map(str, to))))

    def _add_dynamic(self, rule: Rule) -> None:
        if len(self._rules) >= self._most[1]:
            self._left_out[1] += 1
            return
        shape = _shape(rule)
        former = self._seen.setdefault(shape, rule.line)
        if former != rule.line:
            self._findings.add(rule.line, f"line {former} is for these paths already, and counts", "remove one")
            return
        self._rules.append(rule)

    def _target(self, line: int, to: str, status: int, captures: Sequence[str]) -> tuple[str | tuple[str, bool], ...]:
        """A target in its parts, checked; raises Unfit."""
        origin = ""
        if not to.startswith("/"):
            absolute = host_of(to)
            if absolute is None:
                raise Unfit(f"{quoted(to)} is no place to go", "begin it with `/`, or with `https://` and a host")
            if status not in REDIRECTS:
                raise Unfit(
                    "pages of another server are not fetched from here"
                    if status == REWRITE
                    else "the page has to be this site’s",
                    "redirect there (301 or 302), or name a file of this site",
                )
            scheme, host, to = absolute
            origin, to = f"{scheme}://{host}", to or "/"
            if not to.startswith("/"):
                origin, to = f"{origin}/", to
        elif to[1:2] in ("/", "\\"):
            raise Unfit("`//` begins the name of another host", "write `https://` and the host, or one slash")
        if not captures and ":" not in to and _PLAIN.fullmatch(to):
            return (origin + to,)
        if _CONTROL.search(to):
            raise Unfit("a control character may not be in an address")
        for unknown in _PLACEHOLDER.findall(to) if "/:" in to else ():
            if unknown not in captures:
                self._findings.add(
                    line, f"`:{unknown[:40]}` is not in the rule’s path or query, and stays as it is", lost=False
                )
        if status not in REDIRECTS:
            to = to.partition("?")[0].partition("#")[0]
            if any(part in (".", "..") for part in to.split("/")) or "%2f" in to.lower():
                raise Unfit("a page is named by a clean path", "write it without `..` and `%2F`")
        return _pieces(origin, to, captures)


def _parts(origin: str, tokens: Sequence[str]) -> tuple[Sequence[str], str, int, bool]:
    """Query, target, status and force of a rule's words; raises Unfit."""
    if len(tokens) == 1:
        raise Unfit("it says from where, but not where to", "write `/from /to 301`")
    if (found := _STATUS.fullmatch(tokens[1])) is not None:
        if not (origin.endswith("/*") and found[1].startswith("2")):
            raise Unfit("it says from where, but not where to", "write `/from /to 301`")
        place, to, rest = 0, f"{origin[:-1]}:splat", tokens[1:]
    else:
        for place, token in enumerate(tokens):
            if place and (token.startswith("/") or token[:7].lower() == "http://" or token[:8].lower() == "https://"):
                break
        else:
            raise Unfit("where it leads has to begin with `/`, `http://` or `https://`")
        to, rest = token, tokens[place + 1 :]
    status, force = DEFAULT_STATUS, False
    if rest:
        found = _STATUS.fullmatch(rest[0])
        if found is None and "=" not in rest[0]:
            raise Unfit(f"{quoted(rest[0])} is no status", "write a number such as 301, or `301!` to go before files")
        if found is not None:
            status, force = int(found[1]), bool(found[2])
            rest = rest[1:]
        if rest:
            name = rest[0].partition("=")[0]
            if name.lower() in _CONDITION_NAMES:
                raise Unfit(f"rules that depend on {quoted(name)} are not offered: nothing here knows it of a visitor")
            raise Unfit(f"{quoted(rest[0])} is one word too many", "a query stands between the two paths")
    if status not in REDIRECTS and status != REWRITE and not 400 <= status <= 499:
        raise Unfit(f"the status {status} is not offered", "use 200, 301, 302, 303, 307, 308, 404, 410 or another 4xx")
    return tokens[1:place] if place else (), to, status, force


def _conditions(query: Sequence[str]) -> tuple[Condition, ...]:
    found: dict[str, Condition] = {}
    for word in query:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Unfit(f"{quoted(word)} is no part of a query", "write `name=value` or `name=:capture`")
        captured = value.startswith(":") and len(value) > 1
        found[name] = Condition(name, value[1:] if captured else value, captured)
    return tuple(found.values())


def _captures(pattern: Pattern | None, conditions: tuple[Condition, ...]) -> tuple[str, ...]:
    of_query = tuple(condition.value for condition in conditions if condition.captured)
    return of_query if pattern is None else (*pattern.captures, *of_query)


def _refuse_own(first: str | None) -> None:
    if first == ".pages":
        raise Unfit("paths below `/.pages/` are the server’s own", "choose another path")


def _shape(rule: Rule) -> tuple[object, ...]:
    """What two rules for the same paths have in common."""
    pattern = rule.pattern
    conditions = tuple(sorted((name, None if captured else value) for name, value, captured in rule.conditions))
    return pattern.head, pattern.splat, pattern.start, pattern.tail, str(conditions), rule.host, rule.scheme


def _pieces(origin: str, to: str, captures: Sequence[str]) -> tuple[str | tuple[str, bool], ...]:
    """A target's text, percent-encoded, with the names of captures between; the longest name counts."""
    if not captures:
        return (origin + encoded(to),)
    names = "|".join(map(re.escape, sorted(set(captures), key=len, reverse=True)))
    pieces: list[str | tuple[str, bool]] = []
    text, in_query = origin, False
    for place, piece in enumerate(re.split(f":({names})", to)):
        if place % 2:
            pieces += [text] if text else []
            pieces.append((piece, in_query))
            text = ""
        else:
            text += encoded(piece)
            in_query |= "?" in piece or "#" in piece
    if text:
        pieces.append(text)
    return tuple(pieces)


def _under(target: Sequence[str | tuple[str, bool]]) -> tuple[tuple[str, ...], str]:
    """The whole parts of a target's path that are the same for all who are sent there, and its host."""
    text = target[0] if isinstance(target[0], str) else ""
    absolute = host_of(text)
    host, text = ("", text) if absolute is None else (absolute[1].partition(":")[0], absolute[2])
    path, mark, _ = text.partition("?")
    parts = path.partition("#")[0].split("/")[1:]
    if len(target) > 1 and not mark and "#" not in text:
        parts = parts[:-1]  # what follows belongs to the last part
    return tuple(unquote(part) for part in parts if part), host


def encoded(text: str) -> str:
    """Text of an address with all percent-encoded that no header, and no careful reader, may meet."""
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace")), text)

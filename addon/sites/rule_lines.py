# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lines of a rule file, and the patterns of paths in them: what `_redirects`, `_headers` and `.redirects` share.

A line that is no UTF-8, or too long, is a finding and nothing else: one bad line never takes the others with it. A path
in a rule is compared with clean, decoded paths, so it is decoded here once; what can never be such a path (`//`, `..`,
an encoded slash) is refused with the reason, for the rule could never match.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from addon.sites.findings import Findings

LARGEST = 1024 * 1024
"""Bytes of a rule file that are read."""
LONGEST_LINE = 2000
"""Characters of a line."""
MOST_SEGMENTS = 32
"""Parts of a path with `*` or `:name`."""

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r":[0-9]{1,5}")


class Unfit(ValueError):
    """A part of a rule that cannot be. remedy: what to do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def lines(data: bytes, findings: Findings) -> Iterator[tuple[int, str]]:
    """The lines of a rule file with their numbers, without the empty ones; line ends of any system."""
    if len(data) > LARGEST:
        data = data[: data.rfind(b"\n", 0, LARGEST) + 1]
        findings.add(None, "it is larger than 1 MiB: what comes after that is left out", "split the site, or the rules")
    try:
        texts: list[str | bytes] = [*data.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError:
        texts = [*data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    for number, raw in enumerate(texts, 1):
        if isinstance(raw, bytes):
            try:
                raw = raw.decode()
            except UnicodeDecodeError:
                findings.add(number, "the line is not UTF-8", "save the file as UTF-8")
                continue
        if len(raw) > LONGEST_LINE:
            findings.add(number, f"the line is longer than {LONGEST_LINE} characters")
            continue
        text = raw.rstrip()
        if text:
            yield number, text


class Pattern(NamedTuple):
    """A path in a rule: `head` are its parts up to a `*`, decoded; of a placeholder, its name stands in `names`.

    splat: whether there is a `*`. start: what stands before the `*` in its own part. tail: the parts behind it.
    """

    head: tuple[str | None, ...]
    names: tuple[tuple[str, int], ...]
    splat: bool = False
    start: str = ""
    tail: tuple[str | None, ...] = ()
    tail_names: tuple[tuple[str, int], ...] = ()

    @property
    def is_static(self) -> bool:
        """Whether it is one path."""
        return not (self.splat or self.names)

    @property
    def path(self) -> str:
        """Of a static one: that path, without slashes around it."""
        return "/".join(part or "" for part in self.head)

    @property
    def least(self) -> int:
        """Parts that a path has at least."""
        return len(self.head) + len(self.tail) + bool(self.start)

    @property
    def captures(self) -> tuple[str, ...]:
        """The names of what it captures."""
        names = [name for name, _ in (*self.names, *self.tail_names)]
        return (*names, "splat") if self.splat else tuple(names)


def host_of(text: str) -> tuple[str, str, str] | None:
    """Scheme, authority (checked, in lower case) and the rest of an absolute URL; None where it is none.

    Raises Unfit for an authority that is none, or that a path of the visitor could decide.
    """
    found = _HOST.match(text)
    if found is None:
        return None
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    host, colon, port = authority.partition(":")
    if "@" in authority:
        raise Unfit("an address with a user name is not offered", "write the host alone")
    if "*" in authority or (colon and not _PORT.fullmatch(f":{port}")):
        raise Unfit(
            "the host may not come out of the visitor’s address: anybody could send your visitors anywhere",
            "write the host out",
        )
    if not host.isascii():
        if len(host) > 253:
            raise Unfit("the host is no name of a host")
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise Unfit("the host is no name of a host") from None
    host = host.lower().removesuffix(".")
    if not host or len(host) > 253 or not all(map(_LABEL.fullmatch, host.split("."))):
        raise Unfit("the host is no name of a host")
    return scheme, f"{host}:{port}" if colon else host, rest


def pattern_of(path: str) -> Pattern:
    """The pattern that a path in a rule is; raises Unfit for one that no path can match."""
    if "?" in path or "#" in path:
        raise Unfit("no path holds `?` or `#`", "write a query as `name=value` behind the path, with a space between")
    parts = path[1:].split("/")
    if parts[-1] == "":
        parts.pop()
    head: list[str | None] = []
    tail: list[str | None] = []
    names: list[tuple[str, int]] = []
    tail_names: list[tuple[str, int]] = []
    splat, start = False, ""
    for part in parts:
        side, called = (tail, tail_names) if splat else (head, names)
        if "*" in part:
            if splat or part.count("*") > 1:
                raise Unfit("only one `*` is offered in a path", "use `:name` for the other parts")
            if not part.endswith("*"):
                raise Unfit("`*` has to be a whole part of the path, or its end", "write `/folder/*` or `/begin*`")
            splat, start = True, _decoded(part[:-1]) if len(part) > 1 else ""
        elif part.startswith(":") and len(part) > 1:
            called.append((part[1:], len(side)))
            side.append(None)
        else:
            side.append(_decoded(part))
    pattern = Pattern(tuple(head), tuple(names), splat, start, tuple(tail), tuple(tail_names))
    if not pattern.is_static and pattern.least > MOST_SEGMENTS:
        raise Unfit(f"a path with `*` or `:name` may have {MOST_SEGMENTS} parts")
    return pattern


def _decoded(part: str) -> str:
    if _BAD_ESCAPE.search(part):
        raise Unfit("a percent sign that begins no escape", "write it as `%25`")
    text = unquote(part, errors="replace") if "%" in part else part
    if "/" in text:
        raise Unfit("an encoded slash (`%2F`) is in no path that is served", "write `/`")
    if _CONTROL.search(text):
        raise Unfit("a control character is in no path that is served")
    if text in ("", ".", ".."):
        raise Unfit("`//`, `/./` and `/../` are cleaned away before rules are read", "write the clean path")
    return text

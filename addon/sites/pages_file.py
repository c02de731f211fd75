# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The `.pages` file: a site's own settings, as YAML with the origin's habits kept. Pure.

The file is read as YAML nodes, never as YAML values: so `yes`, `no`, `on` and `off` are booleans, a password of digits
stays the text it is, every message can name its line, and no tag, alias or deep nesting can cost anything. A message
names the line and the reason but never the line's text: a `.pages` file may hold a password's hash.
"""

import difflib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from addon.sites.preview_rules import EXPECTED, PreviewRules, PreviewsError, Said
from addon.sites.preview_rules import read as read_previews

MAX_BYTES = 64 * 1024
_MAX_ITEMS = 1000
# A scanner of pure Python: 64 KiB of `[` took 50 s before these two, and the loop that answers visitors with them.
_MAX_EVENTS = 5000
_MAX_DEPTH = 16
_MAX_WARNINGS = 20

_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off", ""})
_BOOLEANS = frozenset({"enabled", "directory_index", "publish_private", "spa", "clean_urls", "canonical"})
_TEXTS = frozenset({"password", "branchesPassword"})
_PLACES = frozenset({"root", "branch"})
_LISTS = frozenset({"custom_domain", "enable_branches"})
_PREVIEWS = "previews"
_ACCESS = "access"
_MEMBERS = "members"
_KNOWN = _BOOLEANS | _TEXTS | _PLACES | _LISTS | {_ACCESS, _PREVIEWS}
TAB = "a tab stands here, where only spaces may; indent with spaces"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class PagesFileError(Exception):
    """A `.pages` file that cannot be used. `line` counts from 1; None where the whole file is meant."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


_QUICK = 4 * 1024
_QUICK_BRACKETS = 32


@dataclass(frozen=True, slots=True)
class PagesFile:
    """What a `.pages` file says. Hashes are kept out of the repr.

    members: `access: members`, so that only who may read the repository sees the site.
    root: the folder that is served, `.` for the whole repository; branch: the branch; each "" where nothing is said.
    preview_…: as `PreviewRules` has them.
    """

    enabled: bool = True
    custom_domains: tuple[str, ...] = ()
    directory_index: bool = False
    enable_branches: tuple[str, ...] = ()
    publish_private: bool = False
    spa: bool = False
    clean_urls: bool = False
    canonical: bool = False
    root: str = ""
    branch: str = ""
    password: str = ""
    branches_password: str = ""
    members: bool = False
    preview_branches: tuple[str, ...] = ()
    preview_commits: bool = False
    preview_pulls: str = ""
    preview_banner: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def previews(self) -> PreviewRules:
        """Which previews the repository has."""
        return PreviewRules(self.preview_branches, self.preview_commits, self.preview_pulls, self.preview_banner)

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        texts = (*self.custom_domains, *self.enable_branches, *self.warnings, self.password, self.branches_password)
        texts += (*self.preview_branches, self.preview_pulls, self.preview_banner)
        return 400 + sum(sys.getsizeof(text) + 8 for text in (*texts, self.root, self.branch))

    @property
    def publishes_private(self) -> bool:
        """Whether a private repository is to be a site: for everybody, or for who may read it anyway."""
        return self.publish_private or self.members

    @property
    def prefix(self) -> str:
        """What stands before the site's paths in the repository: `public/`, or what `root` names.

        A branch that is named for the pages alone is the site as it lies there, as on other pages servers.
        """
        root = self.root or ("." if self.branch else "public")
        return "" if root == "." else f"{root}/"

    def shown_branch(self, default: str) -> str | None:
        """The branch that the site is on, where it is another than the default one."""
        return self.branch if self.branch not in ("", default) else None

    def __repr__(self) -> str:
        return f"PagesFile(enabled={self.enabled}, protected={bool(self.password)}, members={self.members})"


@dataclass(frozen=True, slots=True)
class _Value:
    line: int
    text: str | None
    items: tuple[str, ...] = ()
    fields: tuple[Said, ...] | None = None  # of a mapping


def parse(data: bytes) -> PagesFile:
    """Read a `.pages` file.

    Raises PagesFileError, and nothing else, for what is no flat YAML mapping of known shapes, is no UTF-8, or is above
    64 KiB. Keys that nobody knows and keys given twice (the last wins) are warnings; a password that is misspelt,
    stands too deep, or is followed by an empty one is an error, for it would leave open what its owner believes locked,
    and so are `access` with any word but members, and a misspelt `enabled: false`.
    """
    if len(data) > MAX_BYTES:
        raise PagesFileError(None, f"the file is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PagesFileError(data[: error.start].count(b"\n") + 1, "the file is not UTF-8") from None
    warnings: list[str] = []
    previews = PreviewRules()
    values: dict[str, _Value] = {}
    try:
        for key, value in _pairs(_Events(text)):
            if key not in _KNOWN:
                warnings.append(_unknown(key, value))
                continue
            if key in values:
                if key in _TEXTS and _text(values, key) and not (value.text or "").strip():
                    raise PagesFileError(value.line, f"{key} is given more than once, and is empty here")
                warnings.append(f"line {value.line}: {key} is given more than once; this one counts")
            if key == _ACCESS:
                _check_access(value)
            values[key] = value
        if (wanted := values.get(_PREVIEWS)) is not None:
            previews = read_previews(wanted.line, wanted.text, wanted.fields, warnings)
    except PagesFileError:
        raise
    except PreviewsError as error:
        raise PagesFileError(error.line, error.reason) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PagesFileError(mark.line + 1 if mark else None, _reason(error)) from None
    except ReaderError as error:
        raise PagesFileError(text.count("\n", 0, error.position) + 1, "a character that YAML forbids") from None
    except Exception:  # a parser of others over anybody's bytes: "\UFFFFFFFF" alone is an OverflowError
        raise PagesFileError(None, "the file is not valid YAML") from None
    if len(warnings) > _MAX_WARNINGS:
        warnings[_MAX_WARNINGS:] = [f"and {len(warnings) - _MAX_WARNINGS} more like these"]
    return PagesFile(
        enabled=_boolean(values, "enabled", True),
        custom_domains=_texts(values, "custom_domain"),
        directory_index=_boolean(values, "directory_index", False),
        enable_branches=_texts(values, "enable_branches"),
        publish_private=_boolean(values, "publish_private", False),
        spa=_boolean(values, "spa", False),
        clean_urls=_boolean(values, "clean_urls", False),
        canonical=_boolean(values, "canonical", False),
        root=_root(values),
        branch=_branch(values),
        password=_text(values, "password"),
        branches_password=_text(values, "branchesPassword"),
        members=_ACCESS in values,
        preview_branches=previews.branches,
        preview_commits=previews.commits,
        preview_pulls=previews.pulls,
        preview_banner=previews.banner,
        warnings=tuple(warnings),
    )


def takes_long(data: bytes) -> bool:
    """Whether reading this belongs on a thread: 64 KiB made to hurt take 0.2 s, and so does 1 KiB of brackets.

    The scanner decides up to 1 024 characters later whether what a bracket opens is a key, and looks at every bracket
    that is open for each further character.
    """
    return len(data) > _QUICK or data.count(b"[") + data.count(b"{") > _QUICK_BRACKETS


class _Events:
    """The YAML events of a text, one at a time: bounded work for any input, and a line for every message."""

    def __init__(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        self._events: Iterator[Event] = iter(yaml.parse(io.StringIO(text)))
        self._count = 0
        self._depth = 0

    def next(self) -> Event:
        event = next(self._events, None)
        if event is None:
            raise PagesFileError(None, "the file ends too early")
        line = event.start_mark.line + 1
        self._count += 1
        self._depth += isinstance(event, MappingStartEvent | SequenceStartEvent)
        self._depth -= isinstance(event, MappingEndEvent | SequenceEndEvent)
        if self._count > _MAX_EVENTS:
            raise PagesFileError(line, "the file says more than a .pages file can mean")
        if self._depth > _MAX_DEPTH:
            raise PagesFileError(line, "nested too deeply")
        if isinstance(event, AliasEvent):
            raise PagesFileError(line, "aliases (*name) are not allowed")
        if isinstance(event, ScalarEvent) and any("\ud800" <= char <= "\udfff" for char in event.value):
            raise PagesFileError(line, "an escape that is no character")
        return event


def _pairs(events: _Events) -> Iterator[tuple[str, _Value]]:
    events.next()  # the stream's start
    if not isinstance(events.next(), DocumentStartEvent):
        return  # nothing, or comments alone
    root = events.next()
    if isinstance(root, MappingStartEvent):
        while not isinstance(key := events.next(), MappingEndEvent):
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarEvent):
                raise PagesFileError(line, "expected a name before the colon")
            yield key.value, _value(events, key.value, line)
    elif not isinstance(root, ScalarEvent) or root.value not in _NULLS:
        raise PagesFileError(root.start_mark.line + 1, "expected lines of the form `key: value`")
    events.next()  # the document's end
    while isinstance(after := events.next(), DocumentStartEvent):
        # A closing `---` begins a document with nothing in it. Anything else is none of ours: it may hold the password.
        inside = events.next()
        if not isinstance(inside, ScalarEvent) or not _is_null(inside) or inside.value:
            raise PagesFileError(after.start_mark.line + 1, "only one YAML document is allowed")
        events.next()


def _value(events: _Events, key: str, line: int) -> _Value:
    event = events.next()
    if isinstance(event, ScalarEvent):
        return _Value(line, None if _is_null(event) else event.value)
    if key not in _KNOWN:
        _skip(events, event)
        return _Value(line, None)
    if key == _PREVIEWS and isinstance(event, MappingStartEvent):
        return _Value(line, None, fields=tuple(_fields(events)))
    if not isinstance(event, SequenceStartEvent) or key not in _LISTS:
        raise PagesFileError(line, f"{key}: expected {_expected(key)}")
    items: list[str] = []
    while not isinstance(item := events.next(), SequenceEndEvent):
        if not isinstance(item, ScalarEvent):
            raise PagesFileError(item.start_mark.line + 1, f"{key}: expected {_expected(key)}")
        if not _is_null(item):
            items.append(item.value)
        if len(items) > _MAX_ITEMS:
            raise PagesFileError(line, f"{key}: more than {_MAX_ITEMS} items")
    return _Value(line, None, tuple(items))


def _fields(events: _Events) -> Iterator[Said]:
    """The pairs of a mapping that is ours: texts, or lists of them."""
    while not isinstance(key := events.next(), MappingEndEvent):
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarEvent):
            raise PagesFileError(line, "expected a name before the colon")
        if known := _protection(key.value):
            raise PagesFileError(line, f"{known} has to stand at the top, not inside another name")
        event = events.next()
        if isinstance(event, ScalarEvent):
            yield Said(key.value, line, () if _is_null(event) else (event.value,))
        elif isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(item := events.next(), SequenceEndEvent):
                if not isinstance(item, ScalarEvent):
                    raise PagesFileError(item.start_mark.line + 1, f"{_PREVIEWS}: expected names in this list")
                items.append(item.value)
            yield Said(key.value, line, tuple(items), listed=True)
        else:
            raise PagesFileError(line, f"{_PREVIEWS}: expected one value or a list")


def _is_null(scalar: ScalarEvent) -> bool:
    return scalar.style is None and scalar.value in _NULLS


def _skip(events: _Events, event: Event) -> None:
    """Leave out a mapping or list that is not ours; but a password in it was meant for us."""
    awaits_key: list[bool | None] = []  # one for each open collection: None in a list
    while True:
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            awaits_key.pop()
        else:
            if awaits_key and awaits_key[-1] is not None:
                if awaits_key[-1] and isinstance(event, ScalarEvent) and (known := _protection(event.value)):
                    line = event.start_mark.line + 1
                    raise PagesFileError(line, f"{known} has to stand at the top, not inside another name")
                if awaits_key[-1] is False and isinstance(event, ScalarEvent) and _means_members(event.value):
                    line = event.start_mark.line + 1
                    raise PagesFileError(line, "access: members has to stand at the top, not inside another name")
                awaits_key[-1] = not awaits_key[-1]
            if isinstance(event, MappingStartEvent):
                awaits_key.append(True)
            elif isinstance(event, SequenceStartEvent):
                awaits_key.append(None)
        if not awaits_key:
            return
        event = events.next()


def _expected(key: str) -> str:
    if key in _BOOLEANS:
        return "true or false"
    if key == _PREVIEWS:
        return EXPECTED
    return "one name or a list of names" if key in _LISTS else "one value"


# What ruamel's messages quote of its own: token names and the marks of YAML. All else is the text's, and stays out.
_QUOTED = re.compile(r"(['\"])(.*?)\1", re.DOTALL)
_OWN_WORDS = re.compile(r"<[a-z ]+>|[-:,?\[\]{}]")


def _reason(error: MarkedYAMLError) -> str:
    if "found character '\\t'" in (error.problem or ""):
        return TAB

    def shown(quoted: re.Match[str]) -> str:
        return quoted[0] if _OWN_WORDS.fullmatch(quoted[2]) else "…"

    return " ".join(_QUOTED.sub(shown, error.problem or "not valid YAML").split())[:120]


def _protection(key: str) -> str | None:
    """The name that a key was meant to be, where it was meant to protect the site."""
    letters = re.sub(r"[^a-z]", "", key[:100].lower())
    if not ("passw" in letters or "passphrase" in letters or letters in ("pass", "pwd")):
        near = difflib.get_close_matches(letters, [name.lower() for name in _TEXTS], 1, 0.8)
        if not near:
            return None
    return "branchesPassword" if "branch" in letters else "password"


def _means_members(word: str) -> bool:
    return word[:100].strip().lower() == _MEMBERS


def _check_access(value: _Value) -> None:
    """What `access` says is for readers of the repository, or an error: whoever writes it wants a closed site."""
    if not _means_members(value.text or ""):
        raise PagesFileError(
            value.line, "access: expected members; leave the line out where everybody may see the site"
        )


def _closes(key: str, value: _Value) -> str | None:
    """The line that was meant, where a name that nobody knows was to keep the site for readers of the repository."""
    letters = re.sub(r"[^a-z]", "", key[:100].lower())
    near = difflib.get_close_matches(letters, (_ACCESS,), 1, 0.8)
    return "access: members" if near or _means_members(value.text or "") else None


def _takes_down(key: str, value: _Value) -> str | None:
    """The line that was meant, where a name that nobody knows was to take the site down."""
    letters = re.sub(r"[^a-z]", "", key[:100].lower())
    if not difflib.get_close_matches(letters, ("enable", "enabled", "disable", "disabled"), 1, 0.8):
        return None
    word = (value.text or "").strip().lower()
    harmless = _FALSE - {""} if letters.startswith("dis") else _TRUE
    return None if word in harmless else "enabled: false"


def _unknown(key: str, value: _Value) -> str:
    line = value.line
    known = _protection(key) or _closes(key, value) or _takes_down(key, value)
    if known is not None:
        raise PagesFileError(line, f"unknown name; did you mean {known}?")
    near = difflib.get_close_matches(key[:100].lower(), _KNOWN, 1, 0.8)
    return f"line {line}: unknown name" + (f"; did you mean {near[0]}?" if near else "")


def _boolean(values: dict[str, _Value], key: str, default: bool) -> bool:
    value = values.get(key)
    if value is None or (value.text is None and not value.items):
        return default
    word = (value.text or "").strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise PagesFileError(value.line, f"{key}: expected true or false")


def _text(values: dict[str, _Value], key: str) -> str:
    value = values.get(key)
    return (value.text or "").strip() if value else ""


def _texts(values: dict[str, _Value], key: str) -> tuple[str, ...]:
    value = values.get(key)
    if value is None:
        return ()
    found = value.items or ((value.text,) if value.text else ())
    return tuple(dict.fromkeys(text.strip() for text in found if text.strip()))


def _root(values: dict[str, _Value]) -> str:
    """A folder's path without slashes around it; `.` for the repository itself."""
    text = _text(values, "root").removeprefix("./").strip("/")
    if not text:
        return "." if _text(values, "root") else ""
    parts = text.split("/")
    if text != "." and (any(part in ("", ".", "..") for part in parts) or parts[0] == ".git" or not text.isprintable()):
        raise PagesFileError(
            values["root"].line, "root: expected a folder of the repository, such as docs, or . for all"
        )
    if len(text) > 1000:
        raise PagesFileError(values["root"].line, "root: the path is too long")
    return text


def _branch(values: dict[str, _Value]) -> str:
    text = _text(values, "branch")
    if text and (len(text.encode()) > 250 or not text.isprintable() or " " in text or text.startswith("-")):
        raise PagesFileError(values["branch"].line, "branch: expected the name of a branch, such as gh-pages")
    return text

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""From a YAML file to named texts, each with its line: what the file says, before anyone asks whether it is right.

Knows YAML and the shape of Traefik's files (a plugin's options lie deep inside), but no option. Works on YAML's node
graph, not on loaded values: only there is a value still the text that was written (a token `1e5` is no number), and
only there has it a line. No message repeats text out of the file, since that text may be a secret in the wrong place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from addon.settings.options import Secret

MOST_BYTES = 1024 * 1024

# Sections of a Traefik file that hold nothing of ours.
_TRAEFIK_SECTIONS = frozenset({"tcp", "udp", "tls", "experimental"})


class Place(NamedTuple):
    """Where something stands; line and column count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """One thing that is wrong, as one line."""

    place: Place
    option: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.option}: {self.message}" if self.option else f"{self.place}: {self.message}"


class SettingsError(Exception):
    """The settings cannot be used. `str()` has one line for each problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(dict.fromkeys(problems), key=lambda each: (each.place.line or 0, each.place.column or 0))
        )
        super().__init__("\n".join(map(str, self.problems)))


class Nested(NamedTuple):
    """A list or mapping, where most options take a text. inside: of a mapping, its names, places and values."""

    kind: str
    inside: Callable[[], list[tuple[str, Place, Value]]] | None = None


Value = str | Nested | tuple[str | Nested | None, ...] | None


class Given(NamedTuple):
    """An option as the file gives it."""

    name: str
    value: Value
    place: Place


@dataclass(slots=True)
class Document:
    """All that one file gives, and what is odd about it."""

    place: Place
    given: list[Given] = field(default_factory=list)
    open_to_all: bool = False  # everybody on this machine can read it
    complete: bool = True  # False where the options stand in a block that was not found
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def document_from_file(path: Path) -> Document:
    """Reads a settings file; raises SettingsError if it has no options to look at."""
    place = Place(shown_path(path))
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or "no such file"
        raise SettingsError([Problem(place, "", f"cannot be read: {reason}")]) from None
    return document_from_yaml(data, place)


def document_from_text(path: Path, text: bytes) -> Document:
    """As `document_from_file`, for what was in the file when it was read."""
    return document_from_yaml(text, Place(shown_path(path)))


def document_from_yaml(data: bytes, place: Place) -> Document:
    """As `document_from_file`, for what was read."""
    if len(data) > MOST_BYTES:
        raise SettingsError([Problem(place, "", "larger than 1 MiB: this is no settings file")])
    root = _root(data, place)
    if root is None or (isinstance(root, ScalarNode) and _text(root) in (None, "")):
        raise SettingsError([Problem(place, "", "is empty: expected at least pagesDomain and forgejoHost")])
    if not isinstance(root, MappingNode):
        found = "a list" if isinstance(root, SequenceNode) else "a text"
        message = f"expected options such as `pagesDomain: pages.example.org`, found {found}"
        raise SettingsError([Problem(_place(root, place), "", message)])
    document = Document(place)
    _gather(root, document)
    return document


def document_from_mapping(mapping: Mapping[str, object]) -> Document:
    """The same out of Python values, flat: for tests and for callers that have no file."""
    place = Place("settings")
    return Document(place, given=[Given(name, _value_of(value), place) for name, value in mapping.items()])


def _value_of(value: object) -> Value:
    return tuple(map(_text_of, value)) if isinstance(value, (list, tuple)) else _text_of(value)


def _text_of(value: object) -> str | Nested | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Secret):
        return value.reveal()
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float, Path)):
        return str(value)
    if isinstance(value, Mapping):
        place = Place("settings")
        return Nested("a mapping", lambda: [(str(name), place, _value_of(each)) for name, each in value.items()])
    return Nested("a list" if isinstance(value, (list, tuple)) else type(value).__name__)


# --- YAML -------------------------------------------------------------------------------------------------------------


def _root(data: bytes, place: Place) -> Node | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        message = "is not UTF-8 text: save it as UTF-8"
        raise SettingsError([Problem(place._replace(line=line, column=column), "", message)]) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the file on stderr
            node: Node | None = YAML(typ="safe", pure=True).compose(text)
            return node
    except RecursionError:
        raise SettingsError([Problem(place, "", "is nested too deeply")]) from None
    except Exception as error:
        # Not only YAMLError: the library lets ValueError, OverflowError, IndexError through for odd escapes and ends.
        raise SettingsError([_yaml_problem(error, text, place)]) from None


_REMEDIES = {
    "found character '\\t'": "a tab stands here, where only spaces may; indent with spaces",
    "mapping values are not allowed": "a colon too many, or wrong indentation; put a text that holds `: ` in quotes",
    "another document": "a second document begins here; only one is read, so take out the `---`",
    "cannot start any token": "a text that begins with this character must be in quotes",
    "<stream end>": "the file ends within something that was opened, such as [ or {",
    "<document start>": "this belongs to nothing above it; check the indentation",
    "<block end>": "this belongs to nothing above it; check the indentation",
    "could not find expected ':'": "expected `name: value`",
}


def _yaml_problem(error: Exception, text: str, place: Place) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)
    if mark is not None:
        place = place._replace(line=mark.line + 1, column=mark.column + 1)
    elif isinstance(position, int):  # a character that YAML does not allow
        start = text.rfind("\n", 0, position) + 1
        place = place._replace(line=text.count("\n", 0, position) + 1, column=position - start + 1)
        return Problem(place, "", "is not valid YAML: a control character stands here")
    reason = str(getattr(error, "problem", None) or "it cannot be understood")
    opened = getattr(error, "context_mark", None)
    if "quoted scalar" in str(getattr(error, "context", None)) and "end of stream" in reason and opened is not None:
        place = place._replace(line=opened.line + 1, column=opened.column + 1)
        reason = "the quote that begins here has no end"
    elif remedy := next((remedy for part, remedy in _REMEDIES.items() if part in reason), None):
        reason = remedy
    else:
        reason = re.sub("'([^']*)'", lambda quoted: quoted[0] if len(quoted[1]) < 3 else "…", reason)
    return Problem(place, "", f"is not valid YAML: {reason}")


def _place(node: Node, place: Place) -> Place:
    return place._replace(line=node.start_mark.line + 1, column=node.start_mark.column + 1)


_KINDS: dict[type[Node], str] = {MappingNode: "a mapping", SequenceNode: "a list"}


def _known_tag(node: Node) -> bool:
    tag = str(node.tag)
    return tag == "!" or bool(
        re.fullmatch(r"tag:yaml\.org,2002:(str|int|float|bool|null|seq|map|timestamp|merge|value)", tag)
    )


def _text(node: Node, document: Document | None = None) -> str | Nested | None:
    """A scalar's text as written; None for YAML's null."""
    if isinstance(node, MappingNode) and document is not None:
        # Not looked into unless somebody asks: aliases may make it endless.
        return Nested(
            _KINDS[MappingNode], lambda: [(name, at, _value(n, document)) for name, at, n in _pairs(node, document)]
        )
    if not isinstance(node, ScalarNode):
        return Nested(_KINDS.get(type(node), "something else"))
    if not _known_tag(node):
        return Nested("a YAML tag that means nothing here")
    return None if str(node.tag) == "tag:yaml.org,2002:null" else str(node.value)


def _value(node: Node, document: Document) -> Value:
    if isinstance(node, SequenceNode):
        return tuple(_text(each, document) for each in node.value)
    return _text(node, document)


def _pairs(
    node: MappingNode, document: Document, merged_before: set[int] | None = None
) -> Iterator[tuple[str, Place, Node]]:
    """A mapping's keys and values in order, `<<` merged in behind as Traefik does; notes keys that are there twice."""
    seen: dict[str, int] = {}
    merged: list[Node] = []
    for key, value in node.value:
        place = _place(key, document.place)
        if str(key.tag) == "tag:yaml.org,2002:merge":
            merged.extend(value.value if isinstance(value, SequenceNode) else [value])
            continue
        name = _text(key)
        if not isinstance(name, str):
            found = name.kind if isinstance(name, Nested) else "nothing"
            document.problems.append(Problem(place, "", f"expected the name of an option, found {found}"))
        elif name in seen:
            message = f"is given twice, first in line {seen[name]}: keep one of the two"
            document.problems.append(Problem(place, shown_name(name), message))
        else:
            seen[name] = key.start_mark.line + 1
            yield name, place, value
    visited = {id(node)} if merged_before is None else merged_before  # merges may be cyclic, and many times the same
    for base in merged:
        if not isinstance(base, MappingNode):
            message = "`<<` merges a mapping, or a list of mappings"
            document.problems.append(Problem(_place(base, document.place), "", message))
        elif id(base) not in visited:
            visited.add(id(base))
            for name, place, value in _pairs(base, document, visited):
                if name not in seen:
                    seen[name] = place.line or 0
                    yield name, place, value


# --- Traefik's shape --------------------------------------------------------------------------------------------------


class _Plugin(NamedTuple):
    name: str
    place: Place
    options: list[tuple[str, Place, Node]]


def _gather(root: MappingNode, document: Document) -> None:
    """Puts the options of the top level, and of the one plugin block that is ours, into the document."""
    top = list(_pairs(root, document))
    sections = {name: node for name, _, node in top if name in ("http", "middlewares")}
    plugins = [
        each for each in _plugins(sections, document) if any(_is_pages_domain(name) for name, _, _ in each.options)
    ]
    taken = {name: place for name, place, _ in top if name not in sections}
    chosen: list[tuple[str, Place, Node]] = []
    if len(plugins) == 1:
        document.place = plugins[0].place
        chosen = plugins[0].options
    elif plugins:
        where = ", ".join(f"{shown_name(each.name)} in line {each.place.line}" for each in plugins)
        message = (
            f"{len(plugins)} plugin blocks have pagesDomain ({where}): keep one, or put each into a file of its own"
        )
        document.problems.append(Problem(plugins[1].place, "", message))
        chosen = plugins[0].options
    elif sections and not any(map(_is_pages_domain, taken)):
        place = next(place for name, place, _ in top if name in sections)
        message = "expected a plugin block with pagesDomain (http: middlewares: NAME: plugin: NAME: …), found none"
        document.problems.append(Problem(place, "", message))
        document.complete = False
    elif sections:
        document.warnings.append(
            f"{document.place}: no plugin block in here has pagesDomain, so only the top level counts"
        )
    for name, place, node in top:
        if name in sections:
            continue
        if sections and name in _TRAEFIK_SECTIONS:
            document.warnings.append(f"{place}: {name} is Traefik's own and has no effect here")
            continue
        document.given.append(Given(name, _value(node, document), place))
    for name, place, node in chosen:
        if name in taken:
            message = f"is given twice, also in line {taken[name].line}: keep one of the two"
            document.problems.append(Problem(place, shown_name(name), message))
        else:
            document.given.append(Given(name, _value(node, document), place))


def _is_pages_domain(name: str) -> bool:
    return re.sub("[-_]", "", name).lower() == "pagesdomain"


def _plugins(sections: Mapping[str, Node], document: Document) -> Iterator[_Plugin]:
    seen: set[int] = set()  # aliases may name one block many times
    tables = [("middlewares", sections["middlewares"])] if "middlewares" in sections else []
    if "http" in sections:
        tables += [
            (name, node) for name, _, node in _inside(sections["http"], "http", document) if name == "middlewares"
        ]
    for label, table in tables:
        for _, _, middleware in _inside(table, label, document):
            if not isinstance(middleware, MappingNode):
                continue
            for kind, _, plugin in _pairs(middleware, document):
                if kind != "plugin" or id(plugin) in seen:
                    continue
                seen.add(id(plugin))
                for name, place, block in _inside(plugin, kind, document):
                    if isinstance(block, MappingNode) and id(block) not in seen:
                        seen.add(id(block))
                        yield _Plugin(name, place, list(_pairs(block, document)))


def _inside(node: Node, name: str, document: Document) -> Iterator[tuple[str, Place, Node]]:
    if isinstance(node, MappingNode):
        yield from _pairs(node, document)
    else:
        place = _place(node, document.place)
        document.problems.append(Problem(place, name, "expected a mapping, as in Traefik's files"))


# --- words for messages -----------------------------------------------------------------------------------------------


def shown_name(text: str) -> str:
    """A name out of the file, fit for one line of a message."""
    return text if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", text) else repr(text[:60])


def shown_path(path: Path) -> str:
    """A path, fit for one line of a message."""
    return str(path) if str(path).isprintable() else repr(str(path))

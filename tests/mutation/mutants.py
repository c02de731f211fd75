# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What can be broken: every place in the rooms where an operator of cosmic-ray changes something, and every statement
that can be dropped, which cosmic-ray has no operator for.

A sample is drawn by place, and then one of the mutants there: cosmic-ray has eleven for each `+`, and most of them are
the same `TypeError`. Left out is what no test can notice because it is for readers and type checkers: annotations,
overloads, protocols, log lines, `if TYPE_CHECKING`; and `is` in the place of `==`, which is the same for what is one
object, and else an accident of the interpreter.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import random
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOMS: Final = (
    "addon/web",
    "addon/sites",
    "addon/access",
    "addon/domains",
    "addon/shared",
    "addon/lane",
    "addon/serving",
    "resp",
)
DROP: Final = "drop-statement"
SAME_OBJECT: Final = ("_Eq_Is", "_Is_Eq", "_NotEq_IsNot", "_IsNot_NotEq", "_Eq_IsNot", "_NotEq_Is")
LOGGERS: Final = frozenset({"log", "_log", "logger"})
FOR_READERS: Final = frozenset({"overload", "override", "final", "runtime_checkable"})
# What most nodes are, and no operator of cosmic-ray fits; and what those that it has most of fit alone. Each is asked
# about each node otherwise, which takes a minute.
PLAIN: Final = frozenset(
    {"name", "newline", "string", "trailer", "atom_expr", "arglist", "param", "simple_stmt", "suite"}
)
PUNCTUATION: Final = frozenset("()[]{},.:=")
FITTING: Final = {"BinaryOperator": ("operator",), "Comparison": ("comparison",)}

Place = tuple[int, int]
"""Line from 1, column from 0."""
Range = tuple[Place, Place]


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    line: int
    column: int
    operator: str
    occurrence: int
    """Which of the places in this file that the operator fits."""

    @property
    def room(self) -> str:
        return next(room for room in ROOMS if self.path.startswith(room + "/"))

    def applied(self, source: str) -> str | None:
        """The file with the change, or None where that is no other program."""
        if self.operator == DROP:
            changed = _dropped(source, self.occurrence)
        else:
            try:
                changed = _cosmic("mutating").mutate_code(source, _operator(self.operator), self.occurrence)
            except AttributeError:  # its replacer of exceptions, of `except (package.A, package.B)`
                return None
        try:
            if changed is None or ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                compile(changed, self.path, "exec")
        except (SyntaxError, SyntaxWarning):
            return None
        return changed


def difference(source: str, changed: str) -> tuple[str, str]:
    """The lines that a mutant changes, before and after."""
    old, new = source.splitlines(), changed.splitlines()
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return (
        "\n".join(line.strip() for line in old[start : len(old) - end]),
        "\n".join(line.strip() for line in new[start : len(new) - end]),
    )


def key(mutant: Mutant, source: str, changed: str) -> str:
    """Names a mutant so that it is found again when lines above its function move."""
    around = holders(ast.parse(source), mutant.line)
    below = mutant.line - around[-1].lineno if around else 0
    words = (mutant.path, mutant.operator, definition(source, mutant.line), str(below), *difference(source, changed))
    return hashlib.sha1("\0".join(words).encode()).hexdigest()[:12]


def definition(source: str, line: int) -> str:
    """The classes and functions around a line, joined by dots."""
    return ".".join(node.name for node in holders(ast.parse(source), line))


def holders(tree: ast.Module, line: int) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """The classes and functions around a line, outermost first; around a decorator's line is what it decorates."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) <= line
        and line <= (node.end_lineno or node.lineno)
    ]
    return sorted(found, key=lambda node: node.lineno)


def sources(root: Path) -> list[str]:
    """The files of the rooms."""
    return sorted(str(path.relative_to(root)) for room in ROOMS for path in (root / room).rglob("*.py"))


def mutants_of(root: Path, path: str) -> list[Mutant]:
    """All mutants of a file, as cosmic-ray lists them, less what only readers notice."""
    source = (root / path).read_text()
    skipped = _for_readers(source)
    found = [
        Mutant(path, place[0], place[1], name, occurrence)
        for name, occurrence, place in [*_by_cosmic_ray(source), *_droppable(source)]
        if not any(start <= place < end for start, end in skipped)
    ]
    return found


def sample(root: Path, seed: int, count: int) -> tuple[int, list[Mutant]]:
    """How many places there are, and `count` mutants, each at another place."""
    places: dict[tuple[str, int, int, bool], list[Mutant]] = defaultdict(list)
    for path in sources(root):
        for mutant in mutants_of(root, path):
            places[path, mutant.line, mutant.column, mutant.operator == DROP].append(mutant)
    order = random.Random(seed)
    drawn = sorted(places)
    order.shuffle(drawn)
    chosen: list[Mutant] = []
    for place in drawn:
        if len(chosen) == count:
            break
        there = places[place]
        order.shuffle(there)
        source = (root / place[0]).read_text()
        valid = next((mutant for mutant in there if mutant.applied(source) is not None), None)
        if valid is not None:
            chosen.append(valid)
    return len(places), chosen


def _cosmic(module: str) -> Any:
    return importlib.import_module(f"cosmic_ray.{module}")


def _operator(name: str) -> Any:
    return _cosmic("plugins").get_operator(name)()


def _by_cosmic_ray(source: str) -> Iterator[tuple[str, int, Place]]:
    """(operator, which of its places, where), in the order that `Mutant.applied` counts in."""
    syntax, plugins = _cosmic("ast"), _cosmic("plugins")
    nodes: dict[str, list[Any]] = defaultdict(list)
    for node in syntax.ast_nodes(syntax.get_ast(source)):
        if node.type not in PLAIN and getattr(node, "value", "") not in PUNCTUATION:
            nodes[node.type].append(node)
            nodes[""].append(node)
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments() or name.endswith(SAME_OBJECT):
            continue
        operator = kind()
        fitting = next((fits for begin, fits in FITTING.items() if begin in name), ("",))
        found = (
            (node, place) for fits in fitting for node in nodes[fits] for place in operator.mutation_positions(node)
        )
        # Counted with those that are no operators, as cosmic-ray counts them.
        for occurrence, (node, (start, _end)) in enumerate(found):
            if not _divides_parameters(node):
                yield name, occurrence, start


def _divides_parameters(node: Any) -> bool:
    """Whether this is a `*` or `/` that stands alone among parameters, which cosmic-ray takes for an operator."""
    following = node.get_next_leaf() if getattr(node, "value", "") in ("*", "/") else None
    return following is not None and following.value in (",", ")")


def _droppable_statements(tree: ast.Module) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.AugAssign() | ast.Delete():
                found.append(node)
            case ast.Return(value=None):
                found.append(node)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                found.append(node)
            case _:
                pass
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def _droppable(source: str) -> Iterator[tuple[str, int, Place]]:
    lines = source.splitlines()
    for occurrence, node in enumerate(_droppable_statements(ast.parse(source))):
        yield DROP, occurrence, (node.lineno, _characters(lines[node.lineno - 1], node.col_offset))


def _dropped(source: str, occurrence: int) -> str:
    node = _droppable_statements(ast.parse(source))[occurrence]
    lines = source.splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = lines[first].encode()[: node.col_offset].decode()
    after = lines[last].encode()[node.end_col_offset :].decode()
    return "".join([*lines[:first], before, "pass", after, *lines[last + 1 :]])


def _characters(line: str, offset: int) -> int:
    """`ast` counts columns in bytes of UTF-8, cosmic-ray in characters."""
    return len(line.encode()[:offset].decode())


def _name(node: ast.AST) -> str:
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _name(inner)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _for_readers(source: str) -> list[Range]:
    """Where a change is none for the program: annotations, overloads, protocols, log lines, types under a name."""
    lines = source.splitlines()
    tree = ast.parse(source)
    nodes: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.arg(annotation=ast.expr() as kind) | ast.AnnAssign(annotation=kind):
                nodes.append(kind)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if node.returns is not None:
                    nodes.append(node.returns)
                marks = [mark for mark in node.decorator_list if _name(mark) in FOR_READERS]
                nodes += [node] if any(_name(mark) == "overload" for mark in marks) else marks
                nodes += node.decorator_list if any(_name(mark) == "overload" for mark in marks) else []
            case ast.ClassDef():
                nodes += [mark for mark in node.decorator_list if _name(mark) in FOR_READERS]
                nodes += [node] if any(_name(base) == "Protocol" for base in node.bases) else []
                # mypy sees who writes to what is frozen.
                calls = [
                    mark for mark in node.decorator_list if isinstance(mark, ast.Call) and _name(mark) == "dataclass"
                ]
                nodes += [word.value for call in calls for word in call.keywords if word.arg in ("frozen", "slots")]
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                nodes.append(node)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in LOGGERS:
                nodes.append(node)
            case ast.Call(func=ast.Name(id="cast"), args=[kind, *_]):
                nodes.append(kind)
            case _:
                pass
    for statement in tree.body:
        match statement:
            # `Reply = bytes | int`: a type with a name.
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.isupper() and name[0].isupper():
                nodes += [] if any(isinstance(part, ast.Call) for part in ast.walk(value)) else [statement]
            case _:
                pass
    return [_range(node, lines) for node in nodes]


def _range(node: Any, lines: list[str]) -> Range:
    # A decorator's mutants stand at its "@", one column before.
    start = (node.lineno, max(0, _characters(lines[node.lineno - 1], node.col_offset) - 1))
    return start, (node.end_lineno, _characters(lines[node.end_lineno - 1], node.end_col_offset))

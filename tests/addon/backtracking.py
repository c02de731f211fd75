# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many steps a pattern takes: a backtracking matcher that counts, and texts that hurt a pattern, made from it.

Python's `re` backtracks, too, but does not tell how often; a clock would, and would tell something else on a busy
machine. This one runs what `re` parses, in the same order of choices, and counts every instruction. It knows what our
patterns use and raises on anything else, so that a pattern is never taken for harmless because it was not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Instruction = tuple[Any, ...]


class TooMany(Exception):
    """More steps than were allowed."""


def _category(code: Any, char: int) -> bool:
    text = chr(char)
    match str(code):
        case "CATEGORY_DIGIT":
            return text.isdecimal()
        case "CATEGORY_NOT_DIGIT":
            return not text.isdecimal()
        case "CATEGORY_SPACE":
            return text.isspace()
        case "CATEGORY_NOT_SPACE":
            return not text.isspace()
        case "CATEGORY_WORD":
            return text.isalnum() or text == "_"
        case "CATEGORY_NOT_WORD":
            return not (text.isalnum() or text == "_")
    raise NotImplementedError(code)


def _in(items: Any, char: int) -> bool:
    wanted = True
    for kind, value in items:
        if kind is c.NEGATE:
            wanted = False
        elif (
            (kind is c.LITERAL and char == value)
            or (kind is c.RANGE and value[0] <= char <= value[1])
            or (kind is c.CATEGORY and _category(value, char))
        ):
            return wanted
    return not wanted


class Counting:
    """A pattern that counts its steps."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self.tree = parser.parse(pattern.pattern, pattern.flags)
        self._flags = pattern.flags
        self._program: list[Instruction] = []
        self._registers = 0
        self._compile(self.tree)
        self._program.append(("match",))
        self.steps = 0
        self._most = 0

    # Steps.

    def search(self, text: list[int], most: int, *, full: bool = False) -> int:
        """Steps of all searches over a text, as `findall` makes them; raises TooMany."""
        self.steps, self._most = 0, most
        at = 0
        while at <= len(text):
            end = self._run(self._program, text, at, full)
            at = at + 1 if end is None or end == at else end
        return self.steps

    def match(self, text: list[int], most: int, *, full: bool = False) -> int:
        """Steps of one match at the beginning; raises TooMany."""
        self.steps, self._most = 0, most
        self._run(self._program, text, 0, full)
        return self.steps

    def _run(self, program: list[Instruction], text: list[int], at: int, full: bool) -> int | None:
        stack: list[tuple[int, int, tuple[Any, ...]] | None] = [(0, at, ())]
        while stack:
            state = stack.pop()
            if state is None:
                continue
            pc, pos, notes = state
            while True:
                self.steps += 1
                if self.steps > self._most:
                    raise TooMany
                op = program[pc]
                match op[0]:
                    case "char":
                        if pos >= len(text) or not op[1](text[pos]):
                            break
                        pos += 1
                    case "split":
                        stack.append((op[2], pos, notes))
                        pc = op[1]
                        continue
                    case "jump":
                        pc = op[1]
                        continue
                    case "at":
                        if not self._at(op[1], text, pos):
                            break
                    case "mark":
                        stack.append(None)
                    case "cut":
                        while stack.pop() is not None:
                            self.steps += 1
                    case "note":
                        notes = (*(note for note in notes if note[0] != op[1]), (op[1], pos))
                    case "moved":
                        if dict(notes).get(op[1]) == pos:
                            break
                    case "again":
                        known = dict(notes)
                        said = text[known[f"({op[1]}"] : known[f"){op[1]}"]]
                        if text[pos : pos + len(said)] != said:
                            break
                        pos += len(said)
                    case "look":
                        start = pos - op[3]
                        found = start >= 0 and self._run(op[1], text, start, False) is not None
                        if found is not op[2]:
                            break
                    case "match":
                        if full and pos != len(text):
                            break
                        return pos
                pc += 1
        return None

    def _at(self, code: str, text: list[int], pos: int) -> bool:
        match code:
            case "AT_BEGINNING" | "AT_BEGINNING_STRING":
                return pos == 0
            case "AT_END":
                return pos == len(text) or (pos == len(text) - 1 and text[pos] == 10)
            case "AT_END_STRING":
                return pos == len(text)
        raise NotImplementedError(code)

    # From what `re` parses to instructions.

    def _compile(self, nodes: Any) -> None:
        for kind, value in nodes:
            self._one(kind, value)

    def _apart(self, nodes: Any) -> list[Instruction]:
        outer, self._program = self._program, []
        self._compile(nodes)
        self._program.append(("match",))
        inner, self._program = self._program, outer
        return inner

    def _char(self, accepts: Callable[[int], bool]) -> None:
        if self._flags & re.IGNORECASE:
            plain = accepts
            accepts = lambda char: plain(char) or plain(ord(chr(char).swapcase()[0]))  # noqa: E731
        self._program.append(("char", cache(accepts)))  # a text has few letters, and many of each

    def _one(self, kind: Any, value: Any) -> None:
        program = self._program
        match str(kind):
            case "LITERAL":
                self._char(lambda char: char == value)
            case "NOT_LITERAL":
                self._char(lambda char: char != value)
            case "ANY":
                self._char(lambda char: bool(self._flags & re.DOTALL) or char != 10)
            case "IN":
                self._char(lambda char: _in(value, char))
            case "AT":
                program.append(("at", str(value)))
            case "SUBPATTERN":
                group, _, _, nodes = value
                program.append(("note", f"({group}"))
                self._compile(nodes)
                program.append(("note", f"){group}"))
            case "GROUPREF":
                program.append(("again", value))
            case "BRANCH":
                ends = []
                for branch in value[1][:-1]:
                    at = len(program)
                    program.append(())
                    self._compile(branch)
                    ends.append(len(program))
                    program.append(())
                    program[at] = ("split", at + 1, len(program))
                self._compile(value[1][-1])
                for end in ends:
                    program[end] = ("jump", len(program))
            case "ASSERT" | "ASSERT_NOT":
                direction, nodes = value
                back = nodes.getwidth()[0] if direction < 0 else 0
                program.append(("look", self._apart(nodes), str(kind) == "ASSERT", back))
            case "ATOMIC_GROUP":
                program.append(("mark",))
                self._compile(value)
                program.append(("cut",))
            case "POSSESSIVE_REPEAT":
                program.append(("mark",))
                self._repeat(*value, greedy=True)
                program.append(("cut",))
            case "MAX_REPEAT" | "MIN_REPEAT":
                self._repeat(*value, greedy=str(kind) == "MAX_REPEAT")
            case _:
                raise NotImplementedError(kind)

    def _repeat(self, least: int, most: Any, nodes: Any, *, greedy: bool) -> None:
        program = self._program
        for _ in range(least):
            self._compile(nodes)
        if most is not c.MAXREPEAT:
            skips = []
            for _ in range(most - least):
                skips.append(len(program))
                program.append(())
                self._compile(nodes)
            for at in skips:
                program[at] = ("split", at + 1, len(program)) if greedy else ("split", len(program), at + 1)
            return
        at = len(program)
        program.append(())
        if nodes.getwidth()[0] == 0:
            self._registers += 1
            register = self._registers
            program.append(("note", register))
            self._compile(nodes)
            program.append(("moved", register))
        else:
            self._compile(nodes)
        program.append(("jump", at))
        program[at] = ("split", at + 1, len(program)) if greedy else ("split", len(program), at + 1)


# --- texts that hurt --------------------------------------------------------------------------------------------------

_SUFFIXES = ("", "\0", " x y", ",", '"')


def cruel(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], list[int]]]:
    """Texts by their length: for each repetition in a pattern, what leads to it, what it repeats, and a bad end."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    letters = sorted({char for char in _letters(tree) if char < 256} | set(map(ord, ' a0"\\,')))
    seen: set[tuple[str, str, str]] = set()
    for lead, body in _repeats(tree, ""):
        pumps = {chr(char) for char in letters if _accepts(body, char)} | set(_samples(body))
        pumps |= {lead + pump for pump in list(pumps)[:8]} if lead else set()
        for pump in sorted(pumps):
            for before in {lead, ""}:
                for after in _SUFFIXES:
                    if pump and (before, pump, after) not in seen:
                        seen.add((before, pump, after))
                        yield _text(before, pump, after)


def _text(lead: str, pump: str, suffix: str) -> Callable[[int], list[int]]:
    return lambda length: list(map(ord, lead + pump * (length // len(pump)) + suffix))


def _letters(nodes: Any) -> Iterator[int]:
    for kind, value in nodes:
        match str(kind):
            case "LITERAL" | "NOT_LITERAL":
                yield value
            case "IN":
                for item, what in value:
                    if item is c.LITERAL:
                        yield what
                    elif item is c.RANGE:
                        yield what[0]
            case _:
                for inner in _inside(kind, value):
                    yield from _letters(inner)


def _inside(kind: Any, value: Any) -> list[Any]:
    match str(kind):
        case "SUBPATTERN":
            return [value[3]]
        case "BRANCH":
            return list(value[1])
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
        case "ATOMIC_GROUP":
            return [value]
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
    return []


def _repeats(nodes: Any, lead: str) -> Iterator[tuple[str, Any]]:
    """Each repetition with a text that leads to it."""
    for kind, value in nodes:
        for inner in _inside(kind, value):
            yield from _repeats(inner, lead)
        if str(kind).endswith("_REPEAT"):
            yield lead, value[2]
        lead += next(iter(_samples([(kind, value)])), "")


def _accepts(nodes: Any, char: int) -> bool:
    """Whether a single character is one round of a repetition."""
    counting = object.__new__(Counting)
    counting._flags, counting._program, counting._registers = 0, [], 0
    counting._compile(nodes)
    counting._program.append(("match",))
    counting.steps, counting._most = 0, 10_000
    return counting._run(counting._program, [char], 0, True) is not None


def _samples(nodes: Any) -> list[str]:
    """A few short texts that nodes match."""
    texts = [""]
    for kind, value in nodes:
        match str(kind):
            case "LITERAL":
                ways = [chr(value)]
            case "NOT_LITERAL" | "ANY":
                ways = ["a" if value != ord("a") else "b"]
            case "IN":
                ways = [next(chr(char) for char in (97, 48, 32, 45, *range(256), 0x200C, 0xDC80) if _in(value, char))]
            case "BRANCH":
                ways = [text for branch in value[1] for text in _samples(branch)][:6]
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                ways = [text * min(max(value[0], 1), 100) for text in _samples(value[2])[:2]]
            case "SUBPATTERN":
                ways = _samples(value[3])
            case "ATOMIC_GROUP":
                ways = _samples(value)
            case _:
                ways = [""]
        texts = [text + way for text in texts for way in ways][:6]
    return texts

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The table of errors is held against the code: each text is one of the code, and none that people meet is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from addon.templates.error_messages import BY_MESSAGE, BY_STATUS

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "config" / "guides" / "errors.md"
DOTS = "…"
_PLACE = re.compile(r"%(?:\([a-z]+\))?[-0-9.]*[sdrgfi]")
PASSED_ON = {"%s", "%s: %s", "%s/%s: %s", "%s/%s: %s: %s"}
"""What says nothing by itself: the text comes from elsewhere."""

NO_ERRORS = {"You are logged out", "Nothing has to be loaded here"}


class Row(NamedTuple):
    where: str
    text: str
    meaning: str
    remedy: str


@cache
def rows() -> tuple[Row, ...]:
    lines = [line for line in GUIDE.read_text().splitlines() if line.startswith("| ")]
    return tuple(Row(*(cell.strip() for cell in line.strip("|").split(" | "))) for line in lines[1:])


def literals(node: ast.AST) -> str:
    """A text as the guide writes it: what differs is `…`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _PLACE.sub(DOTS, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literals(part) if isinstance(part, ast.Constant) else DOTS for part in node.values)
    return DOTS


@cache
def nodes() -> dict[Path, tuple[ast.AST, ...]]:
    """The code, file by file: what says something, and what is said."""
    kinds = (ast.Constant, ast.JoinedStr, ast.Call)
    return {
        file.relative_to(ROOT): tuple(node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds))
        for file in sorted((ROOT / "addon").rglob("*.py"))
    }


@cache
def texts() -> tuple[str, ...]:
    """All texts of the code."""
    said = (node for each in nodes().values() for node in each if not isinstance(node, ast.Call))
    return tuple(text for node in said if len(text := literals(node)) > 1)


def said_at(level: str) -> Iterator[str]:
    """What the code says at a level of the log, but for the commands and the preview."""
    for file, each in nodes().items():
        if file.parts[1] in ("commands", "preview"):
            continue
        for node in each:
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            logger = node.func.value
            if node.func.attr == level and isinstance(logger, ast.Name) and logger.id == "logger":
                first = node.args[0]
                if isinstance(first, ast.Constant) and first.value not in PASSED_ON:
                    yield literals(first)


def given_titles() -> set[str]:
    """Those of pages that have words of their own."""
    tree = ast.parse((ROOT / "addon" / "templates" / "__init__.py").read_text())
    keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "title")
    return {literals(each.value) for each in keywords if isinstance(each.value, ast.Constant) and each.value.value}


def test_each_row_says_what_it_means_and_what_to_do() -> None:
    assert len(rows()) > 50
    for row in rows():
        assert re.fullmatch(r"log|(page|delivery) \d{3}( or \d{3})?", row.where), row
        assert len(row.meaning) > 5, row
        assert len(row.remedy) > 5, row


def test_each_text_is_one_of_the_codes() -> None:
    wrong = []
    for row in rows():
        if not any(text.startswith(row.text.rstrip(DOTS)) for text in texts() if text):
            parts = [part for part in row.text.split(DOTS) if part.strip()]
            if not any(all(part in text for part in parts) for text in texts()):
                wrong.append(row.text)
    assert not wrong, wrong


def test_no_page_and_no_error_of_the_log_is_missing() -> None:
    known = [row.text for row in rows()]
    titles = {wording.title for wording in (*BY_STATUS.values(), *BY_MESSAGE.values())}
    missing = [title for title in (titles | given_titles()) - NO_ERRORS if title not in known]
    starts = [text.rstrip(DOTS) for text in known]
    told = list(said_at("error"))
    assert len(told) > 15
    missing += [said for said in told if not any(said.startswith(start) for start in starts if start)]
    assert not missing, missing


def test_the_status_of_a_page_is_the_one_that_has_its_words() -> None:
    for status, wording in BY_STATUS.items():
        (row,) = [row for row in rows() if row.text == wording.title]
        assert str(status) in row.where, row

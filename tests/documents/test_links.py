# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Every link of our Markdown leads somewhere, and a long guide's table of contents names all of it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("*.md", ".forgejo/**/*.md", "addon/**/*.md", "config/**/*.md", "resp/**/*.md", "tests/**/*.md")
DOCUMENTS = sorted(
    path
    for place in PLACES
    for path in ROOT.glob(place)
    if not path.is_relative_to(ROOT / "addon" / "preview" / "example")
)
GUIDES = [path for path in DOCUMENTS if re.search(r"^- \[", path.read_text(encoding="utf-8"), re.M)]


def prose(path: Path) -> str:
    """The text without its blocks of code, in which nothing is a heading or a link."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchor(heading: str) -> str:
    """How GitHub and Forgejo call a heading: lower case, hyphens for spaces, no other punctuation."""
    shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown).strip().lower().replace(" ", "-")


def headings(path: Path) -> list[tuple[int, str]]:
    return [(len(level), text) for level, text in re.findall(r"^(#+) (.+)$", prose(path), re.M)]


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(path)))


def broken(path: Path) -> list[str]:
    found = []
    for link in links(path):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, fragment = link.partition("#")
        target = (path.parent / unquote(place)).resolve() if place else path
        if not target.exists() or not target.is_relative_to(ROOT):
            found.append(f"{link}: no such file")
        elif fragment and fragment not in {anchor(text) for _, text in headings(target)}:
            found.append(f"{link}: no such heading")
    return found


def test_our_documents_are_found() -> None:
    assert {"README.md", "config/guides/operators.md", "addon/README.md", ".forgejo/SECURITY.md"} <= {
        path.relative_to(ROOT).as_posix() for path in DOCUMENTS
    }
    assert sum(len(links(path)) for path in DOCUMENTS) > 100


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_or_heading_that_is_there(path: Path) -> None:
    assert broken(path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](no-such.md)", "no-such.md: no such file"),
        ("[a](README.md#no-such)", "README.md#no-such: no such heading"),
        ("[`a`](../../../../etc/passwd)", "../../../../etc/passwd: no such file"),
        ("# A b: `c`\n[a](#a-b-c) [`x`](README.md#read-on) `[a](b)` [a](https://example.org/b)", ""),
    ],
)
def test_a_link_that_leads_nowhere_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    monkeypatch.setattr("tests.documents.test_links.ROOT", tmp_path)
    (tmp_path / "README.md").write_text("## Read on\n")
    (tmp_path / "x.md").write_text(text)
    assert ", ".join(broken(tmp_path / "x.md")) == said


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_table_of_contents_names_every_heading_in_order(path: Path) -> None:
    contents = re.findall(r"^ *- \[[^]]*\]\(#([^)]*)\)$", prose(path).partition("\n## ")[0], re.M)
    if contents:
        assert contents == [anchor(text) for level, text in headings(path) if level > 1]

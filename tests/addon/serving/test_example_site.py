# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The bundled example site: the first thing that a new user sees must not hold a dead link or a wrong claim."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import addon

EXAMPLE = Path(addon.__file__).parent / "preview" / "example"
PUBLIC = EXAMPLE / "public"
PAGES = sorted(page.relative_to(PUBLIC).as_posix() for page in PUBLIC.rglob("*.html"))


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def links(page: str) -> list[str]:
    reader = Links()
    reader.feed((PUBLIC / page).read_text("utf-8"))
    return reader.found


def served(path: str) -> Path | None:
    """What the rules of addresses make of a path of the site (`/publish/`, `/about`), without a server."""
    file = PUBLIC / unquote(path).strip("/")
    if path.endswith("/"):
        return file if file.is_dir() else None
    return next((found for found in (file, file.with_name(f"{file.name}.html")) if found.is_file()), None)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("prefix", ["/", "/example/"])
def test_every_link_leads_to_a_file_of_the_site_wherever_the_site_stands(page: str, prefix: str) -> None:
    here = f"http://x.pages.localhost{prefix}{page.removesuffix('index.html')}"
    for link in links(page):
        target = urlsplit(urljoin(here, link))
        assert target.netloc == "x.pages.localhost", link
        assert target.path.startswith(prefix), link
        path = "/" + target.path.removeprefix(prefix)
        assert (served(path) is None) == (link == "no-such-page"), link


def test_the_page_for_what_is_missing_depends_on_nothing_beside_it() -> None:
    assert links("404.html") == []


def test_the_example_has_what_it_says_it_shows() -> None:
    assert not (PUBLIC / "files" / "index.html").exists()
    assert "directory_index: true" in (EXAMPLE / ".pages").read_text().splitlines()
    assert (PUBLIC / "files/newest.txt").read_bytes() == (PUBLIC / "files/notes 10.txt").read_bytes()
    assert (PUBLIC / "answers/add.wasm").read_bytes().startswith(b"\0asm\x01\0\0\0")
    assert (PUBLIC / "hills.webp").read_bytes()[8:12] == b"WEBP"
    assert 80_000 < (PUBLIC / "numbers.txt").stat().st_size < 90_000
    manifest = json.loads((PUBLIC / "site.webmanifest").read_text())
    assert all((PUBLIC / icon["src"]).is_file() for icon in manifest["icons"])

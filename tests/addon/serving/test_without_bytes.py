# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is answered without the bytes of a file, because its site says enough; and what is not."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from addon.preview.forge import Forge
from addon.serving.answers import ERROR_PAGE_PATIENCE, Answer, Need, reason_of
from addon.serving.error_pages import _why_nothing
from addon.serving.files import MissingObject
from addon.serving.site_rules import SiteRules
from addon.sites.findings import Finding
from addon.sites.pages_file import PagesFile
from addon.sites.redirect_table import Ruled
from addon.sites.site import File, files_below
from addon.sites.site import Site as KnownSite
from addon.sites.tree import Entry
from addon.web.prepared_answers import NOTHING
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import ENABLED, serving

FILES = {
    ".pages": ENABLED,
    "public/index.html": b"<p>index",
    "public/a.css": b"a{}" * 500,
    "public/picture.png": b"\x89PNG" + bytes(900),
    "public/plain": b"no ending",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Site(tmp_path / "alice" / "blog.git", FILES)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "method", "fields", "status", "calls"),
    [
        ("a.css", "HEAD", {}, 200, 0),
        ("a.css", "GET", {"if_none_match": "*"}, 304, 0),
        ("a.css", "GET", {"if_match": '"another"'}, 412, 0),
        ("a.css", "GET", {"if_modified_since": "Sat, 28 Nov 2099 12:00:00 GMT"}, 200, 1),
        ("a.css", "GET", {"if_unmodified_since": "Sat, 28 Nov 1999 12:00:00 GMT"}, 412, 0),
        ("a.css", "GET", {}, 200, 1),
        ("a.css", "GET", {"if_none_match": '"another"'}, 200, 1),
        ("picture.png", "HEAD", {}, 200, 0),
        ("picture.png", "GET", {"range": "bytes=5000-"}, 416, 0),
        ("picture.png", "GET", {"range": "bytes=0-3"}, 206, 1),
        ("plain", "HEAD", {}, 200, 1),  # its type is seen in its first bytes
    ],
)
async def test_bytes_are_fetched_only_where_they_are_sent(
    forge: Forge, path: str, method: str, fields: dict[str, str], status: int, calls: int
) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/missing")).status == 404  # the site is known
        pages.asked()
        reply = await pages.get("alice", f"/blog/{path}", method, **fields)
        assert (reply.status, len(pages.asked())) == (status, calls)
        again = await pages.get("alice", f"/blog/{path}", method, **fields)
        assert (again.status, len(pages.asked()), again.recalled) == (status, 0, True)


def test_each_status_has_one_reason() -> None:
    statuses: dict[str, list[int]] = {}
    for status in range(400, 600):
        statuses.setdefault(reason_of(status, NOTHING), []).append(status)
    del statuses["other"]
    assert statuses == {
        "request": [400, 408],
        "login": [401],
        "forbidden": [403],
        "no file": [404],
        "method": [405, 501],
        "gone": [410],
        "condition": [412, 416],
        "too large": [413, 414, 431],
        "wrong server": [421],
        "guesses": [429],
        "client left": [499],
        "fault": [500],
        "forgejo": [502, 504],
        "busy": [503],
        "loop": [508],
    }


def test_an_answer_is_for_everybody_unless_it_says_so() -> None:
    answer = Answer(200, [])
    assert (answer.locked, answer.cache, answer.stream, answer.length, answer.basis) == (False, "", None, 0, None)


def test_nobody_waits_longer_than_two_seconds_for_a_page_of_an_error() -> None:
    need = Need(("x",), lambda: None)  # type: ignore[arg-type,return-value]
    soon = SiteRules._soon(None, need, 404)  # type: ignore[arg-type]
    assert isinstance(soon, Need)
    assert (need.patience, soon.patience, ERROR_PAGE_PATIENCE) == (None, 2.0, 2.0)
    page = Answer(404, [])
    assert SiteRules._soon(None, page, 404) is page  # type: ignore[arg-type]
    assert SiteRules._soon(None, page, 410) == 410  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "patience"), [(200, None), (404, 2.0), (410, 2.0)])
def test_a_page_that_a_rule_shows_is_waited_for_as_any_and_one_for_an_error_is_not(
    status: int, patience: float | None
) -> None:
    need = Need(("x",), lambda: None)  # type: ignore[arg-type,return-value]
    file = File("page.html", Entry("a" * 40, 1, 0o100644))
    site = SimpleNamespace(outcome=lambda segments, slash: file)
    at = SimpleNamespace(entered=SimpleNamespace(site=site))
    rules = SimpleNamespace(_page=lambda *_, depends: need, _soon=partial(SiteRules._soon, None))  # type: ignore[arg-type]  # it looks at nothing of it
    answer = SiteRules._shown(rules, at, Ruled(1, status, False, "/page.html"))  # type: ignore[arg-type]
    assert isinstance(answer, Need)
    assert answer.patience == patience


@pytest.mark.parametrize(
    ("prefix", "notes", "says"),
    [
        ("public/", (), "This repository has no files below `public/`: that folder is what is served."),
        ("", (), "This repository has no files: they are what is served."),
        ("public/", (Finding("public/", None, "it is a link", "write it out"),), "It is a link. Write it out."),
        (
            "public/",
            (Finding("_redirects", 1, "a", "b"), Finding("public/", None, "c d", "e f")),
            "C d. E f.",
        ),
    ],
)
def test_a_site_without_files_says_why(prefix: str, notes: tuple[Finding, ...], says: str) -> None:
    site = KnownSite("a", "b", "c" * 40, 1.0, PagesFile(), files_below([]), prefix=prefix, notes=notes)
    assert _why_nothing(site) == says


def test_a_pointer_without_its_object_is_told_to_the_operator_in_words() -> None:
    assert "Git LFS" in str(MissingObject("push it"))

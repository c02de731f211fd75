# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `explain` says of an address is what a visitor gets there, over a table of addresses; and its steps say why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from addon.admin.explain import Asked, NoAddress, described, request_of
from addon.preview.forge import Forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import PAGES_DOMAIN, Serving, serving, start_forge

HASH = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
RULES = b"/old /new\n/moved/* /dir/:splat 302\n/shown /about.html 200\n/a /a 301\n/lost /nothing.html 410\n"
HEADERS = b"/*\n  X-All: yes\n/style.css\n  Cache-Control: public, max-age=9\n"
BLOG: dict[str, Any] = {
    ".pages": b"enabled: true\n",
    "public/index.html": b"<h1>Home</h1>",
    "public/about.html": b"<h1>About</h1>",
    "public/style.css": b"h1 { color: teal }\n" * 100,
    "public/dir/index.html": b"in a folder",
    "public/empty/x.txt": b"x",
    "public/_redirects": RULES,
    "public/_headers": HEADERS,
    "public/404.html": b"not here",
}


class Case(NamedTuple):
    """An address, the status there, and what some step has to say."""

    url: str
    status: int
    says: str
    headers: tuple[str, ...] = ()


CASES = [
    Case("https://alice.pages.test/blog/", 200, "the file public/index.html"),
    Case("https://alice.pages.test/blog", 301, "/blog/ names the repository"),
    Case("https://alice.pages.test/blog/about", 200, "the file public/about.html"),
    Case("https://alice.pages.test/blog/dir", 301, "is a folder, at another address"),
    Case("https://alice.pages.test/blog/empty/", 404, "empty/, a folder"),
    Case("https://alice.pages.test/blog/style.css", 200, "public/style.css: blob", ("Accept-Encoding: gzip",)),
    Case("https://alice.pages.test/blog/style.css", 206, "1,900 bytes", ("Range: bytes=0-9",)),
    Case("https://alice.pages.test/blog/missing", 404, "missing.html, no file"),
    Case("https://alice.pages.test/blog/missing", 404, "the site's own 404.html"),
    Case("https://alice.pages.test/blog/old", 301, "_redirects, line 1: 301 to /new: applied"),
    Case("https://alice.pages.test/blog/moved/x?y=1", 302, "_redirects, line 2"),
    Case("https://alice.pages.test/blog/shown", 200, "_redirects, line 3"),
    Case("https://alice.pages.test/blog/a", 404, "passed over, for it leads to itself"),
    Case("https://alice.pages.test/blog/lost", 410, "_redirects, line 5"),
    Case("https://alice.pages.test/blog//x", 301, "not in its clean form"),
    Case("https://alice.pages.test/blog/%2e%2e/%2e%2e", 400, "leads above the root"),
    Case("https://alice.pages.test/nothing/", 404, "no such repository"),
    Case("https://alice.pages.test/code/", 404, "no .pages file"),
    Case("https://alice.pages.test/broken/", 500, "its .pages file cannot be read"),
    Case("https://alice.pages.test/members/", 401, "a password, by .pages"),
    Case("https://alice.pages.test/app/users/7", 200, "`spa: true` in .pages: index.html for what is missing"),
    Case("https://alice.pages.test/closed/", 403, "nobody may pass: password: expected the hash"),
    Case("https://alice.pages.test/.pages/logout", 200, "this server's own, on every host"),
    Case("https://nobody.pages.test/", 404, "nobody/.profile: not served"),
    Case("https://pages.test/", 200, "this server's own page for the pages domain"),
    Case("https://pages.test/x", 404, "the pages domain itself"),
    Case("https://stranger.example/", 404, "nobody has registered stranger.example"),
    Case("https://stranger.example/", 404, "nobody has registered www.stranger.example"),
]


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("forge")
    Site(root / "alice" / "blog.git", BLOG)
    Site(root / "alice" / "code.git", {"main.c": b"int x;"})
    Site(root / "alice" / "broken.git", {".pages": b"enabled: [\n", "public/index.html": b"x"})
    Site(root / "alice" / "members.git", {".pages": f"password: {HASH}\n".encode(), "public/index.html": b"private"})
    Site(root / "alice" / "app.git", {".pages": b"spa: true\n", "public/index.html": b"app"})
    Site(root / "alice" / "closed.git", {".pages": b"password: secret\n", "public/index.html": b"private"})
    with start_forge(root) as running:
        yield running


@pytest.fixture
async def pages(forge: Forge) -> AsyncIterator[Serving]:
    async with serving(forge, enableCustomDomains=True) as running:
        yield running


async def told(pages: Serving, url: str, *headers: str, method: str = "GET") -> dict[str, Any]:
    return described(await pages.server.explained(request_of(Asked(url, method, headers))))


async def test_what_is_explained_is_what_a_visitor_gets(pages: Serving) -> None:
    wrong = []
    for case in CASES:
        request = request_of(Asked(case.url, "GET", case.headers))
        for _ in range(2):  # until nothing has to be fetched
            await pages.server.answer(request)
        visited = await pages.server.answer(request)
        explained = await told(pages, case.url, *case.headers)
        got = [(name.decode(), value.decode()) for name, value in visited.headers if name != b"Set-Cookie"]
        shown = [(each["name"], each["value"]) for each in explained["headers"] if each["name"] != "Set-Cookie"]
        said = "\n".join(step["says"] for step in explained["steps"])
        if (explained["status"], shown) != (visited.status, got) or visited.status != case.status:
            wrong.append(f"{case.url}: {visited.status} {got}, explained as {explained['status']} {shown}")
        elif case.says not in said:
            wrong.append(f"{case.url}: nothing says {case.says!r}:\n{said}")
    assert not wrong, "\n".join(wrong)


async def test_who_is_not_let_in_did_not_pass(pages: Serving) -> None:
    for place, status, passed in (("members/", 401, [False]), ("closed/", 403, [False]), (".pages/logout", 200, [])):
        await told(pages, f"https://alice.pages.test/{place}")
        found = await told(pages, f"https://alice.pages.test/{place}")
        steps = [step["passed"] for step in found["steps"] if step["step"] == "visitor"]
        assert (found["status"], steps) == (status, passed), place


async def test_it_says_whom_it_had_asked_and_nobody_the_second_time(pages: Serving) -> None:
    first = await told(pages, "https://alice.pages.test/blog/")
    kinds = [each["what"].partition(":")[0] for each in first["asked"]]
    assert kinds[:1] == ["repository"]
    assert "tree" in kinds
    assert all(each["came_to"] == "200" and each["ms"] > 0 for each in first["asked"])
    assert first["fetched"]
    second = await told(pages, "https://alice.pages.test/blog/")
    assert (second["asked"], second["fetched"]) == ([], [])
    assert first["status"] == second["status"] == 200


async def test_a_header_says_which_rule_it_comes_from(pages: Serving) -> None:
    await told(pages, "https://alice.pages.test/blog/style.css", "Accept-Encoding: gzip")
    found = await told(pages, "https://alice.pages.test/blog/style.css", "Accept-Encoding: gzip")
    by = {each["name"]: each["by"] for each in found["headers"]}
    assert by["X-All"] == "_headers, line 1"
    assert by["Cache-Control"] == "_headers, line 3"
    assert by["Content-Type"] == "this server"
    (repository,) = [step for step in found["steps"] if step["step"] == "repository" and step["commit"]]
    assert (repository["called_now"], repository["public"]) == ("alice/blog", True)
    (file,) = [step for step in found["steps"] if step["step"] == "file"]
    assert file["in_memory"] is True
    assert "gzip" in file["encodings_in_memory"]


async def test_stale_and_aging_are_said_with_the_reason(pages: Serving, forge: Forge) -> None:
    await told(pages, "https://alice.pages.test/blog/")
    pages.clock.pass_(pages.settings.cache_ttl + 1)
    with forge.fault(status=503):
        found = await told(pages, "https://alice.pages.test/blog/")
        await pages.settle()
        stale = await told(pages, "https://alice.pages.test/blog/")
    (repository,) = [step for step in found["steps"] if step["step"] == "repository" and step["commit"]]
    assert repository["freshness"] == "aging"
    assert repository["age_seconds"] == pages.settings.cache_ttl + 1
    (repository,) = [step for step in stale["steps"] if step["step"] == "repository" and step["commit"]]
    assert repository["stale_because"]
    assert {"name": "X-Cache-Status", "value": "STALE", "by": "whether Forgejo had to be asked"} in stale["headers"]


async def test_to_ask_is_no_visit(pages: Serving) -> None:
    visits: list[object] = []

    def visited(lookup: object) -> bool:
        visits.append(lookup)
        return False

    pages.server.visited = visited
    await told(pages, "https://alice.pages.test/blog/")
    assert visits == []
    await pages.get("alice", "/blog/")
    assert visits


async def test_no_secret_is_told(pages: Serving) -> None:
    found = await told(
        pages, "https://alice.pages.test/members/", "Cookie: session=abc", "Authorization: Basic YTpzZQ=="
    )
    assert found["status"] == 401
    text = repr(found)
    assert HASH not in text
    assert "session=abc" not in text
    assert "YTpzZQ" not in text


async def test_forgejos_own_host_is_said_to_be_passed_through(forge: Forge) -> None:
    async with serving(forge, forgejoPublicHost="git.test") as pages:
        found = await told(pages, "https://git.test/alice/blog")
        assert (found["status"], found["steps"][0]["rule"]) == (None, "forgejo")


async def test_forgejo_sees_the_trace_of_who_asks_if_it_has_the_right_form(forge: Forge) -> None:
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    for sent, seen in ((trace, trace), (trace + "\x00", None), ("x" * 55, None)):
        async with serving(forge) as pages:
            await pages.get("alice", "/blog/", traceparent=sent)
            assert {call.headers.get("traceparent") for call in list(forge.calls)} == {seen}


async def test_many_at_once_do_not_mix_their_steps(pages: Serving) -> None:
    urls = [case.url for case in CASES]
    found = await asyncio.gather(*(told(pages, url) for url in urls))
    alone = [await told(pages, url) for url in urls]
    assert [each["status"] for each in found] == [each["status"] for each in alone]


WRONG = ["", "ftp://x.example/", "https://", "https://[::1", "https://a b/", "x" * 9000, "https://x..y/"]


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(NoAddress):
        request_of(Asked(url))


def test_an_address_is_read_as_a_browser_does() -> None:
    request = request_of(Asked(f"alice.{PAGES_DOMAIN}/blög/a b?q=ä#x"))
    assert (request.host, request.path, request.query) == (f"alice.{PAGES_DOMAIN}", "/bl%C3%B6g/a%20b", "q=%C3%A4")
    assert (request.tls, request.visitor().secure) == (True, True)
    assert request_of(Asked("http://u:p@x.example")).host == "x.example"
    with pytest.raises(NoAddress):
        request_of(Asked("https://x.example", "POST"))
    with pytest.raises(NoAddress):
        request_of(Asked("https://x.example", headers=("nonsense",)))

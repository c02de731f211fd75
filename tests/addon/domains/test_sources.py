# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where a site's files are, and which of its addresses is the right one: folders, branches, layouts of other servers.

In front of a real forge, over memory and over Valkey, with the registry of domains at work.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from addon.serving.answers import Answer, Request
from addon.web.forwarding import Visitor
from tests.addon.domains.registering import MakeProxy, Owners, Proxy
from tests.addon.preview.sites import Site
from tests.resp.servers import Server
from tests.waiting import becomes

HOME = b"<h1>Home</h1>"
PASSWORD = hashlib.sha256(b"letmein").hexdigest()


@pytest.fixture(params=["memory", "redis"])
def server(request: pytest.FixtureRequest) -> Server | None:
    """None, or an empty Valkey."""
    if request.param == "memory":
        return None
    own: Server = request.getfixturevalue("own_redis")
    return own


def make(owners: Owners, name: str, files: dict[str, bytes], **branches: dict[str, bytes]) -> Site:
    site = owners.open[name] = Site(owners.folder / f"{name}.git", files)
    for branch, there in branches.items():
        site.commit(there, branch=branch.replace("_", "-"))
    return site


async def answer(node: Proxy, host: str, target: str, *, secure: bool = True, method: str = "GET") -> Answer:
    path, mark, query = target.partition("?")
    name = host if "." in host else f"{host}.pages.test"
    visitor = Visitor("192.0.2.7", secure)
    return await node.server.answer(
        Request(method, name, path, query if mark else None, lambda _: None, lambda: visitor)
    )


async def told(node: Proxy, host: str, target: str, *, secure: bool = True) -> str:
    """Status, and where to or what."""
    found = await answer(node, host, target, secure=secure)
    where = dict(found.headers).get(b"Location")
    return f"{found.status} {where.decode() if where else found.body.decode()[:40]}"


async def comes_to(node: Proxy, target: str, expected: str, within: bytes = b"") -> None:
    """What alice's host comes to show after a push, whoever is told of it when."""
    await node.library.purge(("alice", "blog"))

    async def shown() -> str:
        found = await answer(node, "alice", target)
        text = f"{found.status} {found.body.decode()[:40]}"
        return expected if text.startswith(expected) and within in found.body else text

    await becomes(shown, expected)


def header(found: Answer, name: str) -> str | None:
    return {key.decode().lower(): value.decode() for key, value in found.headers}.get(name)


async def test_root_names_the_folder_that_is_served(proxy: MakeProxy, owners: Owners, server: Server | None) -> None:
    files = {"docs/index.html": HOME, "docs/_redirects": b"/a /b", "docs/x/y.txt": b"y", "src/x.txt": b"secret"}
    site = make(owners, "alice/blog", {**files, ".pages": b"root: docs\n", "public/index.html": b"public"})
    for node in (proxy(server), proxy(server)):  # the second finds it in Redis
        assert await told(node, "alice", "/blog/") == f"200 {HOME.decode()}"
        assert await told(node, "alice", "/blog/x/y.txt") == "200 y"
        assert await told(node, "alice", "/blog/a") == "301 /blog/b"
        for path in ("src/x.txt", "docs/index.html", ".pages", "_redirects"):
            assert (await answer(node, "alice", f"/blog/{path}")).status == 404, path
        if server is not None:
            await node.settled()
    site.commit({".pages": b"root: docs/x\n"})
    node = proxy(server)
    await comes_to(node, "/blog/y.txt", "200 y")


async def test_a_whole_repository_shows_nothing_that_governs_it(
    proxy: MakeProxy, owners: Owners, server: Server | None
) -> None:
    hidden = (".pages", ".domains", ".redirects", ".gitignore", ".gitattributes", ".forgejo/workflows/x.yml")
    files = dict.fromkeys((*hidden, "_redirects", "_headers", ".github/x"), b"hidden: x\n")
    make(owners, "alice/blog", {**files, ".pages": b"root: .\n", "index.html": HOME, ".well-known/x": b"shown"})
    node = proxy(server)
    assert await told(node, "alice", "/blog/") == f"200 {HOME.decode()}"
    assert await told(node, "alice", "/blog/.well-known/x") == "200 shown"
    for path in files:
        assert (await answer(node, "alice", f"/blog/{path}")).status == 404, path


async def test_branch_names_the_branch_that_is_served_and_the_default_one_governs(
    proxy: MakeProxy, owners: Owners, server: Server | None
) -> None:
    pages = f"branch: gh-pages\npassword: {PASSWORD}\n".encode()
    built = {"index.html": HOME, "_redirects": b"/a /b", ".pages": b"enabled: true\n"}
    site = make(owners, "alice/blog", {".pages": b"branch: gh-pages\n", "public/index.html": b"no"}, gh_pages=built)
    for node in (proxy(server), proxy(server)):
        assert await told(node, "alice", "/blog/") == f"200 {HOME.decode()}"
        assert await told(node, "alice", "/blog/a") == "301 /blog/b"
        assert (await answer(node, "alice", "/blog/.pages")).status == 404
        if server is not None:
            await node.settled()
    site.commit({"index.html": b"new"}, branch="gh-pages")
    node = proxy(server)
    await comes_to(node, "/blog/", "200 new")
    site.commit({".pages": pages})
    await comes_to(node, "/blog/", "401")
    site.commit({".pages": b"branch: none\n"})
    await comes_to(node, "/blog/", "404", b"there is no such branch")


async def test_a_change_of_root_moves_the_branch_though_its_commit_is_the_same(
    proxy: MakeProxy, owners: Owners, server: Server | None
) -> None:
    built = {"index.html": HOME, "sub/index.html": b"sub"}
    site = make(owners, "alice/blog", {".pages": b"branch: gh-pages\n"}, gh_pages=built)
    node = proxy(server)
    assert await told(node, "alice", "/blog/") == f"200 {HOME.decode()}"
    site.commit({".pages": b"branch: gh-pages\nroot: sub\n"})
    await comes_to(node, "/blog/", "200 sub")


@pytest.mark.parametrize(
    ("branch", "file", "names"),
    [
        ("pages", ".domains", b"# ours\nhttps://Blog.Example.org/\nwww.example.org # another\n"),
        ("gh_pages", "CNAME", b"blog.example.org\n"),
    ],
)
async def test_a_repository_as_it_lies_elsewhere_is_a_site_where_the_operator_wants_it(
    proxy: MakeProxy, owners: Owners, server: Server | None, branch: str, file: str, names: bytes
) -> None:
    built = {"index.html": HOME, file: names, "css/s.css": b"h1 {}"}
    site = make(owners, "alice/blog", {"README": b"source"}, **{branch: built})
    assert (await answer(proxy(server), "alice", "/blog/")).status == 404  # off
    node = proxy(server, pagesBranches="pages, gh-pages")
    assert await told(node, "alice", "/blog/") == f"200 {HOME.decode()}"
    assert await told(node, "alice", "/blog/css/s.css") == "200 h1 {}"
    assert (await answer(node, "alice", "/blog/README")).status == 404
    await node.quiet()
    assert await node.shows("blog.example.org") == "alice:blog"
    assert await told(node, "blog.example.org", "/css/s.css") == "200 h1 {}"
    assert await node.shows("www.example.org") == ("alice:blog" if file == ".domains" else None)
    name = branch.replace("_", "-")
    # A `.pages` there would lock nothing: it is refused, not passed over.
    site.commit({".pages": f"password: {PASSWORD}\n".encode()}, branch=name)
    await comes_to(node, "/blog/", "500", b"default branch")
    # And one on the default branch decides.
    site.commit({".pages": b"enabled: false\n"})
    await comes_to(node, "/blog/", "404")


async def test_the_first_repository_that_is_a_site_is_the_owners_root(proxy: MakeProxy, owners: Owners) -> None:
    node = proxy(None, profileRepositories=[".profile", "pages"])
    pages = make(owners, "alice/pages", {".pages": b"", "public/index.html": HOME, "public/x.txt": b"pages"})
    assert pages is not None
    assert await told(node, "alice", "/") == f"200 {HOME.decode()}"
    assert await told(node, "alice", "/x.txt") == "200 pages"
    assert await told(node, "alice", "/pages/x.txt") == "200 pages"
    make(owners, "bob/pages", {".pages": b"", "public/x.txt": b"pages"})
    make(owners, "bob/.profile", {".pages": b"", "public/index.html": b"profile"})
    assert await told(node, "bob", "/") == "200 profile"
    assert (await answer(node, "bob", "/x.txt")).status == 404


async def test_a_canonical_site_is_at_its_first_domain(proxy: MakeProxy, owners: Owners, server: Server | None) -> None:
    pages = "custom_domain: [one.example.org, two.example.org]\nenable_branches: [dev]\n"
    site = owners.push("alice/blog", pages, branches=("dev",))
    node = proxy(server)
    assert await node.visit("alice", "/blog/") == 200
    page = await answer(node, "alice", "/blog/?x=1")
    assert header(page, "link") == '<https://one.example.org/>; rel="canonical"'
    assert header(await answer(node, "one.example.org", "/"), "link") is None
    branch = await answer(node, "dev.one.example.org", "/")
    assert (branch.status, header(branch, "x-robots-tag")) == (200, "noindex")
    assert header(page, "x-robots-tag") is None
    site.commit({".pages": (pages + "canonical: true\n").encode()})
    await node.pushed("alice/blog")
    assert await told(node, "alice", "/blog/a/b?x=1&y=%20") == "301 https://one.example.org/a/b?x=1&y=%20"
    assert await told(node, "alice", "/blog/", secure=False) == "301 http://one.example.org/"
    assert await told(node, "two.example.org", "/a/") == "301 https://one.example.org/a/"
    assert (await answer(node, "alice", "/blog/", method="POST")).status == 308
    assert (await answer(node, "one.example.org", "/")).status == 200
    assert (await answer(node, "dev.one.example.org", "/")).status == 200


async def test_a_domain_that_another_site_has_leads_nobody_there(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("bob/site", "custom_domain: one.example.org\n")
    owners.push("alice/blog", "custom_domain: [one.example.org, two.example.org]\ncanonical: true\n")
    node = proxy(None)
    await node.visit("bob", "/site/")
    await node.visit("alice", "/blog/")
    assert await told(node, "alice", "/blog/x") == "301 https://two.example.org/x"
    states = {host: (state, needs) for host, state, needs in node.registration.states("alice", "blog")}
    assert states == {"one.example.org": ("refused", "another site has it"), "two.example.org": ("registered", "")}


async def test_the_operator_may_send_all_to_their_domains(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", "custom_domain: one.example.org\n")
    node = proxy(None, redirectToCustomDomain=True)
    await node.visit("alice", "/blog/")
    assert await told(node, "alice", "/blog/x") == "301 https://one.example.org/x"


async def test_without_wildcards_owners_are_in_the_path(proxy: MakeProxy, owners: Owners, tmp_path: Path) -> None:
    rules = {
        "public/_redirects": b"/old /new\n/r /x/y.txt 200\n",
        "public/_headers": b"/*\n  Service-Worker-Allowed: /\n",
    }
    files = {"public/index.html": HOME, "public/x/y.txt": b"y", "public/x/index.html": b"x"}
    make(owners, "alice/blog", {**files, **rules, ".pages": b"custom_domain: blog.example.org\n"})
    make(owners, "alice/.profile", {".pages": b"", "public/index.html": b"profile", "public/about.html": b"about"})
    make(owners, "alice/locked", {**files, ".pages": f"password: {PASSWORD}\ncustom_domain: l.example.org\n".encode()})
    node = proxy(None, addressStyle="path")
    for target, expected in {
        "/alice": "301 /alice/",
        "/alice/": "200 profile",
        "/Alice/about": "200 about",
        "/alice/blog": "301 /alice/blog/",
        "/alice/blog/": f"200 {HOME.decode()}",
        "/alice/blog/x": "301 /alice/blog/x/",
        "/alice/blog/old?x=1": "301 /alice/blog/new?x=1",
        "/alice/blog/r": "200 y",
    }.items():
        assert await told(node, "pages.test", target) == expected, target
    assert (await answer(node, "pages.test", "/")).status == 200
    assert (await answer(node, "pages.test", "/bob/blog/")).status == 404
    assert header(await answer(node, "pages.test", "/alice/blog/"), "service-worker-allowed") is None
    assert (await answer(node, "alice", "/blog/")).status == 404
    locked = await answer(node, "pages.test", "/alice/locked/")
    assert (locked.status, b"domain of its own" in locked.body) == (403, True)
    await node.quiet()
    assert await told(node, "blog.example.org", "/x/y.txt") == "200 y"
    assert (await answer(node, "l.example.org", "/")).status == 401


async def test_what_holds_for_a_domain_of_its_own_is_said_there_alone(proxy: MakeProxy, owners: Owners) -> None:
    headers = b"/*\n  Strict-Transport-Security: max-age=9\n  Service-Worker-Allowed: /\n"
    headers += b"https://one.example.org/*\n  X-One: yes\n"
    rules = b"https://two.example.org/* https://one.example.org/:splat 301!\n/* https://one.example.org/:splat 301!\n"
    files = {"public/index.html": HOME, "public/_headers": headers, "public/_redirects": rules}
    make(owners, "alice/blog", {**files, ".pages": b"custom_domain: [one.example.org, two.example.org]\n"})
    node = proxy(None)
    await answer(node, "alice", "/blog/x")
    await node.quiet()
    assert await told(node, "two.example.org", "/a/b?x=1") == "301 https://one.example.org/a/b?x=1"
    own = await answer(node, "one.example.org", "/")
    assert own.status == 200  # and not sent to where it is
    fields = ("strict-transport-security", "service-worker-allowed", "x-one")
    assert [header(own, name) for name in fields] == ["max-age=9", "/", "yes"]
    plain = await answer(node, "one.example.org", "/", secure=False)
    assert header(plain, "location") == "https://one.example.org/"

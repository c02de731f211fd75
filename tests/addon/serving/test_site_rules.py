# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site's rules make of a request: when a redirect leads to itself, and what could be a page."""

from types import SimpleNamespace

import pytest

from addon.serving.answers import Request, Work
from addon.serving.locks import SitePath
from addon.serving.site_rules import SiteRules, _asks_for_a_page, _is_itself, _redirected, _secure
from addon.sites.headers import read as read_headers
from addon.web.forwarding import Visitor
from addon.web.routing import Path


def asked(query: str | None = None, *, secure: bool = True, unclear: bool = False, dest: str | None = None) -> Request:
    visitor = Visitor("192.0.2.1", secure, unclear=unclear)
    said = {b"sec-fetch-dest": dest.encode()} if dest is not None else {}
    return Request("GET", "a.test", "/x", query, said.get, lambda: visitor)


@pytest.mark.parametrize(
    ("to", "query", "secure", "itself"),
    [
        ("/s/x", None, True, True),
        ("/s/x#part", None, True, True),
        ("/s/x/", None, True, False),
        ("/s/y", None, True, False),
        ("/s/x?a", "a", True, True),
        ("/s/x", "a", True, False),
        ("/s/x?", "", True, True),
        ("/s/x?", None, True, False),
        ("https://a.test/s/x", None, True, True),
        ("https://a.test/s/x", None, False, False),
        ("http://a.test/s/x", None, True, False),
        ("http://a.test/s/x", None, False, True),
        ("https://b.test/s/x", None, True, False),
        ("https://a.test:8443/s/x", None, True, False),
        ("https://a.test", None, True, False),
        ("https://a.test/s/x#y", None, True, True),
        ("/s/x://y", None, True, False),
    ],
)
def test_a_redirect_to_where_the_visitor_is_would_never_end(
    to: str, query: str | None, secure: bool, itself: bool
) -> None:
    assert _is_itself(asked(query, secure=secure), Path(("s", "x"), False), "a.test", to) is itself


@pytest.mark.parametrize(
    ("dest", "name", "page"),
    [
        *((dest, "x.js", True) for dest in ("document", "iframe", "frame", "embed", "object", "fencedframe")),
        *((dest, "x", False) for dest in ("script", "style", "image", "font", "worker")),
        ("empty", "x", True),
        ("empty", "x.js", False),
        (None, "x", True),
        (None, "x.js", False),
        (None, "x.png", False),
        (None, "x.html", True),
        (None, "X.HTM", True),
        (None, "v1.2", True),
        (None, "", True),
    ],
)
def test_who_asks_for_a_page_says_so_or_it_is_seen_by_the_name(dest: str | None, name: str, page: bool) -> None:
    assert _asks_for_a_page(asked(dest=dest), ("a.css", name) if name else ()) is page


@pytest.mark.parametrize(
    ("status", "control"),
    [
        (301, b"public, max-age=60"),
        (308, b"public, max-age=60"),
        (302, b"no-cache"),
        (303, b"no-cache"),
        (307, b"no-cache"),
    ],
)
def test_what_is_permanent_is_forgotten_in_a_minute_and_the_rest_at_once(status: int, control: bytes) -> None:
    answer = _redirected(asked(), status, "/y")
    assert answer.status == status
    assert dict(answer.headers) == {
        b"Location": b"/y",
        b"Cache-Control": control,
        b"Content-Length": b"0",
        b"Access-Control-Allow-Origin": b"*",
    }


def test_whether_somebody_came_by_https_may_be_unclear() -> None:
    assert [_secure(asked(secure=secure))() for secure in (True, False)] == [True, False]
    assert _secure(asked(unclear=True))() is None


@pytest.mark.parametrize("previews", [None, "previews.test"])
@pytest.mark.parametrize(
    ("host", "own"),
    [("www.example.org", True), ("alice.pages.test", False), ("main--blog--alice.previews.test", None)],
)
def test_what_counts_on_a_domain_of_its_own_counts_there_alone(
    previews: str | None, host: str, own: bool | None
) -> None:
    """None: on a name that is the preview domain's, where there is one."""
    rules, findings = read_headers(b"/*\n  Strict-Transport-Security: max-age=9\n  X-A: 1\n")
    assert not findings
    site = SimpleNamespace(rules=SimpleNamespace(headers=rules))
    request = Request("GET", host, "/x", None, lambda name: None, lambda: Visitor("192.0.2.1", True))
    at = SitePath(request, SimpleNamespace(site=site), ("x",), Path(("x",), False), Work())  # type: ignore[arg-type]
    here = SimpleNamespace(_pages_domain="pages.test", _preview_domain=previews)
    said = {name.lower() for name, _ in SiteRules.headers(here, at).fields}  # type: ignore[arg-type]
    assert (b"strict-transport-security" in said) is (previews is None if own is None else own)
    assert b"x-a" in said

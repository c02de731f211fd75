# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who is sent to another scheme or host: only whom it helps, with all that was asked, and never for ever."""

from types import SimpleNamespace

import pytest

from addon.serving.answers import Answer, Request
from addon.serving.host_redirects import to_domain, to_https, to_twin
from addon.serving.members import _too_many
from addon.serving.site_headers import NONE, encoded_as_said, site_headers
from addon.serving.sites import Sites
from addon.sites.headers import NOTHING, Added
from addon.web.codings import encode
from addon.web.forwarding import Visitor
from addon.web.routing import OWN_PREFIX


def asked(
    visitor: Visitor,
    *,
    host: str = "a.test",
    path: str = "/x%20y",
    query: str | None = None,
    method: str = "GET",
    tls: bool = False,
    **fields: str,
) -> Request:
    said = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return Request(method, host, path, query, said.get, lambda: visitor, tls=tls)


@pytest.mark.parametrize(("wait", "said"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.5, b"2")])
def test_who_tried_too_many_tokens_waits_whole_seconds(wait: float, said: bytes) -> None:
    answer = _too_many(asked(Visitor("192.0.2.7", True)), wait)
    assert (answer.status, dict(answer.headers)[b"Retry-After"]) == (429, said)


def place(answer: Answer | None) -> str | None:
    return None if answer is None else dict(answer.headers)[b"Location"].decode()


PLAIN, SECURE = Visitor("192.0.2.1", False), Visitor("192.0.2.1", True)
TOLD = Visitor("192.0.2.1", False, told=True)
UNCLEAR = Visitor("192.0.2.1", False, told=True, unclear=True)


@pytest.mark.parametrize(
    ("domains", "segments", "asked"),
    [
        (("www.example",), ("page",), True),
        (("www.example",), (), True),
        (("www.example",), (OWN_PREFIX, "site"), False),
        ((), ("page",), False),
        ((), (OWN_PREFIX, "site"), False),
    ],
)
def test_only_pages_of_a_site_with_domains_are_looked_up_for_the_way_to_its_domain(
    domains: tuple[str, ...], segments: tuple[str, ...], asked: bool
) -> None:
    sites: list[object] = []
    mappings = SimpleNamespace(canonical=lambda site, work: sites.append(site))
    here = SimpleNamespace(_mappings=mappings, _settings=SimpleNamespace(redirect_to_custom_domain=True))
    site = SimpleNamespace(pages_file=SimpleNamespace(custom_domains=domains, canonical=False))
    found = Sites._at_its_domain(here, None, site, segments, None, None)  # type: ignore[arg-type]  # as much as it needs
    assert (found, bool(sites)) == (None, asked)


@pytest.mark.parametrize(
    ("visitor", "fields", "always", "tls", "sent"),
    [
        (TOLD, {"x_forwarded_proto": "http"}, False, False, True),
        (TOLD, {"forwarded": "proto=http"}, False, False, True),
        (TOLD, {"x_forwarded_proto": "HTTPS"}, False, False, False),
        (TOLD, {"x_forwarded_proto": "https", "forwarded": "proto=http"}, False, False, False),
        (TOLD, {}, False, False, False),
        (PLAIN, {"x_forwarded_proto": "http"}, False, False, False),
        (SECURE, {"x_forwarded_proto": "http"}, False, False, False),
        (UNCLEAR, {"x_forwarded_proto": "http"}, False, False, False),
        (PLAIN, {}, True, False, True),
        (PLAIN, {}, True, True, False),
        (SECURE, {}, True, False, False),
        (UNCLEAR, {}, True, False, False),
        (TOLD, {"x_forwarded_proto": "http"}, True, True, True),
    ],
)
def test_who_came_by_plain_http_is_sent_to_https_where_that_is_known(
    visitor: Visitor, fields: dict[str, str], always: bool, tls: bool, sent: bool
) -> None:
    request = asked(visitor, tls=tls, **fields)
    answer = to_https(request, "a.test", always)
    assert place(answer) == ("https://a.test/x%20y" if sent else None)
    assert to_https(request, None, always) is None
    if answer is not None:
        control = dict(answer.headers)[b"Cache-Control"]
        assert control == (b"public, max-age=60" if always and not tls else b"private, max-age=60")


def test_who_asks_is_not_looked_at_where_it_does_not_matter() -> None:
    def nobody() -> Visitor:
        raise AssertionError

    request = Request("GET", "a.test", "/", None, lambda name: None, nobody)
    assert to_https(request, "a.test", False) is None
    assert to_https(request, None, True) is None


@pytest.mark.parametrize(
    ("host", "secure", "origin"),
    [
        ("a.test", True, "https://b.test"),
        ("a.test:8443", True, "https://b.test"),
        ("a.test", False, "http://b.test"),
        ("a.test:8080", False, "http://b.test:8080"),
        (" a.test:8080\t", False, "http://b.test:8080"),
    ],
)
def test_a_twin_and_a_domain_keep_the_port_of_their_scheme(host: str, secure: bool, origin: str) -> None:
    visitor = SECURE if secure else PLAIN
    assert place(to_twin(asked(visitor, host=host, query="q=1"), "b.test")) == f"{origin}/x%20y?q=1"
    assert place(to_domain(asked(visitor, host=host, query="q=1"), "b.test", "/z")) == f"{origin}/z?q=1"


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308)])
def test_a_method_stays_what_it_is(method: str, status: int) -> None:
    answer = to_twin(asked(SECURE, method=method), "b.test")
    assert (answer.status, dict(answer.headers)[b"Content-Length"]) == (status, b"0")


@pytest.mark.parametrize(
    ("path", "query", "sent"),
    [
        ("/a", "", "/a?"),
        ("/a\r\nX: y", None, "/a%0D%0AX:%20y"),
        ("/ü\udcff", "é", "/%C3%BC%FF?%C3%A9"),
        ("/%zz", "%", "/%zz?%"),
        ("/\x20\x21\x7e\x7f", None, "/%20!~%7F"),
    ],
)
def test_the_path_goes_along_as_it_came(path: str, query: str | None, sent: str) -> None:
    assert place(to_twin(asked(SECURE, path=path, query=query), "b.test")) == f"https://b.test{sent}"


# What a site's `_headers` say.


@pytest.mark.parametrize(
    ("field", "own_domain", "written"),
    [
        (("x-a", "1"), False, [(b"X-A", b"1")]),
        (("strict-transport-security", "max-age=1"), True, [(b"Strict-Transport-Security", b"max-age=1")]),
        (("strict-transport-security", "max-age=1"), False, []),
        (("service-worker-allowed", "/blog/"), False, [(b"Service-Worker-Allowed", b"/blog/")]),
        (("service-worker-allowed", "/blog/x"), False, [(b"Service-Worker-Allowed", b"/blog/x")]),
        (("service-worker-allowed", "/"), False, []),
        (("content-encoding", "BR"), False, []),
    ],
)
def test_a_field_is_added_where_it_holds(
    field: tuple[str, str], own_domain: bool, written: list[tuple[bytes, bytes]]
) -> None:
    said = site_headers(Added((field,), frozenset({"x-b"}), 5), base="/blog/", own_domain=own_domain)
    assert list(said.fields) == written
    assert said.removed == {b"x-b"}
    assert said.coding == ("br" if field[0] == "content-encoding" else "")


def test_where_the_same_is_said_the_key_is_the_same() -> None:
    plain, depending = Added((("x-a", "1"),), key=10), Added((("content-encoding", "br"),), key=10)
    places = [("/", True), ("/", False), ("/blog/", False)]
    keys = [[site_headers(each, base=base, own_domain=own).key for base, own in places] for each in (plain, depending)]
    assert keys == [["a", "a", "a"], ["a@/1", "a@/0", "a@/blog/0"]]
    assert site_headers(NOTHING, base="/", own_domain=True) is NONE


def test_bytes_are_looked_at_before_they_are_said_to_be_encoded() -> None:
    text = b"".join(b"%d of many lines\n" % number for number in range(20_000))
    for coding in ("br", "gzip", "zstd"):
        encoded = encode(text, coding)
        assert encoded is not None
        assert len(encoded) > 5_000
        assert encoded_as_said(coding, encoded)
        assert encoded_as_said(coding, encoded[:4_097])  # of a long one, the beginning
        assert not encoded_as_said(coding, encoded[:4_096])  # a short one is all there is
        assert not encoded_as_said(coding, text)
        assert not encoded_as_said(coding, b"")
        bomb = encode(bytes(4 * 1024 * 1024), coding)
        assert bomb is not None
        assert encoded_as_said(coding, bomb)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`_redirects` and `.redirects`: what each line means for each address, and what is said of lines that mean nothing.

The vectors are those of Netlify's matcher and of others' files (GitLab, Cloudflare, Codeberg, the Traefik plugin), each
with what it means here.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.sites import plugin_redirects, redirects
from addon.sites.redirect_table import Table, location
from addon.sites.redirects import MOST_DYNAMIC, MOST_STATIC
from addon.sites.rule_lines import LARGEST, LONGEST_LINE
from tests.cases import by_first


def asked(
    table: Table, url: str, *, base: str = "", host: str = "site.example", secure: bool | None = True
) -> str | None:
    """Status and place (`!` for a rule before files) for a path with its query."""
    path, mark, query = url.partition("?")
    segments = tuple(part for part in path.split("/") if part)
    slash = path.endswith("/")
    found = table.find(segments, slash, query if mark else None, host, lambda: secure)
    if found is None:
        return None
    to = location(found, base, query if mark else None) if 301 <= found.status <= 308 else found.to
    return f"{found.status}{'!' * found.force} {to}"


@pytest.mark.parametrize(
    ("rules", "url", "expected"),
    by_first(
        {
            # status, default and others
            "/a /b": {"/a": "301 /b", "/a/": "301 /b", "/A": None, "/a/b": None, "/a?x=1&y=2": "301 /b?x=1&y=2"},
            **{
                f"/a /b {status}": {"/a": f"{status} /b"}
                for status in ("302", "303!", "307", "308", "200", "451", "418")
            },
            "/a /gone.html 410": {"/a": "410 /gone.html"},
            "/a\t/b\t302": {"/a": "302 /b"},
            "  /a   /b  ": {"/a": "301 /b"},
            "/a /b\r\n/c /d\r\n": {"/c": "301 /d"},
            # comments
            "/a /b 302 # why": {"/a": "302 /b"},
            "/a /b # why": {"/a": "301 /b"},
            "# /a /b": {"/a": None},
            "# why\n/a /b": {"/a": "301 /b"},
            "/a /b#part": {"/a": "301 /b#part", "/a?x=1": "301 /b?x=1#part"},
            # the trailing slash makes no difference, the case does
            "/a/ /b": {"/a": "301 /b"},
            "/ /b": {"/": "301 /b"},
            # `*`
            "/a/* /b/:splat": {
                "/a": "301 /b/",
                "/a/x/y": "301 /b/x/y",
                "/a/x/": "301 /b/x/",
                "/ab": None,
                '/a/é?x=%zz"': "301 /b/%C3%A9?x=%zz%22",
            },
            "/a* /b/:splat": {"/abc": "301 /b/bc", "/a/b": "301 /b/b"},
            "/a/*/c /b/:splat": {"/a/x/y/c": "301 /b/x/y", "/a/c": "301 /b/", "/a/x/c/d": None},
            "/a/*/:x/:y/z /b/:y/:x/:splat": {"/a/1/2/3/4/z": "301 /b/4/3/1/2"},
            "/a/*/:x /b/:x": {"/a": None},
            "/a/:x/*/:x /b/:x": {"/a/1/2/3": "301 /b/1"},
            "/a/b*/:x /b/:x/:splat": {"/a/bc/1": "301 /b/1/c"},
            "/a/b* /c/:splat": {"/a/c": None},
            "/a/* /b?p=:splat": {"/a/1/2": "301 /b?p=1/2"},
            "/a/* /b/*": {"/a/1": "301 /b/*"},
            "/a/* 200": {"/a/x": "200 /a/x"},
            # `:name`
            "/:y/:m/:s /p-:y-:s/:m": {"/1/2/3": "301 /p-1-3/2", "/1/2": None},
            "/:a /x/:a": {"/": None},
            "/a/:x /b/:x:x/:xy": {"/a/1": "301 /b/11/1y"},
            "/a/:x/:xy /b/:xy/:x": {"/a/1/2": "301 /b/2/1"},
            "/a/p:x /b/:x": {"/a/p1": None},
            "/a/:x/* /b/:x/:splat": {"/a/1/2/3": "301 /b/1/2/3"},
            # the first that matches counts
            "/a/:x /b/:x\n/a/c /d": {"/a/c": "301 /b/c"},
            "/a/c /d\n/a/:x /b/:x": {"/a/c": "301 /d"},
            "/a /b\n/a /c": {"/a": "301 /b"},
            "/x id=:id /p/:id\n/x /q": {"/x": "301 /q"},
            # queries
            "/a /b?z=1": {"/a?x=1": "301 /b?z=1"},
            "/a /b?z=1#part": {"/a?x=1": "301 /b?z=1#part"},
            "/a https://e.example/b": {"/a?x=1": "301 https://e.example/b?x=1"},
            "/a https://e.example": {"/a": "301 https://e.example/"},
            "/x id=:id /p/:id": {
                "/x?id=5": "301 /p/5",
                "/x?id=5&b=2": "301 /p/5?b=2",
                "/x": None,
                "/x?id=": "301 /p/",
                "/x?id": None,
            },
            "/x id=5 /p": {"/x?id=6": None, "/x?id=%35": "301 /p"},
            "/x id=:id /p?i=:id": {"/x?id=a%26b": "301 /p?i=a%26b"},
            "/x id=:a b=:b /p/:a/:b": {"/x?b=6&id=5": "301 /p/5/6"},
            "/a b=c /d": {"/a?b=d&b=c": "301 /d"},
            # hosts
            "https://site.example/* https://x.example/:splat 301!": {"/q": "301! https://x.example/q"},
            "http://site.example/* https://site.example/:splat 301!": {"/q": None},
            "https://other.example/* https://x.example/:splat": {"/q": None},
            # percent-encoding: addresses are compared decoded, and written encoded
            "/caf%C3%A9 /x": {"/café": "301 /x"},
            "/café /x": {"/café": "301 /x"},
            "/x /café?q=ü#é": {"/x": "301 /caf%C3%A9?q=%C3%BC#%C3%A9"},
            # nobody is sent where the visitor says
            "/go u=:u /:u": {"/go?u=/evil.example": "301 /%2Fevil.example", "/go?u=%0d%0aX:1": "301 /%0D%0AX:1"},
            "/go u=:u /:u/x": {"/go?u=": "301 /x"},
            "/a/* /:splat/evil.example": {"/a": "301 /evil.example"},
            # a rule does not send on what it has sent: theirs says null for all of these, and for `/bc`, too
            "/* /b 301": {"/b": None, "/b/x": None, "/bc": "301 /b"},
            "/* /b/:splat 302": {"/b/x": None, "/q": "302 /b/q"},
            "/* https://site.example/b/:splat": {"/b/c": None},
            "/* https://x.example/b/:splat": {"/b/c": "301 https://x.example/b/b/c"},
            "/* /b?x=1": {"/b/x": None},
            "/* /b 200": {"/b": "200 /b"},
        }
    ),
)
def test_a_rule_means_what_it_means_at_netlify(rules: str, url: str, expected: str | None) -> None:
    table, _ = redirects.read(rules.encode())
    assert asked(table, url) == expected


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("/a", "not where to"),
        ("/a 301", "not where to"),
        ("/a/* 404", "not where to"),
        ("/a b", "has to begin with"),
        ("/a mailto:x@y.example", "has to begin with"),
        ("/a javascript:alert(1)", "has to begin with"),
        ("/a //evil.example", "another host"),
        ("/a /\\evil.example", "another host"),
        ("a /b", "is no path"),
        ("/a /b abc", "is no status"),
        ("/a /b 30x", "is no status"),
        ("/a /b 999", "status 999"),
        ("/a /b 500", "status 500"),
        ("/a /b 100", "status 100"),
        ("/a /b 304", "status 304"),
        ("/a /b 301 Country=us", "`Country`"),
        ("/a /b 301! Language=en", "`Language`"),
        ("/a /b 200 Role=admin", "`Role`"),
        ("/a /b Sign=KEY", "`Sign`"),
        ("/a /b 301 x=y", "one word too many"),
        ("/a b /c", "no part of a query"),
        ("/api/* https://api.example/:splat 200", "not fetched"),
        ("/a https://e.example/x 404", "this site’s"),
        ("/go/:h https://:h/", "come out of the visitor"),
        ("/go/* https://:splat", "come out of the visitor"),
        ("/go/:h https://:h.example.com/", "come out of the visitor"),
        ("/go/:h https://x.example:h/", "come out of the visitor"),
        ("/a https://user@e.example/", "user name"),
        ("/a https://é..example/", "no name of a host"),
        (f"/a https://{'a.' * 126}aa/", "no name of a host"),
        ("/a https://*.example/", "come out of the visitor"),
        ("/a/*/b/* /c", "only one `*`"),
        ("/*.html /c", "whole part"),
        ("/** /c", "only one `*`"),
        ("/a//b /c", "cleaned away"),
        ("/a/../b /c", "cleaned away"),
        ("/a%2Fb /c", "encoded slash"),
        ("/a%zz /c", "begins no escape"),
        ("/a?b=c /d", "no path holds"),
        ("/a#b /d", "no path holds"),
        ("/.pages/site /d", "server’s own"),
        ("/.pages/* /d", "server’s own"),
        ("/a /../b 200", "clean path"),
        ("/a /b\x01", "control character"),
        ("/a " + "x" * LONGEST_LINE, "longer than"),
        ("/:a/" + "b/" * 40 + " /c", "parts"),
    ],
)  # fmt: skip
def test_a_line_that_means_nothing_is_told_and_the_others_count(rule: str, reason: str) -> None:
    table, findings = redirects.read(f"/before /x\n{rule}\n/after /y".encode())
    assert [finding.line for finding in findings] == [2]
    assert reason in findings[0].reason
    assert (asked(table, "/before"), asked(table, "/after")) == ("301 /x", "301 /y")
    assert len(table) == 2


def test_what_is_no_utf_8_is_a_bad_line_alone() -> None:
    table, findings = redirects.read(b"\xef\xbb\xbf/a /b\n/caf\xe9 /c\n/d /e\n")
    assert [(finding.line, finding.reason) for finding in findings] == [(2, "the line is not UTF-8")]
    assert (asked(table, "/a"), asked(table, "/d")) == ("301 /b", "301 /e")


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ("/a /b\n/a /c", 2),
        ("/a /b\n/a/ /c", 2),
        ("/a/* /b\n/a/* /c", 2),
        ("/a/:x /b\n/a/:y /c", 2),
        ("/a x=1 /b\n/a x=1 /c", 2),
    ],
)
def test_a_rule_for_the_same_paths_again_is_told(rules: str, line: int) -> None:
    _, findings = redirects.read(rules.encode())
    assert [(finding.line, finding.reason[:7], "already" in finding.reason) for finding in findings] == [
        (line, "line 1 ", True)
    ]


def test_a_host_may_be_as_long_as_a_name_can_be() -> None:
    longest = "a." * 126 + "a"
    table, findings = redirects.read(f"/a https://{longest}/".encode())
    assert (asked(table, "/a"), findings) == (f"301 https://{longest}/", ())


def test_what_a_table_takes_counts_the_texts_of_its_rules() -> None:
    short, _ = redirects.read(b"/a/:x/b/* /c/:splat")
    for rule in (f"/{'a' * 1500}/:x/b/* /c", f"/a/:x/{'b' * 1500}/* /c", f"/a/:x/b/* /{'c' * 1500}/:splat"):
        long, findings = redirects.read(rule.encode())
        assert not findings
        assert long.nbytes - short.nbytes > 1400


def test_a_placeholder_that_nothing_fills_is_told_and_stays() -> None:
    table, findings = redirects.read(b"/a/:x /b/:y/:x")
    assert asked(table, "/a/1") == "301 /b/:y/1"
    assert [(finding.line, finding.lost) for finding in findings] == [(1, False)]
    _, findings = redirects.read(f"/a/:x /b/:{'y' * 50}".encode())
    assert f"`:{'y' * 40}`" in findings[0].reason
    _, findings = redirects.read(b"/a /b soon later")
    assert findings[0].reason == "`soon` is no status"


def test_what_is_above_a_limit_is_left_out_and_told() -> None:
    many = [f"/s{number} /t" for number in range(MOST_STATIC + 3)]
    many += [f"/d{number}/* /t" for number in range(MOST_DYNAMIC + 2)]
    table, findings = redirects.read("\n".join(many).encode())
    assert table.counts == (MOST_STATIC, MOST_DYNAMIC)
    assert [finding.reason[:8] for finding in findings] == ["3 rules ", "2 rules "]
    assert asked(table, f"/s{MOST_STATIC - 1}") == "301 /t"
    assert asked(table, f"/s{MOST_STATIC}") is None
    line = b"/a%d /b%s\n"
    long, count = b"", 0
    while len(long) <= LARGEST:
        long += b"".join(line % (count + step, b"b" * 1900) for step in range(50))
        count += 50
    table, findings = redirects.read(long)
    assert "larger than 1 MiB" in findings[0].reason
    assert 0 < len(table) < count


def test_rules_count_below_the_site_wherever_it_lies() -> None:
    table, _ = redirects.read(b"/a /b\n/c https://e.example/d")
    assert asked(table, "/a?x=1", base="/alice/blog") == "301 /alice/blog/b?x=1"
    assert asked(table, "/c", base="/alice/blog") == "301 https://e.example/d"


@pytest.mark.parametrize(("secure", "expected"), [(True, None), (False, "301! https://site.example/q"), (None, None)])
def test_a_rule_for_plain_http_waits_until_that_is_known(secure: bool | None, expected: str | None) -> None:
    table, _ = redirects.read(b"http://site.example/* https://site.example/:splat 301!")
    assert asked(table, "/q", secure=secure) == expected


@pytest.mark.parametrize(
    ("rule", "fallback"),
    [
        ("/* /index.html 200", True),
        ("/app/* /app/ 200", True),
        ("/* /index.html 200!", False),
        ("/* /:splat/index.html 200", False),
        ("/* /logo.png 200", False),
        ("/* /index.html 301", False),
        ("/:page /index.html 200", False),
    ],
)
def test_a_page_for_all_that_is_missing_is_known_as_such(rule: str, fallback: bool) -> None:
    table, _ = redirects.read(rule.encode())
    found = table.find(("app",), False)
    assert found is not None
    assert found.fallback is fallback


# --- the Traefik plugin's `.redirects`


@pytest.mark.parametrize(
    ("rules", "url", "expected"),
    by_first(
        {
            "moo:bar": {"/moo": "301! /bar", "/moon": None, "/x/moo": None},
            "index.html:myapp/": {"/index.html": "301! /myapp/"},
            "old:https://example.com/new": {"/old": "301! https://example.com/new"},
            "page:http://example.com:8080/path": {"/page": "301! http://example.com:8080/path"},
            "  page1  :  page2": {"/page1": "301! /page2"},
            "# a comment\n\nmoo:bar": {"/moo": "301! /bar"},
            "a.b(c)*:bar": {"/a.b(c)*": "301! /bar"},
            "a:javascript:alert(1)": {"/a": "301! /javascript:alert(1)"},
            "a:/b": {"/a": "301! /b"},
            "a://evil.example": {"/a": "301! /evil.example"},
            "a:$1": {"/a": "301! /$1"},
            "x:x/y": {"/x/y": None},
            "page1 page2\nmoo:bar": {"/moo": "301! /bar"},
        }
    ),
)
def test_the_plugins_rules_are_answered_without_being_loaded(rules: str, url: str, expected: str | None) -> None:
    table, _ = plugin_redirects.read(rules.encode())
    assert asked(table, url) == expected


def test_the_plugins_errors_are_told_with_their_lines() -> None:
    _, findings = plugin_redirects.read(b"page1 page2\n:x\nx:\nok:yes\n")
    assert [finding.line for finding in findings] == [1, 2, 3]
    many = "\n".join(f"a{number}:b" for number in range(30)).encode()
    table, findings = plugin_redirects.read(many)
    assert (len(table), findings[0].reason[:8]) == (25, "5 rules ")
    assert len(plugin_redirects.read(many, 30)[0]) == 30


# --- cost


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400) | st.text("/*:ab# \n!=?.%20", max_size=300).map(str.encode))
def test_any_bytes_are_rules_or_findings(data: bytes) -> None:
    for table, _ in (redirects.read(data), plugin_redirects.read(data)):
        for path in (("a", "b"), (), ("a" * 300,) * 50):
            found = table.find(path, False, "a=b", "a.example")
            if found is not None:
                assert found.to.startswith(("/", "http://", "https://"))
                assert not found.to.startswith("//")
                assert found.to.isascii()
                assert " " not in found.to


def test_no_rules_make_a_match_take_more_than_its_paths_parts() -> None:
    """Rules that agree in all but the last part, for a path that meets none: what is walked is counted, not timed."""
    names = [":x" if number >> bit & 1 else "a" for number in range(MOST_DYNAMIC) for bit in range(9)]
    rules = ["/" + "/".join(names[number * 9 : number * 9 + 9]) + "/*/end /t" for number in range(MOST_DYNAMIC)]
    table, _ = redirects.read("\n".join(rules).encode())
    looked = 0

    class Counted(str):
        __slots__ = ()

        def __hash__(self) -> int:
            nonlocal looked
            looked += 1
            return super().__hash__()

    assert table.find([Counted("a") for _ in range(200)], False) is None
    assert looked <= 9 + 1 + 1

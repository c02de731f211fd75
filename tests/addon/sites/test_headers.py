# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`_headers`: which fields which path gets, which are refused and why, and that any bytes are read in one pass."""

import gc
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.sites.header_names import ALLOWED
from addon.sites.headers import MOST, read
from tests.cases import by_first

FILE = """
# for all
/*
  X-Frame-Options: DENY
  Cache-Control: no-cache
  Link: </a.css>; rel=preload
/assets/*
  Cache-Control: max-age=31536000
  ! X-Frame-Options
/assets/*.js
  X-Script: yes
/blog/:slug
  X-Post: one
  Link: </b.css>; rel=preload
/about
  Content-Type: text/plain; charset=utf-8
https://example.com/*
  X-Own: yes
/a*z/b*
  X-Glob: yes
"""


def got(file: str, path: str, host: str = "") -> dict[str, str]:
    rules, findings = read(file.encode())
    assert not findings
    return dict(rules.added(tuple(part for part in path.split("/") if part), path.endswith("/"), host).fields)


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/", "", {"x-frame-options": "DENY", "cache-control": "no-cache", "link": "</a.css>; rel=preload"}),
        ("/assets/a.css", "", {"cache-control": "no-cache, max-age=31536000", "link": "</a.css>; rel=preload"}),
        ("/assets/d/a.js", "", {"x-script": "yes"}),
        ("/assets/a.jsx", "", {"x-script": None}),
        ("/blog/x", "", {"x-post": "one", "link": "</a.css>; rel=preload, </b.css>; rel=preload"}),
        ("/blog/x/", "", {"x-post": "one"}),
        ("/blog/x/y", "", {"x-post": None}),
        ("/blog", "", {"x-post": None}),
        ("/about", "", {"content-type": "text/plain; charset=utf-8"}),
        ("/ABOUT", "", {"content-type": None}),
        ("/about", "example.com", {"x-own": "yes"}),
        ("/about", "example.org", {"x-own": None}),
        ("/az/b", "", {"x-glob": "yes"}),
        ("/a/c/xz/bcd/e", "", {"x-glob": "yes"}),
        ("/a/c/xz/cd", "", {"x-glob": None}),
    ],
)
def test_what_a_path_gets(path: str, host: str, expected: dict[str, str | None]) -> None:
    found = got(FILE, path, host)
    assert {name: found.get(name) for name in expected} == expected


def test_spaces_behind_a_path_are_no_part_of_it() -> None:
    assert got("/a \t\n  X-A: 1 \n", "/a") == {"x-a": "1"}


def test_what_a_name_with_one_value_was_told_last_counts() -> None:
    file = "/*\n  X-Frame-Options: DENY\n  Cross-Origin-Opener-Policy: same-origin\n/a\n  X-Frame-Options: SAMEORIGIN\n"
    assert got(file, "/a") == {"x-frame-options": "SAMEORIGIN", "cross-origin-opener-policy": "same-origin"}


def test_a_name_that_is_taken_away_may_be_given_again() -> None:
    assert got("/*\n  X-A: 1\n/b\n  ! X-A\n  X-A: 2\n", "/b") == {"x-a": "2"}
    rules, _ = read(b"/*\n  ! Access-Control-Allow-Origin\n  ! X-Content-Type-Options\n")
    assert rules.added(("a",), False).removed == {"access-control-allow-origin", "x-content-type-options"}


def test_paths_to_which_the_same_is_said_are_told_by_one_key() -> None:
    rules, _ = read(FILE.encode())
    keys = {path: rules.added(tuple(path.split("/")), False).key for path in ("a", "b/c", "assets/x", "assets/y.js")}
    assert keys["a"] == keys["b/c"]
    assert len(set(keys.values())) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Set-Cookie: a=b", "logins"),
        ("Content-Length: 5", "connection"),
        ("Transfer-Encoding: chunked", "connection"),
        ("Connection: close", "connection"),
        ("Upgrade: h2c", "connection"),
        ("Proxy-Authenticate: Basic", "connection"),
        ("Date: now", "time at which"),
        ("Server: mine", "names this server"),
        ("ETag: x", "out of the file"),
        ("Location: /x", "`_redirects`"),
        ("Clear-Site-Data: *", "logins"),
        ("Alt-Svc: x", "another server"),
        ("X-Accel-Redirect: /etc/passwd", "servers on the way"),
        ("X-Sendfile: /etc/passwd", "servers on the way"),
        ("X-Cache-Status: HIT", "servers on the way"),
        ("Foo: bar", "begin a name of your own with `X-`"),
        ("X-A", "no header"),
        ("X A: b", "letters, digits"),
        ("X-A: ü", "printable ASCII"),
        ("X-A: a\x01b", "printable ASCII"),
        ("X-A:", "has no value"),
        ("Content-Encoding: identity", "`br`"),
        ("Content-Type: nonsense", "no content type"),
        ("Service-Worker-Allowed: scope", "is a path"),
        ("X-A: " + "a" * 2000, "longer than"),
    ],
)
def test_a_field_that_a_site_may_not_set_is_told_and_the_others_count(line: str, reason: str) -> None:
    rules, findings = read(f"/*\n  X-Before: 1\n  {line}\n  X-After: 2\n".encode())
    assert [finding.line for finding in findings] == [3]
    assert reason in str(findings[0])
    assert dict(rules.added(("a",), False).fields) == {"x-before": "1", "x-after": "2"}


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("  X-A: b\n/a\n  X-B: c\n", 1, "belongs to no path"),
        ("/a\n/b\n  X-B: c\n", 1, "no header follows"),
        ("/a b\n  X-A: b\n/b\n  X-B: c\n", 1, "no path"),
        ("/*/:x\n  X-A: b\n/b\n  X-B: c\n", 1, "`:name` behind a `*`"),
        ("/a/../b\n  X-A: b\n/b\n  X-B: c\n", 1, "cleaned away"),
        ("https://x:8/a\n  X-A: b\n/b\n  X-B: c\n", 1, "port"),
    ],
)
def test_a_path_that_means_nothing_takes_its_fields_along_and_no_others(file: str, line: int, reason: str) -> None:
    rules, findings = read(file.encode())
    assert [finding.line for finding in findings] == [line]
    assert reason in str(findings[0])
    assert [rule.fields for rule in rules.rules] == [(("x-b", "c"),)]


def test_rules_above_the_limit_are_left_out_and_told() -> None:
    file = "".join(f"/p{number}\n  X-A: {number}\n" for number in range(MOST + 5))
    rules, findings = read(file.encode())
    assert (len(rules), findings[0].reason[:8]) == (MOST, "5 rules ")


def test_nothing_that_could_frame_or_forge_an_answer_is_allowed() -> None:
    assert not ALLOWED & {"set-cookie", "content-length", "transfer-encoding", "location", "etag", "date", "server"}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text("/*:ab \n\tX-:!h", max_size=300).map(str.encode))
def test_any_bytes_are_rules_or_findings(data: bytes) -> None:
    rules, _ = read(data)
    for path in (("a", "b"), (), ("a" * 300,) * 50):
        for name, value in rules.added(path, True, "a.example").fields:
            assert name.isascii()
            assert "\n" not in value
            assert "\r" not in value


def test_a_path_may_have_a_hundred_fields() -> None:
    for many, said in ((100, 0), (101, 1)):
        rules, findings = read(("/*\n" + "".join(f"  X-{number}: 1\n" for number in range(many))).encode())
        assert len(findings) == said
        assert len(rules.added((), True, "").fields) == 100


def test_two_thousand_rules_count() -> None:
    file = "".join(f"/p{number}\n  X-A: {number}\n" for number in range(2_001))
    rules, findings = read(file.encode())
    assert (len(rules), [finding.reason for finding in findings]) == (
        2_000,
        ["1 rules are left out: a site may have 2000"],
    )
    assert rules.added(("p1999",), False).fields == (("x-a", "1999"),)
    assert rules.added(("p2000",), False).fields == ()


def test_what_rules_take_in_memory_is_what_they_say() -> None:
    read(FILE.encode())
    for file in (
        "".join(f"/p{number}\n  X-A: {number}\n" for number in range(2_000)),
        "".join(f"/p{number}/*.js\n  X-A: {'a' * 400}\n  X-B: {number}\n  ! X-C\n" for number in range(1_000)),
    ):
        data = file.encode()
        gc.collect()
        tracemalloc.start()
        rules, _ = read(data)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert 0.9 * taken < rules.nbytes < 1.8 * taken
    assert read(b"")[0].nbytes < 500


def test_the_rules_behind_what_a_path_gets_are_told_in_their_order() -> None:
    rules, _ = read(FILE.encode())
    added = rules.added(("assets", "y.js"), False)
    assert [rule.line for rule in rules.behind(added)] == [3, 7, 10]
    assert rules.behind(rules.added((), False)) == [rules.rules[0]]
    assert rules.hosts == {"example.com"}


@pytest.mark.parametrize(
    ("field", "depends"),
    [
        ("X-A: 1", False),
        ("Cache-Control: no-cache", False),
        ("Content-Encoding: br", True),
        ("Strict-Transport-Security: max-age=1", True),
        ("Service-Worker-Allowed: /", True),
    ],
)
def test_a_field_that_holds_only_somewhere_is_known_as_such(field: str, depends: bool) -> None:
    rules, findings = read(f"/*\n  X-First: 1\n  {field}\n".encode())
    assert not findings
    assert rules.added((), False).depends is depends


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    by_first(
        {
            "/a*": {"/a": True, "/ab/c": True, "/b": False},
            "/*b": {"/b": True, "/ab": True, "/ba": False},
            "/a*a": {"/a": False, "/aa": True},
            "/a*b*c": {"/abc": True, "/axbxc": True, "/acb": False},
            "/a*bb*c": {"/abc": False},
            "/ab*ba*ab": {"/abab": False, "/abbaab": True},
            "/*/": {"/a/": True, "/a": False},
            "/a/*": {"/a/": True},
            "/a/*/b": {"/a/x/b": True, "/a/b": False},
            "/a/b*": {"/a/": False},
            "/caf%C3%A9*": {"/café.html": True},
            "/x:y*": {"/x:y/z": True},
            "/*/:": {"/a/:": True, "/a/b": False},
        }
    ),
)
def test_a_star_stands_for_anything(pattern: str, path: str, fits: bool) -> None:
    assert (got(f"{pattern}\n  X-A: 1\n", path) == {"x-a": "1"}) is fits


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Content-Encoding: BR", "BR"),
        ("Content-Encoding: gzip", "gzip"),
        ("Content-Encoding: zstd", "zstd"),
        ("Content-Type: a/b", "a/b"),
        ("Content-Type: a/b ;c", "a/b ;c"),
        ("X-Real-IP-Not: 1", "1"),
        ("!X-A:", None),
        ("! X-A", None),
        ("! X-A :", None),
        ("X-B-" + "a" * 124 + ": 1", "1"),
        ("X-A: a\tb", "a\tb"),
        ("X-A: a:b", "a:b"),
    ],
)
def test_a_field_may_be_written_so(line: str, said: str | None) -> None:
    rules, findings = read(f"/*\n  X-A: 0\n  {line}\n".encode())
    assert not findings
    found = dict(rules.added((), False).fields)
    assert (said in {value.rpartition(", ")[2] for value in found.values()}) if said is not None else found == {}


@pytest.mark.parametrize("line", ["X-B-" + "a" * 125 + ": 1", "Proxy-X: 1", "X-Forwarded-Host: a", "!", "! :", "TE: x"])
def test_a_name_that_is_none_of_a_site_is_told(line: str) -> None:
    rules, findings = read(f"/*\n  {line}\n  X-A: 1\n".encode())
    assert [finding.line for finding in findings] == [2]
    assert dict(rules.added((), False).fields) == {"x-a": "1"}


@pytest.mark.parametrize(("parts", "told"), [(32, 0), (33, 1)])
def test_a_path_with_a_star_may_have_32_parts(parts: int, told: int) -> None:
    rules, findings = read(f"{'/a' * parts}/*\n  X-A: 1\n".encode())
    assert (len(rules), len(findings)) == (1 - told, told)
    assert len(read(f"{'/a' * 40}\n  X-A: 1\n".encode())[0]) == 1


def test_what_stands_below_no_path_is_told_once() -> None:
    _, findings = read(b"  X-A: 1\n  X-B: 2\n/a\n  X-C: 3\nhttp://\n  X-D: 4\n  X-E: 5\n")
    assert [finding.line for finding in findings] == [1, 5]

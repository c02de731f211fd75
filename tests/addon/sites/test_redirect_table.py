# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A table of redirect rules: in which order they count, how many there may be, what they take in memory."""

import gc
import tracemalloc

import pytest

from addon.sites import plugin_redirects, redirects
from addon.sites.redirect_table import Table, location, mark, unmarked
from addon.sites.rule_lines import Unfit, host_of, pattern_of
from tests.addon.sites.test_redirects import asked
from tests.cases import by_first


def read(text: str) -> Table:
    table, findings = redirects.read(text.encode())
    assert findings == ()
    return table


def lines_of(table: Table, path: str, **more: int) -> list[int]:
    """The lines of the rules that a path meets, one after the other."""
    found, after = [], more.get("after", 0)
    while (ruled := table.find(tuple(path.strip("/").split("/")), False, after=after)) is not None:
        found.append(ruled.line)
        after = ruled.line
    return found


def test_rules_of_both_kinds_count_in_the_order_of_the_file() -> None:
    table = read("/x/* /1 302\n/a/* /2\n/a/b /3\n/a/:x /4\n/:y/b /5\n/a/b/c /6\n")
    assert lines_of(table, "/a/b") == [2, 3, 4, 5]
    assert lines_of(table, "/a/b", after=2) == [3, 4, 5]
    assert lines_of(table, "/a/b", after=3) == [4, 5]
    assert lines_of(table, "/a/b", after=5) == []
    assert lines_of(table, "/a/b/c") == [2, 6]
    assert lines_of(table, "/x") == [1]
    assert lines_of(read("/a/b /3\n/a/* /2"), "/a/b") == [1, 2]


def test_a_table_says_what_it_holds() -> None:
    table = read("/b /1\n/c/* /2\n/a /3 302!\n/d/:x /4 200\n")
    assert (len(table), table.counts, table.has_forced) == (4, (2, 2), True)
    assert [(path, ruled.line, ruled.status, ruled.force, ruled.to) for path, ruled in table.simple()] == [
        ("b", 1, 301, False, "/1"),
        ("a", 3, 302, True, "/3"),
    ]
    assert [rule.line for rule in table.rules] == [2, 4]
    for text, forced in (("/a /b", False), ("/a /b 301!", True), ("/a/* /b 301!", True), ("/a/* /b", False)):
        assert read(text).has_forced is forced
    empty = read("")
    assert (len(empty), empty.counts, empty.has_forced, list(empty.simple())) == (0, (0, 0), False, [])
    assert empty.find((), False) is None


@pytest.mark.parametrize("line", [1, 2, 1_000_000])
@pytest.mark.parametrize("status", [200, 301, 308, 499])
@pytest.mark.parametrize("force", [True, False])
def test_line_status_and_force_are_one_number_in_the_order_of_lines(line: int, status: int, force: bool) -> None:
    assert unmarked(mark(line, status, force)) == (line, status, force)
    assert mark(line, 499, True) < mark(line + 1, 200, False)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"/page/{number} /other/{number}\n" for number in range(3_000)),
        "".join(f"/p{number}/* /other/{number}/:splat\n" for number in range(500)),
        "".join(f"/p{number}/:a/:b/x{number}/* /o/:b/{'x' * 300}/:splat\n" for number in range(400)),
        "".join(f"/p a{number}=:b c=d /other/{number}/:b\n" for number in range(400)),
    ],
    ids=["paths", "stars", "names", "queries"],
)
def test_what_a_table_takes_in_memory_is_what_it_says(text: str) -> None:
    data = text.encode()
    redirects.read(data)
    gc.collect()
    tracemalloc.start()
    table, _ = redirects.read(data)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.8 * taken < table.nbytes < 1.9 * taken


def test_an_empty_table_is_small() -> None:
    assert read("").nbytes < 1_000


def test_a_site_may_have_ten_thousand_rules_for_one_path_each_and_five_hundred_others() -> None:
    table, findings = redirects.read("".join(f"/s{number} /t\n" for number in range(10_001)).encode())
    assert (table.counts, [finding.reason[:16] for finding in findings]) == ((10_000, 0), ["1 rules are left"])
    table, findings = redirects.read("".join(f"/d{number}/* /t\n" for number in range(501)).encode())
    assert (table.counts, [finding.reason[:16] for finding in findings]) == ((0, 500), ["1 rules are left"])
    assert asked(table, "/d499/x") == "301 /t"
    table, findings = plugin_redirects.read("".join(f"s{number}:t\n" for number in range(26)).encode())
    assert (len(table), [finding.reason[:16] for finding in findings]) == (25, ["1 rules are left"])


@pytest.mark.parametrize(
    ("status", "fits"),
    [(200, 1), (201, 0), (300, 0), (301, 1), (304, 0), (308, 1), (309, 0), (399, 0), (400, 1), (499, 1), (500, 0)],
)
def test_which_status_a_rule_may_have(status: int, fits: int) -> None:
    table, findings = redirects.read(f"/a /b {status}".encode())
    assert (len(table), len(findings)) == (fits, 1 - fits)


@pytest.mark.parametrize(("length", "fits"), [(2_000, 1), (2_001, 0)])
def test_a_line_may_be_of_2000_characters(length: int, fits: int) -> None:
    table, findings = redirects.read(f"/a /{'é' * (length - 4)}".encode())
    assert (len(table), len(findings)) == (fits, 1 - fits)
    table, findings = redirects.read(f"/a /{'x' * (length - 4)}\n/ü /\xff".encode("latin-1"))
    assert (len(table), [finding.line for finding in findings]) == (fits, [1, 2][fits:])


@pytest.mark.parametrize(("over", "told"), [(0, 0), (1, 1)])
def test_a_file_may_be_of_1_mib(over: int, told: int) -> None:
    comment = b"#" * 1_023 + b"\n"
    data = comment * 1_023 + b"#" * (1_024 - 6 + over) + b"\n/a /b"
    assert len(data) == 1_048_576 + over
    table, findings = redirects.read(data)
    assert (len(table), len(findings)) == (1 - told, told)


@pytest.mark.parametrize(("parts", "fits"), [(31, True), (32, False)])
@pytest.mark.parametrize("path", ["/:x{}", "{}/:x", "/*{}", "{}/b*"])
def test_a_path_with_names_or_stars_may_have_32_parts(path: str, parts: int, fits: bool) -> None:
    written = path.format("/a" * (parts + path.startswith("/*")))
    if fits:
        assert pattern_of(written).least == 32
    else:
        with pytest.raises(Unfit):
            pattern_of(written)
    assert pattern_of("/a" * 40).least == 40


@pytest.mark.parametrize(
    "path",
    [
        *("/a%00", "/a%1f", "/a%7F", "/%2e%2e/a", "/a/./b", "/a//b", "/a%2fb", "/a%zz", "/a%2", "/a?b", "/a#b"),
        *("/*a", "/*/*"),
    ],
)
def test_a_path_that_nobody_can_ask_for_is_refused(path: str) -> None:
    with pytest.raises(Unfit) as refused:
        pattern_of(path)
    assert refused.value.reason


@pytest.mark.parametrize(("parts", "meets"), [(99, True), (100, False)])
def test_of_a_query_the_first_hundred_parts_are_looked_at(parts: int, meets: bool) -> None:
    query = "&".join(f"x{number}=1" for number in range(parts)) + "&a=b"
    found = read("/p a=b /q").find(("p",), False, query)
    assert (found is not None) is meets


@pytest.mark.parametrize(
    ("rules", "url", "to"),
    by_first(
        {
            "/p a=1 b=:c /q/:c": {"/p?a=1&b=2": "/q/2", "/p?a=2&b=2": None, "/p?a=1": None},
            "/p b=:c a=1 /q/:c": {"/p?a=1&b=2": "/q/2"},
            "/p a=1 /q\n/p b=1 /r": {"/p?b=1": "/r", "/p?b=1&a=1": "/q?b=1"},
            "/p a=1 /q\n/p /r": {"/p": "/r"},
            "/p a=:x /q/:x\n/p a=1 /r": {"/p?a=1": "/q/1"},
            "/p a=1 /q a=2": {"/p?a=1": None},
            "/p a=1 a=2 /q": {"/p?a=2": "/q"},
            "/p a=: /q": {"/p?a=:": "/q"},
            "/p a=1 /q": {"/p?a=1&b=%20c&d": "/q?b=%20c&d", "/p?a=1&a=1": "/q", "/p?b=3&a=1&c=4": "/q?b=3&c=4"},
            "/p a=1 /q#top": {"/p?a=1&c=4": "/q?c=4#top"},
            "/p /q#top?x": {"/p?c=4": "/q?c=4#top?x"},
            "/p /q": {"/p?": "/q?"},
        }
    ),
)
def test_what_a_query_decides_and_what_of_it_goes_along(rules: str, url: str, to: str | None) -> None:
    table, _ = redirects.read(rules.encode())
    assert asked(table, url) == (None if to is None else f"301 {to}")


@pytest.mark.parametrize(
    ("rules", "host", "to"),
    by_first(
        {
            "https://a.test/x https://b.test/y\n/x /z": {"a.test": "https://b.test/y", "c.test": "/z"},
            "https://a.test/x /1\nhttps://b.test/x /2": {"b.test": "/2", "c.test": None},
            "https://a.test:8443/x /1": {"a.test": "/1"},
            "https://a.test /1": {"a.test": None},
            "https://a.test/* https://b.test/x/:splat": {"a.test": "https://b.test/x/x"},
        }
    ),
)
def test_a_rule_of_a_host_is_for_that_host(rules: str, host: str, to: str | None) -> None:
    table, findings = redirects.read(rules.encode())
    assert not findings
    assert asked(table, "/x", host=host) == (None if to is None else f"301 {to}")


def test_who_asked_how_they_came_is_asked_only_where_a_rule_depends_on_it() -> None:
    asked_for: list[None] = []

    def secure() -> bool:
        asked_for.append(None)
        return True

    table = read("/a/* /b 302\nhttp://h.test/x https://h.test/x 301!\nhttps://h.test/y /z\n")
    for path, host, line, count in (("a", "h.test", 1, 0), ("x", "i.test", 0, 0), ("x", "h.test", 0, 1)):
        found = table.find((path,), False, None, host, secure)
        assert ((found.line if found is not None else 0), len(asked_for)) == (line, count)
    found = table.find(("y",), False, None, "h.test", secure)
    assert found is not None
    assert found.line == 3


@pytest.mark.parametrize(
    ("rules", "address", "to"),
    by_first(
        {
            # What is sent on is not sent on again, on the host that it is sent to.
            "/* /en/:splat 302": {"a.test/en": None, "a.test/en/x": None, "a.test/enx": "302 /en/enx"},
            "/* /en/:splat 200": {"a.test/en/x": "200 /en/en/x"},
            "/* https://b.test/en/:splat 302": {"a.test/en/x": "302 https://b.test/en/en/x", "b.test/en/x": None},
            "/* https://b.test:8443/en/:splat 302": {"b.test/en/x": None},
            "/* /a/b:splat 302": {"a.test/a/x": None},
            "/* /a/b 302": {"a.test/a": "302 /a/b", "a.test/a/b/c": None},
            "/a/* /b/:splat 302": {"a.test/b/x": None},
            "/a/* /a/b/:splat 302": {"a.test/a/b": None, "a.test/a/c": "302 /a/b/c"},
            "/a/x* /a/y/:splat 302": {"a.test/a/xy": "302 /a/y/y"},
            "/* /en?p=:splat 302": {"a.test/en": None},
            "/* /en#:splat 302": {"a.test/en/x": None},
        }
    ),
)
def test_no_rule_sends_on_what_it_has_sent(rules: str, address: str, to: str | None) -> None:
    host, slash, path = address.partition("/")
    assert asked(read(rules), slash + path, host=host) == to


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/a", None),
        ("ftp://a.test/", None),
        ("HTTPS://A.Test/b?c#d", ("https", "a.test", "/b?c#d")),
        ("http://a.test.", ("http", "a.test", "")),
        ("http://a.test:80?x", ("http", "a.test:80", "?x")),
        ("http://bücher.test/", ("http", "xn--bcher-kva.test", "/")),
        ("http://a_b-c.test/", ("http", "a_b-c.test", "/")),
        (f"http://{'a' * 63}.test", ("http", f"{'a' * 63}.test", "")),
        (f"http://{'a.' * 126}a", ("http", f"{'a.' * 126}a", "")),
    ],
)
def test_an_address_has_a_host(text: str, found: tuple[str, str, str] | None) -> None:
    assert host_of(text) == found


@pytest.mark.parametrize(
    "host",
    [
        "u@a.test",
        "*.test",
        "a.test:",
        "a.test:123456",
        "a.test:80:80",
        "",
        "a..test",
        "-a.test",
        "a-.test",
        "a b",
        "..",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    _refused(host)


def test_a_name_that_is_too_long_is_no_host() -> None:
    for host in ("a" * 64, "a." * 127 + "a", "ü" * 254):
        _refused(host)


def _refused(host: str) -> None:
    with pytest.raises(Unfit) as refused:
        host_of(f"https://{host}/x")
    assert refused.value.reason


def test_a_location_is_below_the_site_and_keeps_what_was_asked() -> None:
    table = read("/a /b\n/c https://e.test/d?x\n/e /f#g\n")

    def to(path: str, query: str | None, base: str = "/s") -> str:
        found = table.find((path,), False, query)
        assert found is not None
        return location(found, base, query)

    assert [to("a", None), to("a", ""), to("a", 'q=ü\udcff "')] == ["/s/b", "/s/b?", "/s/b?q=%C3%BC%FF%20%22"]
    assert [to("c", None), to("c", "q")] == ["https://e.test/d?x"] * 2
    assert to("e", "q") == "/s/f?q#g"

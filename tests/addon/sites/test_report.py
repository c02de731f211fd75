# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What an owner is told of rules that can never come true, each with its line and what to do."""

from dataclasses import replace

import pytest

from addon.sites import report, rules
from addon.sites.findings import MOST, Finding, Findings, quoted
from addon.sites.pages_file import PagesFile, parse
from addon.sites.site import Site, files_below

FILES = ("index.html", "about.html", "dir/index.html", "page.html", "gone.html")


def a_site(redirects: str, pages_file: PagesFile | None = None, **others: str) -> Site:
    rows = [(f"public/{path}", 0o100644, "a" * 40, 1) for path in FILES]
    files = {"_redirects": redirects.encode(), **{name: text.encode() for name, text in others.items()}}
    return Site("alice", "blog", "c" * 40, 1.0, pages_file or PagesFile(), files_below(rows), rules=rules.read(files))


@pytest.mark.parametrize(
    "redirects",
    [
        "/old /about",
        "/about /old 301!",
        "/a/b /page\n/a/:x /about",
        "/* id=1 /about\n/old /page",
        "/a/:x/b /page\n/a/* /about",
        "/a/:x /about\n/a/:y/* /page",
        "https://x.example/* /about\n/a/:x /page",
        "/a /b\n/b /c\n/c /about",
        "/x /gone.html 410",
        "/* /index.html 200",
        "/x/* /:splat/y.html 200",
        "/b/* /about\n/a/:x /page",
        "/a/* /about\n/b/:x /page",
        "/a /about.html 200\n/about.html /a 301!",
        "# one of many\n" * 300 + "/old /about",
    ],
)
def test_of_a_rule_that_can_come_true_nothing_is_told(redirects: str) -> None:
    assert not report.findings(a_site(redirects))


@pytest.mark.parametrize(
    ("redirects", "told"),
    [
        ("/about /old", {1: "a file is there"}),
        ("/about.html /old", {1: "a file is there"}),
        ("/dir /old", {1: "a file is there"}),
        ("/* /new/:splat 302\n/old /about", {2: "line 1 takes this path"}),
        ("/a/:x /about\n/a/b /page", {2: "line 1 takes this path"}),
        ("/a/* /about\n/a/:x/b /page", {2: "takes all its paths"}),
        ("/a /a", {1: "leads to itself"}),
        ("/a /b\n/b /a", {1: "lines 1, 2", 2: "lines 2, 1"}),
        ("/a /about\n/about /a 301!", {1: "lines 1, 2", 2: "lines 2, 1"}),
        ("/:x/y /:x/y/z/y 302\n/:x/y/z/y /w/y", {1: "leads", 2: "leads"}),
        ("/:a /b/:a\n/b/:a /:a", {1: "leads", 2: "leads"}),
        ("/x /nothing.html 200", {1: "no `/nothing.html`"}),
        ("/x https://e.example/\n/y //z", {2: "another host"}),
        ("/a x=1 /a", {1: "leads to itself"}),
        ("/a x=:y /a", {1: "leads to itself"}),
        ("/c/* /about\n/a /nothing 200\n/b/:x /nothing 200\n/d /nothing 200", dict.fromkeys((2, 3, 4), "there is no")),
    ],
)
def test_a_rule_that_cannot_come_true_is_told(redirects: str, told: dict[int, str]) -> None:
    found = report.findings(a_site(redirects))
    assert [finding.line for finding in found] == sorted(told)
    assert {finding.line for finding in found} == set(told)
    for finding in found:
        assert finding.line is not None
        assert told[finding.line] in finding.reason
        assert finding.remedy


def test_what_is_too_much_to_tell_is_counted() -> None:
    findings = Findings("_headers")
    for number in range(MOST + 3):
        findings.add(number, "nothing")
    told = findings.all()
    assert (len(told), told[-2].line, told[-1].reason) == (MOST + 1, MOST - 1, "and 3 more like these")


def test_all_files_are_told_of_and_the_report_is_bounded() -> None:
    site = a_site("\n".join(f"/x{number} /nothing 200" for number in range(MOST + 50)), parse(b"enabeld: true"))
    found = report.findings(site)
    assert str(found[0]).startswith(".pages: line 1: unknown name")
    assert len(found) == 1 + MOST + 1
    assert found[-1].reason == "and 50 more like these"
    plugins = replace(a_site(""), rules=rules.read({".redirects": b"index.html:about.html\nx:x\n"}))
    assert [(finding.file, finding.line) for finding in report.findings(plugins)] == [(".redirects", 2)]
    noted = replace(plugins, rules=rules.read({}), notes=(Finding("", None, "x"), Finding("public/", None, "y")))
    assert [finding.file for finding in report.findings(noted)] == ["the site", "public/"]
    both = a_site("/a /about", None, **{".redirects": "a:b", "_headers": "X: y"})
    assert [finding.file for finding in report.findings(both)] == [".redirects", "_headers"]
    assert str(Finding("_headers", 3, "what", "do")) == "_headers, line 3: what; do"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "``"),
        ("/a b", "`/a b`"),
        ("a" * 60, f"`{'a' * 60}`"),
        ("a" * 61, f"`{'a' * 59}…`"),
        ("a" * 5000, f"`{'a' * 59}…`"),
        ("a\nb\x00\u202e", "`a�b��`"),
    ],
)
def test_a_piece_of_a_file_is_shown_short_and_on_one_line(text: str, shown: str) -> None:
    assert quoted(text) == shown


def test_two_hundred_findings_are_told_and_one_of_the_rest() -> None:
    for count in (0, 199, 200, 201):
        findings = Findings("_headers")
        for number in range(count):
            findings.add(number, "what", "do", lost=number > 0)
        told = findings.all()
        assert [finding.line for finding in told] == [*range(min(count, 200)), *([None] if count > 200 else [])]
        assert [finding.lost for finding in told[:2]] == [False, True][: len(told)]
    assert str(Finding("_headers", None, "what")) == "_headers: what"

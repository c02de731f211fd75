# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which names a site may claim: each refusal says why, and nothing comes out that could mean more than a host."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.domains import public_suffixes
from addon.domains.names import DomainNames, NameRefused, shown
from addon.domains.public_suffixes import is_public_suffix, registrable_domain
from addon.settings.schema import Settings

NAMES = DomainNames(
    Settings.from_mapping(
        {
            "pagesDomain": "pages.example.com",
            "forgejoHost": "http://forge.internal.example:3000",
            "forgejoPublicHost": "git.example.com",
            "reservedDomains": ["bank.example", "corp.example.net"],
            "claimableDomains": ["shop.example.com", "git.example.com"],
            "stateDir": "/nowhere",
        },
        environ={},
    )
)

LONG = ".".join(["a" * 63] * 3 + ["org"])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("www.example.org", "www.example.org"),
        ("Blog.Example.ORG", "blog.example.org"),
        ("example.org.", "example.org"),
        ("  example.org ", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("evilexample.com", "evilexample.com"),
        ("shop.example.com", "shop.example.com"),  # claimable
        ("a.shop.example.com", "a.shop.example.com"),
        ("notbank.example", "notbank.example"),
        ("me.github.io", "me.github.io"),
        ("a.co.uk", "a.co.uk"),
        ("a-b.c--d.example", "a-b.c--d.example"),
        ("1.example.org", "1.example.org"),
        (".".join(["a" * 63] * 3 + ["b" * 57, "org"]), ".".join(["a" * 63] * 3 + ["b" * 57, "org"])),
    ],
)
def test_a_host_name_may_be_claimed(text: str, name: str) -> None:
    assert NAMES.domain(text) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a host name"),
        ("https://example.org", "leave out the scheme"),
        ("example.org/x", "leave out the path"),
        ("example.org:443", "leave out the port"),
        ("*.example.org", "leave out the `*.`"),
        ("localhost", "at least one dot"),
        ("org", "at least one dot"),
        ("_dmarc.example.org", "expected a host name"),
        ("-a.example.org", "expected a host name"),
        ("a..example.org", "expected a host name"),
        (".example.org", "expected a host name"),
        ("a b.example.org", "expected a host name"),
        ("a\n.example.org", "expected a host name"),
        ("a\0.example.org", "expected a host name"),
        ("a" * 64 + ".example.org", "expected a host name"),
        ("a." * 127 + "org", "253"),
        ("faß.example", "xn-- form"),
        ("a\u200db.example", "xn-- form"),
        ("xn--a.example", "stands for nothing"),
        ("xn--\u00e9.example", "expected a host name"),
        ("127.0.0.1", "an address"),
        ("127.1", "no number"),
        ("0x7f000001", "no number"),
        ("a.0x7f", "no number"),
        ("[::1]", "an address"),
        ("::1", "an address"),
        ("pages.example.com", "belong to the pages server"),
        ("alice.pages.example.com", "belong to the pages server"),
        ("PAGES.example.com.", "belong to the pages server"),
        ("git.example.com", "the forge itself"),
        ("forge.internal.example", "the forge itself"),
        ("example.com", "the operator's own"),  # a parent of the pages domain
        ("www.example.com", "the operator's own"),
        ("evilpages.example.com", "the operator's own"),
        ("x.y.example.com", "the operator's own"),
        ("internal.example", "the operator's own"),  # beside forgejoHost
        ("co.uk", "public suffix"),
        ("cloudfront.net", "public suffix"),
        ("github.io", "public suffix"),
        ("公司.cn", "public suffix"),
        ("bank.example", "reserved by the operator"),
        ("www.bank.example", "reserved by the operator"),
        ("x.corp.example.net", "reserved by the operator"),
        # S2: what the Traefik plugin puts into a router's rule.
        ("a`) || HostRegexp(`.+", "expected a host name"),
        ("attacker:evil", "expected a host name"),
        ("a.example`)", "expected a host name"),
        ("a,b.example", "expected a host name"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(NameRefused) as caught:
        NAMES.domain(text)
    assert reason in caught.value.reason
    assert str(caught.value).isprintable()


@given(st.text(max_size=40) | st.from_regex(r"[a-zA-Z0-9.:`()|*_-]{1,30}", fullmatch=True))
def test_nothing_comes_out_but_a_host_name(text: str) -> None:
    try:
        name = NAMES.domain(text)
    except NameRefused:
        return
    assert re.fullmatch(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name)
    assert NAMES.domain(name) == name


@pytest.mark.parametrize(
    ("branch", "domain", "host"),
    [
        ("dev", "blog.example.org", "dev.blog.example.org"),
        ("feature/X", "blog.example.org", "feature-x.blog.example.org"),
        ("2024", "blog.example.org", "2024.blog.example.org"),
        ("x" * 57, LONG, f"{'x' * 57}.{LONG}"),  # 253 characters
    ],
)
def test_a_branch_has_a_host_below_the_domain(branch: str, domain: str, host: str) -> None:
    assert NAMES.branch_host(branch, domain) == host


@pytest.mark.parametrize(
    ("branch", "domain", "reason"),
    [
        ("www", "blog.example.org", "never a branch's"),
        ("WWW/", "blog.example.org", "never a branch's"),
        ("___", "blog.example.org", "no letter or digit"),
        ("pages", "example.com", "belong to the pages server"),
        ("git", "example.com", "the forge itself"),  # claimable or not
        ("mail", "example.com", "the operator's own"),
        ("corp", "example.net", "reserved by the operator"),
        ("github", "io", "public suffix"),
        ("x" * 63, LONG, "longer than 253"),
        ("x" * 58, LONG, "longer than 253"),
    ],
)
def test_a_branch_may_not_take_what_no_site_may_have(branch: str, domain: str, reason: str) -> None:
    with pytest.raises(NameRefused, match=reason):
        NAMES.branch_host(branch, domain)


def test_what_is_shown_of_a_name_is_one_short_printable_line() -> None:
    assert shown("a\nb\x1b[31mé" + "x" * 200) == "a?b?[31m?" + "x" * 70 + "…"
    assert shown(" ~\x7f") == " ~?"
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 79 + "…"


def names(
    pages_domain: str, forge: str = "http://127.0.0.1:3000", root_host: str = "", **options: object
) -> DomainNames:
    mapping = {"pagesDomain": pages_domain, "forgejoHost": forge, "stateDir": "/nowhere", **options}
    return DomainNames(Settings.from_mapping(mapping, environ={}), lambda: root_host)


@pytest.mark.parametrize(
    ("rules", "name", "allowed"),
    [
        (names("pages.example.org"), "example.org", False),
        (names("pages.example.org"), "www.example.org", False),
        (names("pages.example.org"), "example.net", True),
        # What Forgejo calls itself, with nothing but the two required settings.
        (names("pages.example.org", root_host="codeforge.example.net"), "codeforge.example.net", False),
        (names("pages.example.org", root_host="codeforge.example.net"), "www.example.net", False),
        (names("pages.example.org", root_host="codeforge.example.net"), "example.com", True),
        (names("pages.example.org", root_host="localhost"), "example.com", True),
        (names("pages.example.org", root_host="192.0.2.1"), "example.com", True),
        # Below a public suffix, neighbours are other people's.
        (names("alice.github.io"), "bob.github.io", True),
        (names("alice.github.io"), "alice.github.io", False),
        (names("pages.alice.co.uk"), "bob.co.uk", True),
        (names("pages.alice.co.uk"), "www.alice.co.uk", False),
        # A pages domain that is on the list, as it should be: what is above it is the operator's all the same.
        (names("blogspot.com"), "www.blogspot.com", False),
        (names("eu.platform.sh"), "platform.sh", False),
        (names("pages.test"), "www.pages.example", True),
    ],
)
def test_the_operators_own_names_are_nobodys(rules: DomainNames, name: str, allowed: bool) -> None:
    if allowed:
        assert rules.domain(name) == name
    else:
        with pytest.raises(NameRefused):
            rules.domain(name)


def test_the_operator_may_give_away_what_is_the_operators_but_not_the_forge() -> None:
    settings = Settings.from_mapping(
        {"pagesDomain": "pages.example.org", "forgejoHost": "http://git.example.org", "stateDir": "/nowhere"},
        environ={},
    )
    rules = DomainNames(settings, by_operator=True)
    assert rules.domain("www.example.org") == "www.example.org"
    for name in ("git.example.org", "pages.example.org", "alice.pages.example.org", "co.uk"):
        with pytest.raises(NameRefused):
            rules.domain(name)


def test_the_list_of_public_suffixes_is_a_fresh_one() -> None:
    assert public_suffixes.is_fresh()
    assert is_public_suffix("github.io")
    assert not is_public_suffix("example.org")


def test_with_mitmproxy_alone_its_old_list_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    public_suffixes._suffixes.cache_clear()
    try:
        assert not public_suffixes.is_fresh()
        assert [registrable_domain(name) for name in ("a.b.co.uk", "co.uk", "b.example.org", "localhost", "::1")] == [
            "b.co.uk",
            None,
            "example.org",
            None,
            None,
        ]
    finally:
        public_suffixes._suffixes.cache_clear()


@pytest.mark.parametrize(
    "name", ["preview.example.net", "pr-1--blog--alice.preview.example.net", "example.net", "www.example.net"]
)
def test_names_of_previews_are_nobodys(name: str) -> None:
    options = {"pagesDomain": "pages.example.org", "forgejoHost": "http://forge.internal:3000", "stateDir": "/nowhere"}
    plain = DomainNames(Settings.from_mapping(options, environ={}))
    assert plain.domain(name) == name
    rules = DomainNames(Settings.from_mapping({**options, "previewDomain": "preview.example.net"}, environ={}))
    with pytest.raises(NameRefused, match="are previews" if "preview" in name else "the operator's own"):
        rules.domain(name)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which names a site may claim: each refusal says why, and nothing comes out that could mean more than a host."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.domains.names import DomainNames, NameRefused, shown
from addon.settings.schema import Settings

NAMES = DomainNames(
    Settings.from_mapping(
        {
            "pagesDomain": "pages.example.com",
            "forgejoHost": "http://forge.internal.example:3000",
            "forgejoPublicHost": "git.example.com",
            "reservedDomains": ["bank.example", "corp.example.net"],
            "stateDir": "/nowhere",
        },
        environ={},
    )
)


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
        ("example.com", "example.com"),  # the pages domain's parent is somebody's, too
        ("evilpages.example.com", "evilpages.example.com"),
        ("x.git.example.com", "x.git.example.com"),
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
        ("co.uk", "public suffix"),
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
        ("git", "example.com", "the forge itself"),
        ("corp", "example.net", "reserved by the operator"),
        ("github", "io", "public suffix"),
        ("x" * 63, ".".join(["a" * 63] * 3 + ["org"]), "longer than 253"),
    ],
)
def test_a_branch_may_not_take_what_no_site_may_have(branch: str, domain: str, reason: str) -> None:
    with pytest.raises(NameRefused, match=reason):
        NAMES.branch_host(branch, domain)


def test_what_is_shown_of_a_name_is_one_short_printable_line() -> None:
    assert shown("a\nb\x1b[31mé" + "x" * 200) == "a?b?[31m?" + "x" * 70 + "…"

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Keys and values of custom domains against what the Traefik plugin writes and accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.shared import domain_mappings
from addon.shared.domain_mappings import (
    Mapping,
    branch_label,
    custom_domain_key,
    domains_key,
    host_of,
    mapping_of,
    reverse_key,
    shows_branch,
    site_of,
    value_of,
)


@pytest.mark.parametrize(
    ("value", "mapping"),
    [
        ("alice:blog", Mapping("alice", "blog")),
        ("alice:.profile", Mapping("alice", ".profile")),
        ("Alice:Blog", Mapping("Alice", "Blog")),
        ("alice:blog:dev", Mapping("alice", "blog", "dev")),
        ("alice:blog:feature/x", Mapping("alice", "blog", "feature/x")),
        ("alice:blog:a:b", Mapping("alice", "blog", "a:b")),
        ("alice:blog:größe", Mapping("alice", "blog", "größe")),
    ],
)
def test_a_mapping_is_what_its_value_says_and_back(value: str, mapping: Mapping) -> None:
    assert mapping_of(value) == mapping
    assert mapping_of(value.encode()) == mapping
    assert value_of(mapping) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "alice",
        ":",
        "alice:",
        ":blog",
        "alice:blog:",
        "alice/blog",
        "alice:..",
        "../x:blog",
        "alice:blog.git",
        "alice:b log",
        "al ice:blog",
        "alice:blog\n",
        "alice\0:blog",
        "alice:blog:../../x",
        "alice:blog:a b",
        "alice:blog:-x",
        "<h1>:</h1>",
        "alice:blog:" + "x" * 3000,
        b"\xff\xfe:blog",
        b"alice:\xff",
    ],
)
def test_nonsense_is_no_mapping(value: str | bytes) -> None:
    assert mapping_of(value) is None


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_value_is_a_mapping_that_can_be_written_or_none(value: str | bytes) -> None:
    mapping = mapping_of(value)
    if mapping is not None:
        assert mapping_of(value_of(mapping)) == mapping


def test_the_case_of_a_site_does_not_count_that_of_a_branch_does() -> None:
    assert Mapping("B", "R").same_as(Mapping("b", "r"))
    assert not Mapping("b", "r", "Dev").same_as(Mapping("b", "r", "dev"))
    assert not Mapping("b", "r", "dev").same_as(Mapping("b", "r"))
    assert not Mapping("b", "r").same_as(None)


@pytest.mark.parametrize(
    ("branch", "label"),
    [
        ("stage", "stage"),
        ("feature/new-ui", "feature-new-ui"),
        ("release_v1", "release-v1"),
        ("feature/user/auth", "feature-user-auth"),
        ("Feature/New-UI", "feature-new-ui"),
        ("release.1.0", "release-1-0"),
        ("hotfix-123", "hotfix-123"),
        ("123-fix", "123-fix"),
        ("feature//test__branch", "feature-test-branch"),
        ("/feature", "feature"),
        ("feature/", "feature"),
        ("", ""),
        ("///___", ""),
        ("größe", "gre"),
        ("---a---b---", "a-b"),
        ("xn--fa-hia", "xn-fa-hia"),
        ("x" * 70, "x" * 63),
        ("x" * 62 + "-yy", "x" * 62),
        ("日本", ""),
        ("@{x}", "x"),
    ],
)
def test_a_branch_has_the_label_that_the_plugin_gives_it(branch: str, label: str) -> None:
    assert branch_label(branch) == label


def test_keys_are_the_plugins() -> None:
    assert custom_domain_key("Blog.Example.org") == "custom_domain:blog.example.org"
    assert host_of(b"custom_domain:blog.example.org") == "blog.example.org"
    assert reverse_key("alice", "blog") == "alice:blog"
    assert reverse_key("Alice", "Blog") == "Alice:Blog"
    assert reverse_key("alice", "blog", "feature/x") == "alice:blog:branch:feature/x"
    assert domains_key("Alice", "Blog") == "~pages:domains:alice/blog"
    assert site_of("~pages:domains:alice/blog") == ("alice", "blog")


@pytest.mark.parametrize("name", ["custom_domain:", "alice:blog", "~pages:domains:alice/blog", "", b"\xff"])
def test_other_keys_are_no_forward_keys(name: str | bytes) -> None:
    assert host_of(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "~pages:domains:",
        "~pages:domains:a",
        "~pages:domains:/x",
        "~pages:domains:a/",
        "~pages:domains:a/b/c",
        "~pages:DOMAINS:a/b",
        "~pages:domain",
        b"~pages:domains:a/\xff",
    ],
)
def test_other_keys_are_no_sites(name: str | bytes) -> None:
    assert site_of(name) is None


@pytest.mark.parametrize(
    "owner", ["custom_domain", "Custom_Domain", "password", "traefik", "redirects_meta", "a:b", ""]
)
def test_a_reverse_key_that_could_be_another_kind_of_key_is_none(owner: str) -> None:
    assert reverse_key(owner, "www.victim.com") is None
    assert reverse_key(owner, "blog", "dev") is None


@pytest.mark.parametrize("branch", ["public", "public/index.html", "a b", ""])
def test_a_branch_whose_reverse_key_could_be_content_has_none(branch: str) -> None:
    assert reverse_key("alice", "blog", branch) is None


def test_a_value_is_read_up_to_its_limit_and_no_further() -> None:
    """What stands in Redis is anybody's who may write there: bounded before it is looked at."""
    for size, read in ((1024, True), (1025, False), (3000, False)):  # as long as a branch's name may be
        branch = "b" * size
        for value in (f"alice:blog:{branch}", f"alice:blog:{branch}".encode()):
            assert mapping_of(value) == (Mapping("alice", "blog", branch) if read else None)


def test_a_label_is_as_long_as_dns_allows_and_ends_in_no_hyphen() -> None:
    assert branch_label("a" * 63) == "a" * 63
    assert branch_label("a" * 64) == "a" * 63
    assert branch_label("a" * 62 + "/b") == "a" * 62


def test_values_are_read_up_to_two_kibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else is looked at, a name of the largest size that a branch may have fits in it."""
    monkeypatch.setattr(domain_mappings, "is_branch", lambda name: True)
    for size, read in ((2048, True), (2049, False)):
        value = "alice:blog:" + "b" * (size - len("alice:blog:"))
        assert (mapping_of(value) is not None) == (mapping_of(value.encode()) is not None) == read


@pytest.mark.parametrize(
    ("host", "branch", "enabled", "shown"),
    [
        ("dev.blog.example", "dev", ["dev"], True),
        ("dev.blog.example", "dev", [], False),
        ("dev.other.example", "dev", [], False),
        ("feature-x.blog.example", "feature/X", ["dev"], False),
        ("show.example", "dev", [], True),  # the operator's doing
        ("blog.example", "dev", [], True),
        ("x.dev.blog.example", "dev", [], True),
    ],
)
def test_a_branch_is_shown_on_its_host_as_long_as_it_is_enabled(
    host: str, branch: str, enabled: list[str], shown: bool
) -> None:
    assert shows_branch(host, branch, ["Blog.Example", "other.example."], enabled) == shown


def test_a_branch_called_like_a_folder_of_content_has_a_reverse_key_unless_it_is_that_folder() -> None:
    assert reverse_key("alice", "blog", "publication") == "alice:blog:branch:publication"
    assert reverse_key("alice", "b log") is None
    assert reverse_key("customdomain", "blog") is None

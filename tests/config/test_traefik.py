# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`config/traefik/` fits together, and what stands for Traefik here reads what the plugin wrote for the real one."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from addon.commands.init import with_previews
from addon.settings.schema import Settings
from tests.config.traefik_reading import DYNAMIC, PLUGIN_REDIS, STATIC, fill, read_tree, routers, yaml
from tests.resp.servers import Server, start_valkey

MINIMAL = {"pagesDomain": "pages.example.org", "forgejoHost": "http://127.0.0.1:3000"}
PLUGIN = frozenset({"pages-server@file"})


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with start_valkey() as server:
        fill(server)
        yield server


def test_the_plugins_keys_are_read_as_its_traefik_read_them(redis: Server) -> None:
    found = routers(redis, middlewares=PLUGIN)
    assert {each.hosts[0] for each in found.values()} == {
        "blog.example.org",
        "dev.blog.example.org",
        "feature-x.blog.example.org",
        "redir.example.org",
        "pages.test",
    }
    assert found["custom-redir-example-org"].middlewares == [
        "redirects-redir-example-org-0@redis",
        "redirects-redir-example-org-1@redis",
        "redirects-redir-example-org-2@redis",
        "pages-server@file",
    ]
    assert {each.url for each in found.values()} == {None}


def test_without_its_plugin_those_routers_lead_nowhere(redis: Server) -> None:
    with pytest.raises(AssertionError, match="pages-server@file"):
        routers(redis)


def test_another_root_is_another_configuration(redis: Server) -> None:
    assert read_tree(redis, "other") == {}
    assert PLUGIN_REDIS.read_text().count('"traefik/') == len(list(_leaves(read_tree(redis))))


def test_the_static_file_has_what_the_routers_name_and_the_options_of_the_server() -> None:
    static = yaml(STATIC)
    defaults = Settings.from_mapping(MINIMAL)
    assert list(static["entryPoints"]) == ["web", "websecure"]
    assert defaults.traefik_redis_cert_resolver in static["certificatesResolvers"]
    assert static["providers"]["redis"]["rootKey"] == defaults.traefik_redis_root_key
    assert static["providers"]["redis"]["endpoints"] == [f"127.0.0.1:{defaults.redis_port}"]
    # A router for HTTPS does not answer plain HTTP: that is redirected before any router is looked at.
    assert static["entryPoints"]["web"]["http"]["redirections"]["entryPoint"]["to"] == "websecure"


def with_routers_of_previews() -> Any:
    """The dynamic file with the lines in use that stand there in a comment."""
    return YAML(typ="safe").load(with_previews(DYNAMIC.read_text(), "preview.test"))


def test_the_dynamic_file_has_routers_that_lead_somewhere() -> None:
    static, http = yaml(STATIC), with_routers_of_previews()["http"]
    assert list(yaml(DYNAMIC)["http"]["routers"]) == ["pages"]
    assert list(http["routers"]) == ["pages", "previews"]
    for router in http["routers"].values():
        assert set(router["entryPoints"]) <= set(static["entryPoints"])
        assert router["tls"]["certResolver"] in static["certificatesResolvers"]
        assert router["service"] in http["services"]
    assert str(next(iter(Settings.from_mapping(MINIMAL).listen))) in str(http["services"])


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("pages.example.org", True),
        ("alice.pages.example.org", True),
        ("al.ice.pages.example.org", True),
        ("evilpages.example.org", False),
        ("pages.example.org.evil.net", False),
        ("pagesXexample.org", False),
        ("git.example.org", False),
    ],
)
def test_the_pages_domain_and_what_is_below_it_comes_to_us(host: str, ours: bool) -> None:
    rule = yaml(DYNAMIC)["http"]["routers"]["pages"]["rule"]
    parts = re.fullmatch(r"Host\(`([^`]+)`\) \|\| HostRegexp\(`([^`]+)`\)", rule)
    assert parts is not None
    exact, pattern = parts.groups()
    assert (host == exact or re.search(pattern, host) is not None) is ours


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("pr-1--blog--alice.preview.test", True),
        ("x.pr-1--blog--alice.preview.test", False),  # no certificate would be for it
        ("preview.test", False),
        ("evilpreview.test", False),
        ("a.preview.test.evil.net", False),
        ("a.previewXtest", False),
    ],
)
def test_what_is_one_label_below_the_domain_of_previews_comes_to_us(host: str, ours: bool) -> None:
    router = with_routers_of_previews()["http"]["routers"]["previews"]
    pattern = re.fullmatch(r"HostRegexp\(`([^`]+)`\)", router["rule"])
    assert pattern is not None
    assert (re.search(pattern[1], host) is not None) is ours
    assert router["tls"]["domains"] == [{"main": "*.preview.test"}]


def _leaves(node: object) -> Iterator[object]:
    if isinstance(node, dict):
        for each in node.values():
            yield from _leaves(each)
    else:
        yield node

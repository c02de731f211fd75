# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Traefik 3 makes of the keys in Redis, by the rules of its Redis provider (kvtools/redis and traefik/paerser).

SCAN for `{root}*`, one MGET, empty values left out; then only what lies below `{root}/`, as a tree. Names of options
count whatever their case, and the children of a list are its items, in the order of their numbers. No router without a
rule, and a name that nobody knows, of an entry point, a service or a middleware, makes the router useless.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.integration.running import ROOT
from tests.resp.servers import Server

PLUGIN_REDIS = Path(__file__).with_name("plugin-redis.jsonl")
"""All keys as the Traefik plugin and its `/LOAD_REDIRECTS` wrote them under Traefik 3.7."""
STATIC = ROOT / "config" / "traefik" / "traefik.yml"
DYNAMIC = ROOT / "config" / "traefik" / "pages.yml"


class Router(NamedTuple):
    """What a router is, with the address that its service leads to (None: `noop@internal`)."""

    hosts: list[str]
    entry_points: list[str]
    middlewares: list[str]
    resolver: str
    priority: int
    url: str | None


def fill(redis: Server) -> None:
    """Put into a Redis what the plugin left there."""
    with redis.console() as console:
        for line in PLUGIN_REDIS.read_text().splitlines():
            row = json.loads(line)
            life = ("EX", row["ttl"]) if row["ttl"] > 0 else ()
            console.ask("SET", row["key"], row["value"], *life)


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def read_tree(redis: Server, root: str = "traefik") -> dict[str, Any]:
    """The provider's tree."""
    tree: dict[str, Any] = {}
    with redis.console() as console:
        keys = sorted(set(_scan(console, f"{root}*")))
        values = console.ask("MGET", *keys) if keys else []
    assert isinstance(values, list)
    for key, value in zip(keys, values):
        if not value or not key.startswith(f"{root}/"):
            continue
        assert isinstance(value, bytes)
        *way, last = key.removeprefix(f"{root}/").split("/")
        node = tree
        for step in way:
            node = node.setdefault(step, {})
            assert isinstance(node, dict), f"{key}: below a value"
        assert last not in node, f"{key}: twice"
        node[last] = value.decode()
    return tree


def routers(redis: Server, root: str = "traefik", *, middlewares: frozenset[str] = frozenset()) -> dict[str, Router]:
    """The routers that Traefik would have, each checked; middlewares: those of other providers, `name@file`."""
    static = yaml(STATIC)
    http = read_tree(redis, root).get("http", {})
    services = {
        name: option(option(each, "loadBalancer"), "servers") for name, each in http.get("services", {}).items()
    }
    known = middlewares | {f"{name}@redis" for name in http.get("middlewares", {})}
    found: dict[str, Router] = {}
    for name, each in http.get("routers", {}).items():
        hosts = re.fullmatch(r"Host\(`([a-z0-9.-]+)`\)", option(each, "rule"))
        assert hosts is not None, f"{name}: {option(each, 'rule')}"
        points = items(option(each, "entryPoints"))
        assert set(points) <= set(static["entryPoints"]), f"{name}: {points}"
        wanted = items(option(each, "middlewares", {}))
        assert set(wanted) <= known, f"{name}: {wanted}"
        resolver = option(option(each, "tls"), "certResolver")
        service = option(each, "service")
        url = None if service == "noop@internal" else option(items(services[service.removesuffix("@redis")])[0], "url")
        found[name] = Router([hosts[1]], points, wanted, resolver, int(option(each, "priority")), url)
    return found


def option(node: dict[str, Any], name: str, default: Any = None) -> Any:
    """A field, whatever the case of its key."""
    values = [value for key, value in node.items() if key.lower() == name.lower()]
    assert len(values) <= 1, f"{name}: in two cases"
    assert values or default is not None, f"{name}: missing of {node}"
    return values[0] if values else default


def items(node: dict[str, Any]) -> list[Any]:
    """A list."""
    return [node[number] for number in sorted(node, key=int)]


def _scan(console: Any, pattern: str) -> Iterator[str]:
    cursor = b"0"
    while True:
        cursor, keys = console.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 10)
        yield from (key.decode() for key in keys)
        if cursor == b"0":
            return

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The keys by which Traefik's Redis provider knows a custom domain: the Traefik plugin's, byte for byte. Pure.

A router is brought in line with what its host's forward key says, whatever was there before: written whole, or taken
away whole, with all that hangs on it. Its name is the plugin's, `custom-` and the host with dashes for dots, which is
the same for a-b.com and a.b.com: whoever comes second gets a name of his own, and a router whose rule is another
host's is nobody's to change. What nobody has validated never becomes a rule.
"""

import hashlib
import re
from typing import Final, Protocol

from addon.settings.schema import Settings
from addon.shared.domain_mappings import custom_domain_key, mapping_of

PLUGIN: Final = b"pages-server@file"
"""The plugin as a middleware, under the name that the plugin itself gave it."""
BASE: Final = "pages-domain-base"
SERVICE: Final = "pages"

_HOST = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_RULE = re.compile(rb"Host\(`([a-z0-9.-]{1,253})`\)")
_MOST_REDIRECTS = 100
_COUNT = re.compile(rb"count=([0-9]{1,4})")

Value = bytes | None


class Known(Protocol):
    """What keys hold, as far as it was asked for: a `transactions.View`."""

    def __getitem__(self, name: str, /) -> Value: ...

    def need(self, *names: str | None) -> None:
        """Ask for many at once."""
        ...


class Routers:
    """The routers of hosts under these settings."""

    def __init__(self, settings: Settings) -> None:
        # Traefik's provider speaks to one server or to sentinels, and not to clusters.
        on_one_server = settings.names_redis and not settings.names_cluster
        self.enabled = settings.traefik_redis_router_enabled and on_one_server
        """Whether routers are written."""
        self.life = float(settings.traefik_redis_router_ttl)
        """Seconds for which they stay; 0 is for ever."""
        self.root = settings.traefik_redis_root_key
        self._resolver = settings.traefik_redis_cert_resolver.encode()
        self._url = settings.traefik_service_url
        self._pages_domain = settings.pages_domain

    def plan(self, view: Known, host: str) -> tuple[dict[str, Value], bool]:
        """A plan of `transactions` for a host: its router as its forward key wants it; says whether there is to be one.

        What is there already is written again only where it would expire: each write makes Traefik read everything.
        """
        options = ("rule", "middlewares/0", "middlewares/1")
        keys = [self._key(name, option) for name in self._names(host) for option in options]
        view.need(custom_domain_key(host), f"redirects_meta:{host}", *keys)  # most of it, in one trip
        value = view[custom_domain_key(host)]
        wanted = value is not None and mapping_of(value) is not None and self.enabled
        return self._changed(view, self.written(view, host) if wanted else self.removed(view, host)), wanted

    def base_plan(self, view: Known) -> tuple[dict[str, Value], bool]:
        """The same for the router of the pages domain itself, which the plugin writes at its start."""
        return self._changed(view, self.base(view)), self.enabled

    def _changed(self, view: Known, writes: dict[str, Value]) -> dict[str, Value]:
        view.need(*writes)
        return {
            name: value for name, value in writes.items() if view[name] != value or (self.life and value is not None)
        }

    @staticmethod
    def host_of(rule: Value) -> str | None:
        """The host of a rule of ours; None for any other."""
        found = _RULE.fullmatch(rule or b"")
        return found[1].decode("ascii", "replace") if found is not None else None

    def written(self, view: Known, host: str) -> dict[str, Value]:
        """What is to be written so that a host has its router; nothing for what is no host name."""
        if not self.enabled or _HOST.fullmatch(host) is None:
            return {}
        return self._router(view, self._name(view, host), host)

    def removed(self, view: Known, host: str) -> dict[str, Value]:
        """What is to be taken away so that nothing of a host's router is left."""
        if _HOST.fullmatch(host) is None:
            return {}
        plain, own = self._names(host)
        view.need(self._key(plain, "rule"), self._key(own, "rule"))
        gone: dict[str, Value] = {}
        for name in (plain, own):
            if view[self._key(name, "rule")] != _rule(host):
                continue
            chain = self._chain(view, name)
            options = ["rule", "entryPoints/0", "entryPoints/1", "service", "tls/certResolver", "priority"]
            options += [f"middlewares/{number}" for number in range(max(1, len(chain)))]
            gone |= {self._key(name, option): None for option in options}
            gone |= self._redirects_removed(view, host, len(chain))
        return gone

    def base(self, view: Known) -> dict[str, Value]:
        """What is to be written so that the pages domain itself has its router."""
        return self._router(view, BASE, self._pages_domain) if self.enabled else {}

    def _router(self, view: Known, name: str, host: str) -> dict[str, Value]:
        there = self._chain(view, name)
        chain = self._redirects(view, host, there) if self._url is None else _without_redirects(there, host)
        options: dict[str, Value] = {
            "rule": _rule(host),
            "entryPoints/0": b"web",
            "entryPoints/1": b"websecure",
            "service": b"noop@internal" if self._url is None else SERVICE.encode(),
            "tls/certResolver": self._resolver,
            "priority": b"10",
        }
        if self._url is None:
            chain.append(PLUGIN)
        options |= {f"middlewares/{number}": None for number in range(len(there))}
        options |= {f"middlewares/{number}": value for number, value in enumerate(chain)}
        router = {self._key(name, option): value for option, value in options.items()}
        if self._url is not None:
            # Visitors come here, where the rules in `.redirects` are read: in Traefik they would be an older copy.
            router |= self._redirects_removed(view, host, len(there) - len(chain))
            router[f"{self.root}/http/services/{SERVICE}/loadBalancer/servers/0/url"] = self._url.encode()
        return router

    def _chain(self, view: Known, name: str) -> list[bytes]:
        """The middlewares that a router has."""
        keys = [self._key(name, f"middlewares/{number}") for number in range(_MOST_REDIRECTS + 1)]
        for few in (keys[:1], keys[:2], keys):  # most have one
            view.need(*few)
            found = [value for value in (view[key] for key in few) if value is not None]
            if len(found) < len(few) or few is keys:
                break
        return list(found)

    def _redirects(self, view: Known, host: str, chain: list[bytes]) -> list[bytes]:
        """The middlewares of `/LOAD_REDIRECTS`, and what else stands before the plugin.

        The plugin's next visit wrote itself over the first of them: that one is put in its place again.
        """
        kept = [value for value in chain if value != PLUGIN]
        if kept and chain[0] == PLUGIN:
            first = f"redirects-{_dashes(host)}-0"
            if view[f"{self.root}/http/middlewares/{first}/redirectRegex/regex"] is not None:
                kept.insert(0, f"{first}@redis".encode())
        return list(dict.fromkeys(kept))

    def _redirects_removed(self, view: Known, host: str, used: int) -> dict[str, Value]:
        meta = f"redirects_meta:{host}"
        view.need(meta)
        counted = _COUNT.fullmatch(view[meta] or b"")
        count = max(used, min(int(counted[1]), _MOST_REDIRECTS) if counted else 0)
        stem = f"{self.root}/http/middlewares/redirects-{_dashes(host)}"
        gone: dict[str, Value] = {meta: None} if view[meta] is not None else {}
        for number in range(count):
            for option in ("regex", "replacement", "permanent"):
                gone[f"{stem}-{number}/redirectRegex/{option}"] = None
        return gone

    def _name(self, view: Known, host: str) -> str:
        """The name under which a host has its router, or is to have it."""
        plain, own = self._names(host)
        view.need(self._key(plain, "rule"), self._key(own, "rule"))
        mine = _rule(host)
        if view[self._key(own, "rule")] == mine or view[self._key(plain, "rule")] not in (None, mine):
            return own
        return plain

    def _names(self, host: str) -> tuple[str, str]:
        # No host name has the underscore: the second name is nobody's first.
        plain = f"custom-{_dashes(host)}"
        return plain, f"{plain}_{hashlib.sha256(host.encode()).hexdigest()[:12]}"

    def _key(self, name: str, option: str) -> str:
        return f"{self.root}/http/routers/{name}/{option}"


def _without_redirects(chain: list[bytes], host: str) -> list[bytes]:
    """What stands before the plugin in a router, but for the middlewares of `/LOAD_REDIRECTS`."""
    ours = re.compile(rb"redirects-%b-[0-9]{1,4}@redis" % re.escape(_dashes(host).encode()))
    return list(dict.fromkeys(value for value in chain if value != PLUGIN and ours.fullmatch(value) is None))


def _rule(host: str) -> bytes:
    return f"Host(`{host}`)".encode()


def _dashes(host: str) -> str:
    return host.replace(".", "-")

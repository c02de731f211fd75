# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""What one setting says about another: defaults that follow from the rest, contradictions, oddities.

Works on the values by their attributes' names, before they become `Settings`: so that contradictions are told together
with everything else that is wrong in the file. Asks neither DNS nor the network, only whether a file can be read.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from addon.settings.addresses import ListenAddress, listen_addresses
from addon.settings.file import Place, Problem, SettingsError
from addon.settings.options import Expected, size_text


def complete(values: dict[str, Any], defaults: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Fills in what was not set and follows from the rest."""
    settled = {**defaults, **values}
    if "state_dir" not in values and (folder := _state_dir(environ)) is not None:
        values["state_dir"] = folder
    # For an image, whose loopback is its own.
    if "listen" not in values and (by_environment := environ.get("PAGES_LISTEN")):
        try:
            values["listen"] = listen_addresses(by_environment)
        except Expected as wrong:
            raise SettingsError([Problem(Place("$PAGES_LISTEN"), "listen", f"expected {wrong.what}")]) from None
    values.setdefault("max_cached_file_size", min(settled["max_cached_file_size"], settled["memory_cache_size"]))
    values.setdefault("redis_pool_size", min(settled["redis_pool_size"], settled["redis_max_connections"]))
    if public := values.get("forgejo_public_host"):
        scheme, _, host = public.rpartition("://")
        values |= {"forgejo_public_host": host, "forgejo_public_scheme": scheme or None}


def _state_dir(environ: Mapping[str, str]) -> Path | None:
    if by_systemd := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(by_systemd)
    for folder, below in ((environ.get("XDG_STATE_HOME"), ""), (environ.get("HOME"), ".local/state")):
        # The XDG specification: a relative path in these variables is to be ignored.
        if folder and folder.startswith("/"):
            return Path(folder, below, "forgejo-pages")
    return None


def contradictions(settled: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Options that cannot be right together: their names, the one to blame first, and why."""
    domain, forge, public = (settled.get(each) for each in ("pages_domain", "forgejo_host", "forgejo_public_host"))
    if domain and public and _is_below(public, domain):
        message = f"expected a host outside of {domain}, found {public}: there it would be the site of a user"
        yield ("forgejoPublicHost", "pagesDomain"), message
    previews = settled["preview_domain"]
    if previews:
        related = domain and (_is_below(previews, domain) or _is_below(domain, previews))
        if previews == domain or (related and not settled["preview_domain_below_pages"]):
            message = f"expected a domain apart from {domain}, found {previews}: there previews could set cookies for"
            message += " sites. Take another one" + (
                "" if previews == domain else ", or insist by previewDomainBelowPages: true"
            )
            yield ("previewDomain", "pagesDomain"), message
        if public and (_is_below(public, previews) or _is_below(previews, public)):
            message = f"expected a domain apart from {public}, found {previews}: previews could set cookies for it"
            yield ("previewDomain", "forgejoPublicHost"), message
    listen = settled["listen"]
    if not listen:
        yield ("listen",), "expected at least one address such as 127.0.0.1:8080"
    for number, address in enumerate(listen):
        for other in listen[:number]:
            if (_covers(address, other) or _covers(other, address)) and address.tls != other.tls:
                message = f"{address} is there twice, with different certificates or with and without: keep one entry"
                yield ("listen",), f"{message}; its tls may be a list"
        if forge and _leads_to(forge, address):
            message = f"{address} leads back here: it is the address of forgejoHost, so this server would ask itself"
            yield ("listen", "forgejoHost"), message
        if any(_covers(address, other) or _covers(other, address) for other in settled["admin_listen"]):
            yield ("adminListen", "listen"), f"expected an address of its own, found one that listen has: {address}"
    if settled["admin_token"] is None:
        for address in settled["admin_listen"]:
            if not (address.host == "localhost" or _is_loopback(address.host)):
                message = f"is required where adminListen can be reached from elsewhere, as {address} can"
                yield ("adminToken", "adminListen"), f"{message}: set it, or listen at 127.0.0.1:{address.port}"
    held, largest = settled["memory_cache_size"], settled["max_cached_file_size"]
    if largest > held:
        message = f"expected at most memoryCacheSize, which is {size_text(held)}, found {size_text(largest)}"
        yield ("maxCachedFileSize", "memoryCacheSize"), message
    idle, most = settled["redis_pool_size"], settled["redis_max_connections"]
    if idle > most:
        message = f"expected at most redisMaxConnections, which is {most}, found {idle}"
        yield ("redisPoolSize", "redisMaxConnections"), message
    yield from _fleet_contradictions(settled)
    if settled["oauth_client_id"] is not None:
        if settled["oauth_client_secret"] is None:
            message = "is required together with oauthClientId: Forgejo shows both when the application is created"
            yield ("oauthClientSecret", "oauthClientId"), message
        if settled["address_style"] == "path":
            message = "needs addressStyle subdomain: by path, every site is at pagesDomain, where logins come back to"
            message += ", and could take them"
            yield ("oauthClientId", "addressStyle"), message
        if settled["processes"] > 1 and not (
            settled["redis_host"] or settled["redis_url"] or settled["redis_sentinels"]
        ):
            message = "needs redisHost where processes is more than 1: that is where they share the logins of members"
            yield ("oauthClientId", "processes", "redisHost", "redisURL"), message
    authorities = settled["forgejo_ca_file"]
    if authorities is not None and not os.access(authorities, os.R_OK):
        yield ("forgejoCAFile",), "expected a file that can be read, found none"
    if "state_dir" not in settled:
        message = "is required here: neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME says where to keep things"
        yield ("stateDir",), message


def _fleet_contradictions(settled: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The same of the options that say where many servers are."""
    sentinels, master = settled["redis_sentinels"], settled["redis_sentinel_master"]
    host, url, cluster = settled["redis_host"], settled["redis_url"], settled["redis_cluster"]
    if sentinels and master is None:
        message = "is required with redisSentinels: the name by which the sentinels know the master"
        yield ("redisSentinelMaster", "redisSentinels"), message
    if sentinels and (host is not None or url is not None):
        other = "redisURL" if host is None else "redisHost"
        yield ("redisSentinels", other), f"expected no {other} beside it: the sentinels say where Redis is"
    if master is not None and not sentinels:
        yield ("redisSentinelMaster", "redisSentinels"), "needs redisSentinels: the addresses of the sentinels"
    if cluster and sentinels:
        yield ("redisCluster", "redisSentinels"), "expected no sentinels: a cluster looks after itself"
    elif cluster and host is None and url is None:
        yield ("redisCluster",), "needs redisHost or redisURL: the address of one of its nodes"
    if cluster and settled["redis_db"] != 0:
        yield ("redisDB", "redisCluster"), f"expected 0, which is all that a cluster has, found {settled['redis_db']}"


def remarks(values: dict[str, Any]) -> Iterator[str]:
    """Says what is strange but does no harm; listens once where an address is there twice."""
    listen: list[ListenAddress] = []
    for address in values.get("listen", ()):
        if wider := next((each for each in listen if _covers(each, address)), None):
            yield f"listen: {address} is left out, because {wider} is there already"
            continue
        for narrower in [each for each in listen if _covers(address, each)]:
            yield f"listen: {narrower} is left out, because {address} is there too"
            listen.remove(narrower)
        listen.append(address)
    if listen:
        values["listen"] = tuple(listen)
    if "preview_token" in values and "preview_domain" not in values:
        yield "previewToken: is of no use without previewDomain"
    if values.get("oauth_client_secret") is not None and values.get("oauth_client_id") is None:
        yield "oauthClientSecret: is of no use without oauthClientId"
    if values.get("redis_cluster") and values.get("traefik_redis_router_enabled"):
        yield "traefikRedisRouterEnabled: nothing is written for Traefik, whose provider reads no cluster"
    if any(network.prefixlen == 0 for network in values.get("trusted_proxies", ())):
        yield "trustedProxies: everyone is believed, so that visitors can claim any address"
    if _is_below(urlsplit(values["forgejo_host"]).hostname or "", values["pages_domain"]):
        yield "forgejoHost: its name is below pagesDomain, where it would be the site of a user"


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _covers(wide: ListenAddress, narrow: ListenAddress) -> bool:
    """Whether listening on the first leaves nothing for the second."""
    if wide.port != narrow.port or wide.port == 0:
        return False
    if wide.host in ("", narrow.host):
        return True
    if wide.host == "localhost":
        return narrow.host in _LOCALHOST
    return (
        wide.host in ("0.0.0.0", "::")
        and (":" in narrow.host) == (":" in wide.host)
        and narrow.host not in ("", "localhost")
    )


_LOCALHOST = ("127.0.0.1", "::1")


def _leads_to(url: str, address: ListenAddress) -> bool:
    """Whether a call to the URL surely arrives at the address, as far as can be known without asking DNS."""
    parts = urlsplit(url)
    if (parts.port or {"http": 80, "https": 443}[parts.scheme]) != address.port:
        return False
    host = parts.hostname or ""
    # Connecting to the unspecified address arrives at the loopback one.
    local = host == "localhost" or host.endswith(".localhost")
    targets = _LOCALHOST if local else ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host),)
    own = _LOCALHOST if address.host == "localhost" else (address.host,)
    return any(
        target in own or (_is_loopback(target) and _covers(address, ListenAddress(target, address.port)))
        for target in targets
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

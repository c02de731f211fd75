# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages doctor`: tries all that a deployment stands on, and says what is wrong and what to do about it.

Each check tells findings, one line each; a finding that something must be changed makes the exit code 1. It may run
beside the running server, and leaves nothing behind: what it writes into Redis expires in seconds.
"""

import asyncio
import http.client
import ipaddress
import json
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import resp
from addon.commands.arguments import print_json
from addon.commands.security import security_notes
from addon.forgejo.oauth import AUTHORIZE, DISCOVERY, TOKEN
from addon.net.http_client import HttpClient, TransportError, origin_of
from addon.serving.answers import OWN_HEADER
from addon.serving.member_login import CALLBACK_PATH
from addon.settings.addresses import ListenAddress
from addon.settings.file_checks import problems, unlistenable
from addon.settings.schema import Settings
from addon.shared.cache import client_of
from addon.shared.records import PREFIX

PATIENCE = 5.0
"""Seconds for each question."""
_OLDEST_FORGEJO = (7,)


class Level(Enum):
    """What a finding means."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "FAIL"


class Finding(NamedTuple):
    """One line."""

    level: Level
    about: str
    text: str


def doctor_command(path: Path, settings: Settings, *, as_json: bool = False) -> int:
    """Look at everything; 0 where nothing has to be changed, else 1."""
    found = []
    for finding in findings(path, settings):
        found.append(finding)
        if not as_json:
            print(f"{finding.level.value:5} {finding.about}: {finding.text}", flush=True)
    bad = sum(finding.level is Level.BAD for finding in found)
    if as_json:
        print_json([{"level": each.level.value.lower(), "about": each.about, "text": each.text} for each in found])
    elif bad:
        print(f"{bad} {'problem' if bad == 1 else 'problems'} found", file=sys.stderr)
    return 1 if bad else 0


def findings(path: Path, settings: Settings) -> Iterator[Finding]:
    """All there is to say, as it is found out."""
    yield from files(path, settings)
    yield from asyncio.run(forgejo(settings))
    yield from redis(settings)
    yield from addresses(settings)
    for about, text in security_notes(settings):
        yield Finding(Level.NOTE, about, text)


# ---- files -----------------------------------------------------------------------------------------------------------


def files(path: Path, settings: Settings) -> Iterator[Finding]:
    """The settings file, and the files and folders that it names, certificates among them."""
    found = problems(settings, make=False)
    for problem in found:
        yield Finding(Level.BAD, str(path), problem)
    for warning in settings.warnings:
        yield Finding(Level.NOTE, str(path), warning)
    if settings.not_used_yet:
        yield Finding(Level.NOTE, str(path), f"not used yet: {', '.join(settings.not_used_yet)}")
    if not found:
        yield Finding(Level.GOOD, str(path), f"in order; what must outlive a restart goes to {settings.state_dir}")


# ---- Forgejo ---------------------------------------------------------------------------------------------------------


_NO_ISSUES = (
    "it lacks the scope read:issue, with which consents to strangers' pull requests are read: where a repository is"
    " read by this token, those have no previews"
)


async def forgejo(settings: Settings) -> list[Finding]:
    """Whether it answers, which it is, and what it shows to whom."""
    about = f"Forgejo at {settings.forgejo_host}"
    client = HttpClient(ca_file=settings.forgejo_ca_file)
    token = settings.forgejo_token
    try:
        status, body, headers = await _get(client, settings, "/.pages/", None)
        if OWN_HEADER.lower() in headers:
            return [Finding(Level.BAD, about, "that is a pages server: forgejoHost has to be Forgejo's own address")]
        status, body, _ = await _get(client, settings, "/api/v1/version", None)
        closed = status in (401, 403)
        if closed and token is not None:
            status, body, _ = await _get(client, settings, "/api/v1/version", token.reveal())
        found = [_version(about, status, body, closed and token is None)]
        if found[0].level is Level.BAD:
            return found
        status, body, _ = await _get(client, settings, "/api/v1/repos/search?limit=1", None)
        closed = closed or status in (401, 403)
        if closed and token is None:
            found.append(Finding(Level.BAD, about, "it shows nothing without a sign-in: set forgejoToken"))
        if token is not None:
            status, body, _ = await _get(client, settings, "/api/v1/repos/search?limit=1", token.reveal())
            found.append(_token(status, closed))
        if settings.serve_private_repositories:
            found += await _private(client, settings)
        if settings.forgejo_public_host is not None:
            found += _public_host(settings, body)
        found += await _login(client, settings)
        if settings.preview_domain is not None and token is not None:
            status, body, _ = await _get(client, settings, "/api/v1/repos/issues/search?limit=1", token.reveal())
            if status == 403 and b"read:issue" in body:
                found.append(Finding(Level.NOTE, "forgejoToken", _NO_ISSUES))
        if settings.preview_domain is not None and settings.preview_token is not None:
            status, _, _ = await _get(client, settings, "/api/v1/version", settings.preview_token.reveal())
            found.append(_preview_token(status))
    except TransportError as error:
        return [Finding(Level.BAD, about, f"no answer: {error}")]
    finally:
        await client.aclose()
    if settings.webhook_secret is not None:
        found.append(_webhook(settings))
    return found


async def _get(
    client: HttpClient, settings: Settings, target: str, token: str | None
) -> tuple[int, bytes, dict[str, str]]:
    base = settings.forgejo_host.partition("://")[2].partition("/")[2]
    headers = [("Authorization", f"token {token}")] if token is not None else []
    deadline = asyncio.get_running_loop().time() + PATIENCE
    path = f"/{base}{target}" if base else target
    response = await client.get(origin_of(settings.forgejo_host), path, headers, deadline=deadline)
    try:
        found = {OWN_HEADER.lower(): "1"} if response.header(OWN_HEADER.lower()) is not None else {}
        return response.status, await response.read(4 * 1024 * 1024, deadline=deadline), found
    finally:
        response.close()


def _version(about: str, status: int, body: bytes, needs_token: bool) -> Finding:
    if needs_token:
        return Finding(Level.BAD, about, "it shows nothing without a sign-in: set forgejoToken")
    try:
        told: Any = json.loads(body)
        version = str(told["version"]) if status == 200 else ""
    except (ValueError, TypeError, KeyError):
        version = ""
    if not version:
        return Finding(Level.BAD, about, f"its API answers {status}: is that Forgejo's own address, and its API on?")
    return Finding(Level.GOOD, about, f"answers, version {version}")


def _token(status: int, closed: bool) -> Finding:
    if status == 200:
        use = "is needed, and good" if closed else "is good; this forge shows public repositories without one, too"
        return Finding(Level.GOOD, "forgejoToken", use)
    if status == 401:
        return Finding(Level.BAD, "forgejoToken", "Forgejo does not know it: make a new one, with read:repository")
    if status == 403:
        return Finding(
            Level.BAD, "forgejoToken", "it may not read repositories: make one with the scope read:repository"
        )
    return Finding(Level.BAD, "forgejoToken", f"asked with it, Forgejo answers {status}")


def _preview_token(status: int) -> Finding:
    """Whether Forgejo knows it. What it may is seen at the first status alone: to ask would be to set one."""
    if status == 401:
        text = "Forgejo does not know it: make a new one, with write:repository, of a user who may write"
        return Finding(Level.BAD, "previewToken", text)
    text = "Forgejo knows it; whether its user may write is seen at a repository's first pull request, in the log"
    return Finding(Level.GOOD, "previewToken", text)


async def _private(client: HttpClient, settings: Settings) -> list[Finding]:
    """Whether the token can see what servePrivateRepositories publishes."""
    about, token = "servePrivateRepositories", settings.forgejo_token
    if token is None:
        return [Finding(Level.BAD, about, "needs forgejoToken: without one, Forgejo shows no private repository")]
    status, body, _ = await _get(client, settings, "/api/v1/repos/search?limit=1&is_private=true", token.reveal())
    if status == 200 and _first_repository(body) is None:
        text = "the token sees no private repository: is it limited to public ones?"
        return [Finding(Level.NOTE, about, text)]
    return []


def _public_host(settings: Settings, body: bytes) -> list[Finding]:
    """Whether forgejoPublicHost leads somewhere, and is what Forgejo calls itself. body: of a search for
    repositories."""
    about, host = "forgejoPublicHost", settings.forgejo_public_host or ""
    found = []
    if not _resolved(host):
        found.append(Finding(Level.NOTE, about, f"{host} has no address in DNS as seen from here"))
    repository = _first_repository(body)
    itself = urlsplit(str(repository.get("html_url", ""))).hostname if repository is not None else None
    if itself is not None and itself != host:
        found.append(
            Finding(Level.BAD, about, f"is {host}, and Forgejo calls itself {itself}: see ROOT_URL in its app.ini")
        )
    elif itself is not None:
        found.append(Finding(Level.GOOD, about, "is what Forgejo's ROOT_URL says"))
    return found


async def _login(client: HttpClient, settings: Settings) -> list[Finding]:
    """Whether readers of repositories can log in by Forgejo, and what to create there for it."""
    about = "access: members"
    callback = f"https://{settings.pages_domain}{CALLBACK_PATH}"
    create = (
        "in Forgejo, Site administration, Integrations, Applications: name Pages, redirect URI"
        f" {callback}, a confidential client"
    )
    if settings.oauth_client_id is None or settings.oauth_client_secret is None:
        text = f"off, so sites that say it are closed. For it, create an OAuth2 application ({create}), and set"
        return [Finding(Level.NOTE, about, f"{text} oauthClientId and oauthClientSecret")]
    status, body, _ = await _get(client, settings, DISCOVERY, None)
    issuer = _text_of(body, "issuer") if status == 200 else None
    if issuer is None or _text_of(body, "authorization_endpoint") != issuer.rstrip("/") + AUTHORIZE:
        return [Finding(Level.BAD, about, f"Forgejo's {DISCOVERY} answers {status}: is OAuth2 on in its app.ini?")]
    found = []
    host = urlsplit(issuer).hostname or ""
    if settings.forgejo_public_host is not None and host != settings.forgejo_public_host:
        text = f"Forgejo sends browsers to {host} to log in, and forgejoPublicHost is {settings.forgejo_public_host}"
        found.append(Finding(Level.NOTE, about, text))
    if not issuer.startswith("https://"):
        found.append(Finding(Level.NOTE, about, f"Forgejo sends browsers to {issuer} to log in, which is no HTTPS"))
    error = await _tried_client(client, settings, callback)
    if error == "client is not authorized":  # that is: the client is, and this code, which is made up, is not
        text = f"oauthClientId and oauthClientSecret are good, and so is the application's redirect URI, {callback}"
        return [*found, Finding(Level.GOOD, about, text)]
    if error == "invalid client secret":
        text = "oauthClientSecret is not the application's: make a new one there, with Regenerate secret"
    elif error.startswith("cannot load client"):
        text = f"Forgejo knows no application of oauthClientId: create one ({create})"
    elif error == "unexpected redirect URI":
        text = f"the application has another redirect URI: it has to be {callback}"
    else:
        text = "asked for a token, Forgejo gives an answer that means nothing here"
    return [*found, Finding(Level.BAD, about, text)]


async def _tried_client(client: HttpClient, settings: Settings, callback: str) -> str:
    """What Forgejo says to the application's credentials with a code that cannot be right."""
    assert settings.oauth_client_id is not None
    assert settings.oauth_client_secret is not None
    form = {
        "grant_type": "authorization_code",
        "redirect_uri": callback,
        "client_id": settings.oauth_client_id,
        "client_secret": settings.oauth_client_secret.reveal(),
        "code": "doctor",
        "code_verifier": "doctor",
    }
    base = settings.forgejo_host.partition("://")[2].partition("/")[2]
    deadline = asyncio.get_running_loop().time() + PATIENCE
    target = f"/{base}{TOKEN}" if base else TOKEN
    origin = origin_of(settings.forgejo_host)
    body, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
    response = await client.post(origin, target, (), body, kind, deadline=deadline)
    try:
        return _text_of(await response.read(64 * 1024, deadline=deadline), "error_description") or ""
    finally:
        response.close()


def _text_of(body: bytes, name: str) -> str | None:
    try:
        found = json.loads(body)[name]
    except (ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, str) else None


def _first_repository(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)["data"]
        return found[0] if found and isinstance(found[0], dict) else None
    except (ValueError, TypeError, KeyError):
        return None


def _webhook(settings: Settings) -> Finding:
    address = f"https://{settings.pages_domain}{settings.webhook_path}"
    private = [each for each in _resolved(settings.pages_domain) if ipaddress.ip_address(each).is_private]
    if private:
        return Finding(
            Level.NOTE,
            "webhook",
            f"{settings.pages_domain} is {private[0]}, and Forgejo calls no private address unless its app.ini says "
            f"[webhook] ALLOWED_HOST_LIST = external, {settings.pages_domain} (external: keeps other webhooks)",
        )
    return Finding(Level.GOOD, "webhook", f"Forgejo calls {address}, with webhookSecret")


# ---- Redis -----------------------------------------------------------------------------------------------------------


def redis(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, may be written to, tells of changes, and keeps what it should."""
    try:
        client = client_of(settings)
    except resp.InvalidArgument as error:
        yield Finding(Level.BAD, "Redis", str(error))
        return
    if client is None:
        yield Finding(Level.NOTE, "Redis", "none: memory is the only cache, and domains are known until a restart")
        return
    about = f"Redis at {client.endpoint}"
    with client:
        try:
            client.ping()
            if settings.names_sentinels:
                about = f"Redis at {client.endpoint}, the master by its sentinels"
            elif client.clustered:
                about = f"Redis, the cluster of {client.endpoint}"
            yield Finding(Level.GOOD, about, f"answers, {_server_version(client)}")
            yield from _cluster(client, about, settings)
            yield _written(client, about, settings)
            yield _tracking(client, about)
            yield _policy(client, about)
        except resp.AuthenticationError as error:
            yield Finding(Level.BAD, about, f"{_code(error)}: look at redisUsername and redisPassword")
        except resp.NoPermission:
            yield Finding(Level.BAD, about, "the user may not use the commands that are needed: see its ACL")
        except resp.RespError as error:
            yield Finding(Level.BAD, about, f"no answer: {error}")


def _server_version(client: resp.Client) -> str:
    client.ping()
    try:
        told = client.info("server")
    except (resp.NoPermission, resp.ServerError):
        return "of a version that it does not tell"
    name = "Valkey" if told.get("valkey_version") else "Redis"
    return f"{name} {told.get('valkey_version') or told.get('redis_version') or 'of a version that it does not tell'}"


def _cluster(client: resp.Client, about: str, settings: Settings) -> Iterator[Finding]:
    """Whether all of a cluster answers, and what needs one server."""
    if not client.clustered:
        return
    told = dict(line.partition(":")[::2] for line in str(client.execute("CLUSTER", "INFO"), "ascii").split())
    number, keys = told.get("cluster_size", "?"), client.execute("DBSIZE")  # which every primary has to say
    yield Finding(Level.GOOD, about, f"its {number} primaries answer, with {keys} keys")
    if told.get("cluster_known_nodes") == number:
        text = "no primary has a replica: one that fails takes a part of the cache with it, and stops the rest"
        yield Finding(Level.NOTE, about, text)
    if settings.traefik_redis_router_enabled and settings.enable_custom_domains:
        text = "no routers are written: Traefik's Redis provider reads one server or sentinels, and no cluster"
        yield Finding(Level.NOTE, "traefikRedisRouterEnabled", text)


def _written(client: resp.Client, about: str, settings: Settings) -> Finding:
    name, value = f"{PREFIX}doctor:{secrets.token_hex(8)}", secrets.token_bytes(1000)
    other = client_of(settings)
    assert other is not None
    with other:
        try:
            client.set(name, value, ex=10)
            if other.get(name) != value:
                return Finding(Level.BAD, about, "what is written is not what is read: is it one server?")
            left = other.ttl(name)
            other.set(name, value[::-1], ex=10)
            if client.get(name) != value[::-1]:
                return Finding(Level.BAD, about, "what another connection wrote is not read: is it one server?")
            client.delete(name)
        except (resp.WritesRefused, resp.ReadOnly) as error:
            return Finding(Level.BAD, about, f"it takes no writes ({_code(error)}): look at its memory and its role")
    if not 0 < left <= 10:
        return Finding(Level.BAD, about, f"a key that was to live for 10 s lives for {left} s")
    return Finding(Level.GOOD, about, "a value was written, read back on another connection, and expires")


def _tracking(client: resp.Client, about: str) -> Finding:
    with client.tracking(lambda name: None, prefixes=[f"{PREFIX}doctor:"]) as tracking:
        tracking.wait(PATIENCE, resp.State.LIVE, resp.State.UNSUPPORTED)
        live, error = tracking.live, tracking.last_error
    if not live:
        reason = f" ({_code(error)})" if error is not None else ""
        text = f"it does not tell of changes{reason}: memory is believed for memoryTTL. 6.0 or newer would"
        return Finding(Level.NOTE, about, text)
    return Finding(Level.GOOD, about, "tells of changes at once")


def _policy(client: resp.Client, about: str) -> Finding:
    policy = ""
    try:
        told = client.execute("CONFIG", "GET", "maxmemory-policy")
        pair = next(iter(told.items())) if isinstance(told, dict) and told else tuple(told or ())[:2]
        policy = pair[1].decode("ascii", "replace") if len(pair) == 2 and isinstance(pair[1], bytes) else ""
    except resp.ServerError:
        try:
            policy = str(client.info("memory").get("maxmemory_policy", ""))
        except resp.ServerError:
            policy = ""
    if policy.startswith("allkeys-"):
        return Finding(
            Level.BAD,
            about,
            f"maxmemory-policy is {policy}, which drops domain mappings as well: set volatile-lru or noeviction",
        )
    if not policy:
        return Finding(Level.NOTE, about, "maxmemory-policy is not told; it must not be one of allkeys-*")
    return Finding(Level.GOOD, about, f"maxmemory-policy is {policy}")


def _code(error: resp.RespError) -> str:
    return error.code if isinstance(error, resp.ServerError) else type(error).__name__


# ---- addresses -------------------------------------------------------------------------------------------------------


def addresses(settings: Settings) -> Iterator[Finding]:
    """Whether names lead here, and whether somebody listens where the settings say."""
    by_path = settings.address_style == "path"
    if by_path:
        shared = (
            "all sites share one origin: each may read what browsers keep for the others; those with a password are"
        )
        yield Finding(Level.NOTE, "addressStyle: path", f"{shared} refused there, and need a domain of their own")
    for name in (settings.pages_domain, *(() if by_path else (f"pages-doctor.{settings.pages_domain}",))):
        found = _resolved(name)
        if found:
            yield Finding(Level.GOOD, name, f"is {', '.join(found[:4])}")
        elif name == settings.pages_domain:
            yield Finding(Level.NOTE, name, "has no address in DNS as seen from here")
        else:
            wildcard = f"*.{settings.pages_domain}"
            yield Finding(Level.NOTE, wildcard, "has no address in DNS as seen from here: the sites of users need one")
    if settings.preview_domain is not None:
        wildcard = f"*.{settings.preview_domain}"
        found = _resolved(f"pr-0--doctor--pages.{settings.preview_domain}")
        if found:
            yield Finding(Level.GOOD, wildcard, f"is {', '.join(found[:4])}")
        else:
            yield Finding(Level.NOTE, wildcard, "has no address in DNS as seen from here: previews need one")
    for address in settings.listen:
        if address.tls:
            about = f"listen {address}"
            good = Finding(Level.GOOD, about, "a server listens there, with TLS")
            yield good if _is_open(address) else unopened(about, address)
        else:
            yield _listens(address, settings)
    for address in settings.admin_listen:
        yield _administers(address)


def _resolved(name: str) -> list[str]:
    try:
        return sorted({str(info[4][0]) for info in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        return []


def _reached(address: ListenAddress) -> str:
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)


def _is_open(address: ListenAddress) -> bool:
    try:
        socket.create_connection((_reached(address), address.port), PATIENCE).close()
    except OSError:
        return False
    return True


def unopened(about: str, address: ListenAddress) -> Finding:
    """Of an address on which nobody listens: whether this user could."""
    if problem := unlistenable(address):
        return Finding(Level.BAD, about, problem)
    return Finding(Level.NOTE, about, "nobody listens there: the server is not running")


def _asked(address: ListenAddress, host: str, path: str) -> tuple[int, Iterable[str]] | None:
    client = http.client.HTTPConnection(_reached(address), address.port, timeout=PATIENCE)
    try:
        client.request("GET", path, headers={"Host": host})
        response = client.getresponse()
        return response.status, [name.lower() for name, _ in response.getheaders()]
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


def _listens(address: ListenAddress, settings: Settings) -> Finding:
    about = f"listen {address}"
    if not _is_open(address):
        return unopened(about, address)
    told = _asked(address, settings.pages_domain, "/.pages/")
    if told is None or OWN_HEADER.lower() not in told[1]:
        return Finding(Level.BAD, about, "another program listens there: choose another port")
    return Finding(Level.GOOD, about, "the pages server answers")


def _is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's alone; the settings take a name as well, such as localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        found = _resolved(host) if host else []
        return bool(found) and all(ipaddress.ip_address(each).is_loopback for each in found)


def _administers(address: ListenAddress) -> Finding:
    about = f"adminListen {address}"
    if not _is_open(address):
        return Finding(Level.NOTE, about, "nobody listens there: the server is not running")
    told = _asked(address, "localhost", "/health")
    if told is None or told[0] != 200:
        return Finding(Level.BAD, about, "another program listens there: it does not answer /health")
    if not _is_loopback(address.host):
        return Finding(Level.NOTE, about, "answers; it must not be reached by the public")
    return Finding(Level.GOOD, about, "answers")

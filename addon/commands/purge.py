# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages purge`: a new epoch in Redis for a repository or for all, so that every proxy looks again; or `adminListen`.

Nothing is deleted: what is held stays good to serve should Forgejo be away, and no domain mapping, password or key of
Traefik's is ever touched. A host is a custom domain, or a user's own below the pages domain.
"""

import http.client
import json
import secrets
import sys
from urllib.parse import urlencode

import resp
from addon.commands.arguments import print_json
from addon.forgejo.answers import is_name
from addon.settings.schema import Settings
from addon.shared import records
from addon.shared.cache import client_of
from addon.shared.lookup import Key
from addon.shared.round_trips import EPOCH_LIFE
from addon.web.routing import host_name


def purge_command(settings: Settings, what: str | None, *, as_json: bool = False) -> int:
    """Purge OWNER/REPO, the site of a host, or everything (None); returns the exit code."""
    client = client_of(settings)
    if client is None:
        return _by_admin(settings, what, as_json=as_json)
    with client:
        try:
            key = None if what is None else _repository(client, settings, what)
            if what is not None and key is None:
                return _failed(f"{what} is neither OWNER/REPO nor a host with a site")
            client.set(records.epoch_key(key), secrets.token_hex(8), ex=int(EPOCH_LIFE))
        except resp.RespError as error:
            return _failed(f"Redis: {error}")
    again = "everything" if key is None else f"{key[0]}/{key[1]}"
    if as_json:
        print_json({"looked_at_again": again})
    else:
        print(f"every proxy looks again at {again}")
    return 0


def _by_admin(settings: Settings, what: str | None, *, as_json: bool) -> int:
    """The same by the running server's `adminListen`, which is all there is without a Redis."""
    if not settings.admin_listen:
        return _failed("there is neither redisHost nor adminListen in the settings: restart the proxy to purge it")
    address = settings.admin_listen[0]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if settings.admin_token is not None:
        headers["Authorization"] = f"Bearer {settings.admin_token.reveal()}"
    form = urlencode({"all": "true"} if what is None else {"what": what})
    client = http.client.HTTPConnection(_reached(address.host), address.port, timeout=30)
    try:
        client.request("POST", "/purge", form, headers)
        response = client.getresponse()
        told = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _failed(f"no answer at adminListen, {address}: {error}")
    finally:
        client.close()
    if response.status != 200:
        return _failed(str(told.get("error", response.status)))
    if as_json:
        print_json({"looked_at_again": told["looked_at_again"]})
    else:
        print(f"the proxy looks again at {told['looked_at_again']}")
    return 0


def _reached(host: str) -> str:
    """By which address a listener on this machine is reached."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _repository(client: resp.Client, settings: Settings, what: str) -> Key | None:
    owner, slash, name = what.lower().partition("/")
    if not slash:
        host = host_name(what) or ""
        if host.endswith(f".{settings.pages_domain}"):
            owner, name = host.removesuffix(f".{settings.pages_domain}"), ".profile"
        else:
            mapping = (client.get(f"custom_domain:{host}") or b"").decode("utf-8", "replace")
            owner, _, rest = mapping.lower().partition(":")
            name = rest.partition(":")[0]
    return (owner, name) if is_name(owner) and is_name(name) else None


def _failed(reason: str) -> int:
    print(f"pages purge: {reason}", file=sys.stderr)
    return 1

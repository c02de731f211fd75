# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages purge`: a new epoch in Redis for a repository or for all, so that every proxy looks again; or `adminListen`.

Nothing is deleted: what is held stays good to serve should Forgejo be away, and no domain mapping, password or key of
Traefik's is ever touched. A host is a custom domain, or a user's own below the pages domain.
"""

import secrets
import sys

import resp
from addon.commands.arguments import print_json
from addon.commands.running_server import NoServer, asked
from addon.forgejo.answers import is_name
from addon.settings.schema import Settings
from addon.shared import records
from addon.shared.cache import client_of
from addon.shared.lookup import Key
from addon.shared.round_trips import EPOCH_LIFE
from addon.web.routing import host_name

_NO_WAY = "there is neither redisHost nor adminListen in the settings: restart the proxy to purge it"


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
    try:
        told = asked(settings, "/purge", post={"all": "true"} if what is None else {"what": what})
    except NoServer as reason:
        return _failed(str(reason) if settings.admin_listen else _NO_WAY)
    if as_json:
        print_json({"looked_at_again": told["looked_at_again"]})
    else:
        print(f"the proxy looks again at {told['looked_at_again']}")
    return 0


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

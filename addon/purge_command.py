# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages purge`: a new epoch in Redis for a repository or for all, so that every proxy looks again.

Nothing is deleted: what is held stays good to serve should Forgejo be away, and no domain mapping, password or key of
Traefik's is ever touched. A host is a custom domain, or a user's own below the pages domain.
"""

import secrets
import sys

import resp
from addon import records
from addon.forge_answers import is_name
from addon.lookup import Key
from addon.routing import host_name
from addon.settings import Settings
from addon.shared import client_of
from addon.shared_trips import EPOCH_LIFE


def purge_command(settings: Settings, what: str | None) -> int:
    """Purge OWNER/REPO, the site of a host, or everything (None); returns the exit code."""
    client = client_of(settings)
    if client is None:
        return _failed("there is no redisHost in the settings: without one, restart the proxy to purge its memory")
    with client:
        try:
            key = None if what is None else _repository(client, settings, what)
            if what is not None and key is None:
                return _failed(f"{what} is neither OWNER/REPO nor a host with a site")
            client.set(records.epoch_key(key), secrets.token_hex(8), ex=int(EPOCH_LIFE))
        except resp.RespError as error:
            return _failed(f"Redis: {error}")
    print("every proxy looks again at " + ("everything" if key is None else f"{key[0]}/{key[1]}"))
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

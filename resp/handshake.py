# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How to introduce oneself to a server, without any I/O: batches of commands out, their replies in.

One batch, and so one round trip, for a server that knows HELLO (6.0 and later); a second one with AUTH for those that
do not, over RESP2; a few plain commands over a new connection for a proxy that hangs up on what it does not know.
Surprising: what a server says about a failed HELLO is cut short before it is shown to anybody, because old servers
repeat the arguments of a command they do not know, and here the password is one of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Final, NamedTuple

from resp.encoding import Argument
from resp.endpoint import Endpoint
from resp.errors import AuthenticationError, ProtocolError, ServerError, TemporaryError
from resp.values import Value

Command = tuple[Argument, ...]

# Known to servers from 7.2; that others answer with an error does not matter.
_LIBRARY: Final[list[Command]] = [
    ("CLIENT", "SETINFO", "LIB-NAME", "resp"),
    ("CLIENT", "SETINFO", "LIB-VER", "1"),
]


class Introduction(NamedTuple):
    """What came of it: the version of RESP, the reply to HELLO ({} with RESP2), the number of the connection."""

    protocol: int
    server: dict[Any, Any]
    client_id: int | None


def handshake(endpoint: Endpoint, *, plain: bool = False) -> Generator[list[Command], list[Value], Introduction]:
    """Yields batches of commands, wants their replies sent back, returns the `Introduction`.

    plain: only what every server and every proxy in front of one understands, for those that hang up on HELLO.
    Raises AuthenticationError, another ServerError, or ProtocolError.
    """
    named = endpoint.username is not None or endpoint.password is not None
    select: list[Command] = [("SELECT", endpoint.db)] if endpoint.db else []
    if endpoint.protocol == 3 and not plain:
        hello: list[Argument] = ["HELLO", 3]
        if named:
            # A name alone is a user without a password (`nopass`), to whom any will do.
            hello += ["AUTH", endpoint.username or "default", endpoint.password or ""]
        if endpoint.client_name:
            hello += ["SETNAME", endpoint.client_name]
        replies = yield [tuple(hello), *_LIBRARY, *select]
        first = replies[0]
        if isinstance(first, dict):
            check(replies[-1:] if select else [])
            number = first.get(b"id")
            return Introduction(3, first, number if isinstance(number, int) else None)
        if not isinstance(first, ServerError):
            raise ProtocolError("the reply to HELLO is no map")
        # Whatever words it is refused in (every proxy has its own), AUTH has the last word on credentials.
        if isinstance(first, AuthenticationError | TemporaryError):
            raise first
    commands: list[Command] = []
    if named:
        user = [endpoint.username] if endpoint.username else []
        commands.append(("AUTH", *user, endpoint.password or ""))
    if endpoint.client_name and not plain:
        commands.append(("CLIENT", "SETNAME", endpoint.client_name))
    commands += select
    if plain:
        check((yield [*commands, ("PING",)]))
    elif endpoint.protocol == 2:
        replies = yield [*commands, *_LIBRARY]
        check(replies[: len(commands)])
        # Without a command of ours it is these that tell of missing credentials.
        check(reply for reply in replies if isinstance(reply, AuthenticationError))
    elif commands:
        check((yield commands))
    return Introduction(2, {}, None)


def check(replies: Iterable[Value]) -> None:
    """Raise the first error among replies."""
    for reply in replies:
        if isinstance(reply, ServerError):
            raise reply


def redacted(error: ServerError, endpoint: Endpoint) -> ServerError:
    """An error of the handshake without anything that it may repeat of the credentials."""
    message = error.message.partition(", with args")[0]
    for secret in (endpoint.password, endpoint.username):
        if secret:
            message = message.replace(secret, "…")
    return type(error)(error.code, message)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a webhook's body says: the JSON in a form, the repository that an event is about, and what was done to it.

A push names every file that it touches, so how large it is, up to 25 MiB, is for the owner of a repository to say. To
read JSON holds the interpreter's lock until it is done, also on a thread; so of a large body only the two members that
count are given to `json`, and the rest is passed over piece by piece, between which the lock changes hands. The
surprise: what is passed over is not checked to be JSON. Who signed it has made it, and nothing of it is used.
"""

import json
import re
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from addon.forgejo.answers import is_name
from addon.shared.lookup import Key

READ_WHOLE = 64 * 1024
"""Bytes that are read in one go, and the most that one member may have."""
_PIECE = 16 * 1024
_FIELD = b"payload="
_MEMBERS = {b"repository": "repository", b"action": "action"}
_COLON = re.compile(rb"[ \t\r\n]{0,1000}:")


class Event(NamedTuple):
    """What an event is about. repository: None where it names none; action: what was done, "" where it does not say."""

    repository: Key | None
    action: str


def event_in(payload: bytes) -> Event:
    """What the JSON of a delivery says; nothing, where it is none."""
    try:
        document = json.loads(payload) if len(payload) <= READ_WHOLE else _members(payload)
        owner, slash, name = document["repository"]["full_name"].partition("/")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return Event(None, "")
    key = (owner.lower(), name.lower()) if slash and is_name(owner) and is_name(name) else None
    action = document.get("action")
    return Event(key, action if type(action) is str else "")


def form_payload(body: bytes) -> bytes:
    """The first field `payload` of an urlencoded form, or nothing; piece by piece, or it took 35 times its room."""
    at = 0 if body.startswith(_FIELD) else body.find(b"&" + _FIELD) + 1
    if not body.startswith(_FIELD, at):
        return b""
    at += len(_FIELD)
    end = body.find(b"&", at)
    end = len(body) if end < 0 else end
    pieces: list[bytes] = []
    while at < end:
        piece = body[at : min(at + _PIECE, end)]
        cut = piece.find(b"%", _PIECE - 2)  # an escape that goes on in the next piece
        piece = piece if cut < 0 else piece[:cut]
        pieces.append(unquote_to_bytes(piece.replace(b"+", b" ")))
        at += len(piece)
    return b"".join(pieces)


def _members(payload: bytes) -> dict[str, Any]:
    """Those members of an object that count, of each the last. Raises ValueError where one is too large or no JSON.

    Strings are told from what is between them by their quotes, depth by the brackets between.
    """
    found: dict[str, Any] = {}
    wanted, begin = None, 0  # the member that counts, and where its value begins
    depth, at, end = 0, 0, len(payload)
    while at < end:
        quote = payload.find(b'"', at, at + _PIECE)
        between = payload[at : min(at + _PIECE, end) if quote < 0 else quote]
        depth += between.count(b"{") + between.count(b"[") - between.count(b"}") - between.count(b"]")
        if quote < 0:
            at += len(between)
            continue
        close = _closing(payload, quote + 1)
        colon = _COLON.match(payload, close + 1) if depth == 1 else None
        if colon is not None:
            if wanted is not None:
                found[wanted] = _value(payload, begin, quote)
            wanted, begin = _MEMBERS.get(payload[quote + 1 : close]), colon.end()
        at = close + 1
    if wanted is not None:
        found[wanted] = _value(payload, begin, end)
    return found


def _closing(payload: bytes, at: int) -> int:
    """Where the string ends that begins there."""
    while True:
        quote = payload.index(b'"', at)  # ValueError: it has no end
        before = payload[at:quote]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return quote
        at = quote + 1


def _value(payload: bytes, begin: int, end: int) -> Any:
    if end - begin > READ_WHOLE:
        raise ValueError("too large")
    value, _ = json.JSONDecoder().raw_decode(payload[begin:end].decode().lstrip())
    return value

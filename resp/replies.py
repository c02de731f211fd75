# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What replies mean: from the values of the protocol to the results that methods promise.

Pure functions, each for one form of reply and the same over RESP2 (flat lists) and RESP3 (maps, pairs, doubles). They
may raise whatever a reply of another form makes them raise: `resp.command_arguments.converted` turns it into a
ProtocolError. Surprising: they see replies after `decode=True` made `str` of them, so that texts come as either; what
must be one of the two in any case (names of settings, a dump) is made so here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

#: How a score becomes what the caller wants to have; `float` if he did not say.
Cast = Callable[[Any], Any]

# ---- texts and numbers -----------------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def as_bytes(value: Any) -> bytes | None:
    """What is no text (a dump) as the server sent it, also if it was decoded on its way here."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def text_or_none(value: Any) -> str | None:
    return None if value is None else as_text(value)


def as_texts(reply: Any) -> list[str]:
    return [as_text(item) for item in reply]


def plain(value: Any) -> Any:
    """Texts as `str` and flat lists of pairs as dicts at any depth, for what the server says of itself."""
    if isinstance(value, bytes):
        return as_text(value)
    if isinstance(value, dict):
        return {as_text(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def plain_map(reply: Any) -> dict[str, Any]:
    return {as_text(key): plain(value) for key, value in as_pairs(reply).items()}


def is_ok(reply: Any) -> bool:
    return reply in (b"OK", "OK")


def ok_or_none(reply: Any) -> Any:
    return True if reply in (b"OK", "OK") else None if reply is None else reply


def as_float(reply: Any) -> float | None:
    return None if reply is None else float(reply)


def as_floats(reply: Any) -> list[float | None]:
    return [None if item is None else float(item) for item in reply]


def as_bools(reply: Any) -> list[bool]:
    return [bool(item) for item in reply]


# ---- pairs -----------------------------------------------------------------------------------------------------------


def as_pairs(reply: Any) -> dict[Any, Any]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def as_couples(reply: Any) -> list[tuple[Any, Any]]:
    """Two by two, in order: flat over RESP2, in pairs over RESP3."""
    if reply and isinstance(reply[0], list):
        return [(first, second) for first, second in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def as_scored(reply: Any) -> list[tuple[Any, float]]:
    """Members with scores: flat over RESP2, in pairs over RESP3; a single one that was taken is flat there as well."""
    if reply and isinstance(reply[0], list):
        if type(reply[0][1]) is float:
            return list(map(tuple, reply))
        return [(member, float(score)) for member, score in reply]
    return list(zip(reply[::2], map(float, reply[1::2]), strict=True))


def scored(cast: Cast) -> Callable[[Any], list[tuple[Any, Any]]]:
    """`as_scored` with scores as `cast` makes them of a float."""
    if cast is float:
        return as_scored
    return lambda reply: [(member, cast(score)) for member, score in as_scored(reply)]


def ranked(cast: Cast) -> Callable[[Any], tuple[int, Any] | None]:
    """The reply to ZRANK WITHSCORE: place and score."""
    return lambda reply: None if reply is None else (int(reply[0]), cast(float(reply[1])))


def as_popped_by_key(reply: Any) -> tuple[Any, list[tuple[Any, float]]] | None:
    """The reply to ZMPOP: the key, and what was taken from it."""
    return None if reply is None else (reply[0], as_scored(reply[1]))


def as_taken(reply: Any) -> tuple[Any, Any] | None:
    """A key and what was taken from it: one value or a list."""
    return None if reply is None else (reply[0], reply[1])


def as_taken_score(reply: Any) -> tuple[Any, Any, float] | None:
    """The reply to BZPOPMIN: key, member and score."""
    return None if reply is None else (reply[0], reply[1], float(reply[2]))


def in_groups(size: int) -> Callable[[Any], list[tuple[Any, ...]]]:
    """So many items each as a tuple."""
    return lambda reply: list(zip(*[iter(reply)] * size, strict=True))


# ---- cursors ---------------------------------------------------------------------------------------------------------


def as_scan(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), items


def as_scan_pairs(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), as_pairs(items)


def scan_scored(cast: Cast) -> Callable[[Any], tuple[int, Any]]:
    convert = scored(cast)
    return lambda reply: (int(reply[0]), convert(reply[1]))


# ---- streams ---------------------------------------------------------------------------------------------------------


def as_entry(reply: Any) -> tuple[Any, Any] | None:
    """One entry of a stream: its id and its fields, which are none where it was deleted and is still pending."""
    if reply is None:
        return None
    name, fields = reply
    return name, as_pairs(fields or {})


def as_entries(reply: Any) -> list[tuple[Any, Any]]:
    return [entry for entry in map(as_entry, reply or []) if entry is not None]


def as_streams(reply: Any) -> list[tuple[Any, list[tuple[Any, Any]]]]:
    """The reply to XREAD: every stream with its entries; nothing at all is None over both protocols."""
    if reply is None:
        return []
    streams = reply.items() if isinstance(reply, dict) else reply
    return [(name, as_entries(entries)) for name, entries in streams]


def as_autoclaimed(reply: Any) -> tuple[Any, list[tuple[Any, Any]], list[Any]]:
    # Redis before 7.0 does not say which entries were gone.
    return reply[0], as_entries(reply[1]), reply[2] if len(reply) > 2 else []


def as_pending(reply: Any) -> dict[str, Any]:
    count, least, most, consumers = reply
    named = [{"name": name, "pending": int(number)} for name, number in consumers or []]
    return {"pending": count, "min": least, "max": most, "consumers": named}


def as_pending_entries(reply: Any) -> list[dict[str, Any]]:
    names = ("message_id", "consumer", "time_since_delivered", "times_delivered")
    return [dict(zip(names, row, strict=True)) for row in reply]


def as_described(reply: Any) -> dict[str, Any]:
    """One part of XINFO: names as `str`, values as they are."""
    return {as_text(name): value for name, value in as_pairs(reply).items()}


def as_all_described(reply: Any) -> list[dict[str, Any]]:
    return [as_described(item) for item in reply]


def as_stream(reply: Any) -> dict[str, Any]:
    """The reply to XINFO STREAM, with and without FULL."""
    found = as_described(reply)
    for name in ("first-entry", "last-entry"):
        if name in found:
            found[name] = as_entry(found[name])
    if "entries" in found:
        found["entries"] = dict(as_entries(found["entries"]))
    if isinstance(found.get("groups"), list):
        found["groups"] = as_all_described(found["groups"])
        for group in found["groups"]:
            group["consumers"] = as_all_described(group["consumers"])
    return found


# ---- places ----------------------------------------------------------------------------------------------------------


def as_places(reply: Any) -> list[tuple[float, float] | None]:
    return [None if place is None else (float(place[0]), float(place[1])) for place in reply]


def located(distance: bool, hashed: bool, coordinates: bool) -> Callable[[Any], list[tuple[Any, ...]]] | None:
    """What GEOSEARCH tells beside each member, in the order in which servers send it; None if nothing."""
    casts: list[Cast] = []
    if distance:
        casts.append(float)
    if hashed:
        casts.append(int)
    if coordinates:
        casts.append(lambda place: (float(place[0]), float(place[1])))
    if not casts:
        return None
    return lambda reply: [(row[0], *(cast(item) for cast, item in zip(casts, row[1:], strict=True))) for row in reply]


def as_common(reply: Any) -> dict[str, Any]:
    """The reply to LCS IDX: how long, and the ranges in both texts, with their length if that was asked for."""
    found = as_described(reply)
    ranges = [[tuple(part) if isinstance(part, list) else part for part in match] for match in found["matches"]]
    return {"len": found["len"], "matches": ranges}


# ---- what a server says of itself ------------------------------------------------------------------------------------

_INTEGER: Final = re.compile(r"-?[0-9]+\Z")
_FRACTION: Final = re.compile(r"-?[0-9]+\.[0-9]+\Z")
# Hexadecimal, and a number only by chance: one build id in fifty looks like `12e3`.
_NAMES: Final = frozenset({"redis_git_sha1", "redis_build_id", "run_id", "master_replid", "master_replid2"})


def _number_or_text(text: str) -> int | float | str:
    if _INTEGER.match(text) and len(text) < 20:
        return int(text)
    return float(text) if _FRACTION.match(text) and len(text) < 40 else text


def parse_info(reply: Any) -> dict[str, Any]:
    """The reply to INFO: field → int, float or str; `a=1,b=2` becomes a dict of its own, as in `db0`."""
    found: dict[str, Any] = {}
    for line in as_text(reply).splitlines():
        name, colon, value = line.partition(":")
        if not colon or line.startswith("#"):
            continue
        fields = [field.partition("=") for field in value.split(",")]
        if "=" in value and all(equals for _, equals, _ in fields):
            found[name] = {field: _number_or_text(text) for field, _, text in fields}
        else:
            found[name] = value if name in _NAMES else _number_or_text(value)
    return found


def as_settings(reply: Any) -> dict[str, str]:
    return {as_text(name): as_text(value) for name, value in as_pairs(reply).items()}


def as_client(line: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in line.split(" ") if word)


def as_this_client(reply: Any) -> dict[str, str]:
    return as_client(as_text(reply).strip())


def as_clients(reply: Any) -> list[dict[str, str]]:
    return [as_client(line) for line in as_text(reply).splitlines() if line]


def as_time(reply: Any) -> tuple[int, int]:
    seconds, micros = reply
    return int(seconds), int(micros)


def as_whole_numbers(reply: Any) -> list[int]:
    return [int(item) for item in reply]


def as_slow(reply: Any) -> list[dict[str, Any]]:
    """The reply to SLOWLOG GET; `command` is one text of all words."""
    found = []
    for row in reply:
        words = [as_bytes(word) or b"" for word in row[3]]
        entry: dict[str, Any] = {"id": row[0], "start_time": int(row[1]), "duration": int(row[2])}
        entry["command"] = b" ".join(words)
        if len(row) > 5:
            entry |= {"client_address": as_text(row[4]), "client_name": as_text(row[5])}
        found.append(entry)
    return found


def as_role(reply: Any) -> list[Any]:
    return [plain(item) for item in reply]


def as_latencies(reply: Any) -> list[tuple[Any, ...]]:
    return [tuple(plain(item) for item in row) for row in reply]


def as_user(reply: Any) -> dict[str, Any] | None:
    """The reply to ACL GETUSER; selectors as dicts of their own."""
    if reply is None:
        return None
    found = plain_map(reply)
    found["selectors"] = [plain_map(item) for item in as_pairs(reply).get(_like(reply, "selectors"), [])]
    return found


def _like(reply: Any, name: str) -> Any:
    """`name` in the type in which this reply has its names."""
    names = list(as_pairs(reply))
    return name if names and isinstance(names[0], str) else name.encode()


def as_libraries(reply: Any) -> list[dict[str, Any]]:
    """The reply to FUNCTION LIST."""
    found = []
    for library in reply:
        described = plain_map(library)
        functions = as_pairs(library)[_like(library, "functions")]
        described["functions"] = [plain_map(function) for function in functions]
        found.append(described)
    return found


def as_function_stats(reply: Any) -> dict[str, Any]:
    found = plain_map(reply)
    raw = as_pairs(reply)
    running, engines = raw[_like(reply, "running_script")], raw[_like(reply, "engines")]
    found["running_script"] = None if running is None else plain_map(running)
    found["engines"] = {as_text(name): plain_map(engine) for name, engine in as_pairs(engines).items()}
    return found


def as_counts(reply: Any) -> list[tuple[Any, int]]:
    """Names with numbers, flat over both protocols or as a map."""
    return [(name, int(number)) for name, number in as_pairs(reply).items()]

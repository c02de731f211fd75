# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands that concern more than one node of a cluster: who is asked, and how the answers become one.

Knows names and values only. Surprising: DEL, UNLINK, EXISTS, TOUCH and MGET of keys of several slots are taken apart,
because for each key they mean the same alone; they are not atomic then. MSET is not: that all of its keys are set at
once is what it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from resp.encoding import Argument
from resp.errors import ServerError
from resp.slots import key_slot
from resp.values import Value

Args = Sequence[Argument]
Together = Callable[[list[Value]], Value]


class Policy(NamedTuple):
    """everywhere: replicas, too. together: one answer out of those of all nodes."""

    everywhere: bool
    together: Together


def _first(replies: list[Value]) -> Value:
    return replies[0]


def _sum(replies: list[Value]) -> Value:
    return sum(replies)


def _all(replies: list[Value]) -> Value:
    return [item for reply in replies for item in reply]


def _each(replies: list[Value]) -> Value:
    """For every place whether all said yes."""
    return [int(all(column)) for column in zip(*replies)]


def _least(replies: list[Value]) -> Value:
    return min(replies)


_PRIMARIES: Final[list[tuple[Together, str]]] = [
    (_sum, "DBSIZE"),
    (_first, "FLUSHDB FLUSHALL SCRIPT|LOAD SCRIPT|FLUSH FUNCTION|LOAD FUNCTION|RESTORE FUNCTION|DELETE FUNCTION|FLUSH"),
    (_first, "MEMORY|PURGE SWAPDB"),
    (_all, "KEYS PUBSUB|SHARDCHANNELS"),
    (_each, "SCRIPT|EXISTS"),
    (_least, "WAIT"),
]
_EVERYWHERE: Final[list[tuple[Together, str]]] = [
    (_first, "CONFIG|SET CONFIG|RESETSTAT CONFIG|REWRITE ACL|SETUSER ACL|SAVE ACL|LOAD SLOWLOG|RESET"),
    (_first, "ACL|DELUSER LATENCY|RESET COMMANDLOG|RESET"),
]
_POLICIES: Final = {
    name: Policy(everywhere, together)
    for everywhere, rows in ((False, _PRIMARIES), (True, _EVERYWHERE))
    for together, names in rows
    for name in names.split()
}
#: Commands that are taken apart by slot, and how the parts become one.
_APART: Final[dict[str, Together | None]] = {
    "DEL": _sum,
    "UNLINK": _sum,
    "EXISTS": _sum,
    "TOUCH": _sum,
    "MGET": None,  # in the order of the keys
}


def policy(args: Args) -> Policy | None:
    """Of a command without keys: who is to be asked, None for any one node."""
    name = _upper(args[0])
    found = _POLICIES.get(name)
    if found is None and len(args) > 1:
        found = _POLICIES.get(f"{name}|{_upper(args[1])}")
    return found


def parts(args: Args) -> list[tuple[int, Args, list[int]]] | None:
    """A command of several slots taken apart: slot, words, and which keys they are; None if it cannot be."""
    name = _upper(args[0])
    if name not in _APART:
        return None
    places: dict[int, list[int]] = {}
    for at, key in enumerate(args[1:]):
        places.setdefault(key_slot(key), []).append(at)
    return [(slot, [args[0], *(args[1 + at] for at in found)], found) for slot, found in places.items()]


def together(args: Args, replies: list[Value], found: list[list[int]]) -> Value:
    """The answer to a command that was taken apart; the first error if there is one."""
    for reply in replies:
        if isinstance(reply, ServerError):
            return reply
    join = _APART[_upper(args[0])]
    if join is not None:
        return join(replies)
    values: list[Any] = [None] * (len(args) - 1)
    for places, reply in zip(found, replies):
        for at, value in zip(places, reply):
            values[at] = value
    return values


def _upper(word: Argument) -> str:
    if isinstance(word, bytes | bytearray | memoryview):
        word = bytes(word).decode("ascii", "replace")
    return word.upper() if isinstance(word, str) else ""

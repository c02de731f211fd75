# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whose turn it is to send: RFC 9218 (Extensible Prioritization) among the streams of one connection.

Who is more urgent comes first. Among equals, those who can use a part of what they asked for (`i`) take turns of one
frame; others are served one after the other, in turns of QUANTUM bytes, so that a style sheet does not wait for the end
of a film that its browser held for as urgent.
"""

import re
from collections import deque
from typing import Protocol

URGENCIES = 8
DEFAULT = (3, False)
"""Urgency and whether incremental, where a client does not say (§4)."""
QUANTUM = 128 * 1024
_LONGEST = 256
_URGENCY = re.compile(r"u=([0-7])\Z")

Priority = tuple[int, bool]


class Sender(Protocol):
    """A stream that has something to send."""

    priority: Priority
    turn: int
    """Bytes sent in the present turn."""


def priority_of(value: bytes | None) -> Priority:
    """What a Priority field says (§4, a dictionary of RFC 8941); what is not understood counts as not said."""
    if value is None or len(value) > _LONGEST:
        return DEFAULT
    urgency, incremental = DEFAULT
    for member in value.decode("latin-1").split(","):
        member = member.strip(" \t").partition(";")[0].rstrip(" \t")  # parameters mean nothing
        if member in ("i", "i=?1"):
            incremental = True
        elif member == "i=?0":
            incremental = False
        elif found := _URGENCY.match(member):
            urgency = int(found[1])
    return urgency, incremental


class Scheduler:
    """The streams that have something to send, in the order of their turns."""

    __slots__ = ("_count", "_levels")

    def __init__(self) -> None:
        self._levels: list[deque[Sender] | None] = [None] * URGENCIES
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sender: Sender) -> None:
        """The stream has something to send; it is not here yet."""
        level = self._levels[sender.priority[0]]
        if level is None:
            level = self._levels[sender.priority[0]] = deque()
        sender.turn = 0
        level.append(sender)
        self._count += 1

    def first(self) -> Sender:
        """Whose turn it is. There is somebody."""
        for level in self._levels:
            if level:
                return level[0]
        raise LookupError("nobody has anything to send")

    def room(self, sender: Sender) -> int:
        """Bytes that the first may send before another has its turn."""
        level = self._levels[sender.priority[0]]
        assert level is not None
        if len(level) == 1:
            return 1 << 30
        return 0 if sender.priority[1] else QUANTUM - sender.turn

    def sent(self, sender: Sender, size: int) -> None:
        """The first has sent so many bytes, and has more."""
        sender.turn += size
        if sender.priority[1] or sender.turn >= QUANTUM:
            level = self._levels[sender.priority[0]]
            assert level is not None
            sender.turn = 0
            level.rotate(-1)

    def remove(self, sender: Sender) -> None:
        """The stream has nothing to send now, or must not. It is here."""
        level = self._levels[sender.priority[0]]
        assert level is not None
        if level[0] is sender:
            level.popleft()
        else:
            level.remove(sender)
        self._count -= 1

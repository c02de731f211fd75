# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Changes of several keys on a cluster, where no script reaches two nodes: one at a time, and each is finished.

Whoever changes something takes the turn, by an entry in `~pages:change`; plans from what he reads then; writes all of
the plan into the entry; then writes key by key, each only if it holds what was planned from; then takes the entry away.
So that key is lock and journal in one: if a proxy dies in the midst, the next that comes finishes its change, and one
that had written nothing yet is forgotten.
The surprise: nobody needs to trust a clock of ours. Each step is refused by the server itself once the time of its
change is over, by the server's clock, so a proxy that slept through its turn can do no harm when it wakes.
"""

import json
import logging
import random
import secrets
import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from addon.shared.records import PREFIX
from addon.shared.round_trips import NoAnswer, RoundTrips, checked_replies, script

logger = logging.getLogger(__name__)

NAME: Final = f"{PREFIX}change"
TURN: Final = 5.0
"""Seconds that a change may take, by the servers' clocks."""
CLOCKS_DIFFER: Final = 2.0
"""Seconds by which the clocks of two nodes may differ."""
_MOST_STEPS: Final = 10_000
_PAUSE_FIRST, _PAUSE_MOST = 0.002, 0.05
_NEEDED = 0.1
"""Seconds that a change takes at most, on a busy day; with less left nobody begins one."""

# KEYS: the journal. ARGV: an entry without its first member, the milliseconds of a turn, those by which clocks differ.
# Answers the entry that is there now, and 0 if it is another's whose turn it is, 1 if ours, 2 if another's whose turn
# is over: then it is ours to finish, and has a new turn.
_BEGIN: Final = script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local turn = '{"until":' .. string.format('%.0f', now + tonumber(ARGV[2]))
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then
  redis.call('DEL', KEYS[1])
  there = false
end
if not there then
  redis.call('SET', KEYS[1], turn .. ARGV[1])
  return {turn .. ARGV[1], 1}
end
local head, untilwhen = string.match(there, '^({"until":(%d+))')
local over = tonumber(untilwhen or '0')
local whole = now + tonumber(ARGV[2]) + tonumber(ARGV[3])
if now <= over + tonumber(ARGV[3]) and over <= whole then return {there, 0} end
local left = turn .. string.sub(there, #(head or '') + 1)
redis.call('SET', KEYS[1], left)
return {left, 2}
""")
# KEYS: one. ARGV: what must be there ("*" anything, "-" nothing, "=" and the value), what is to be there ("-" nothing,
# "=" and the value), the milliseconds for which (0: for ever), the end of the turn. What is so already is done.
_STEP: Final = script("""
local t = redis.call('TIME')
if t[1] * 1000 + math.floor(t[2] / 1000) > tonumber(ARGV[4]) then return -1 end
local now = redis.pcall('GET', KEYS[1])
if ARGV[1] ~= '*' then
  if type(now) == 'table' then return 0 end
  local there = now and '=' .. now or '-'
  if there ~= ARGV[1] and there ~= ARGV[2] then return 0 end
end
if ARGV[2] == '-' then
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == '0' then
  redis.call('SET', KEYS[1], string.sub(ARGV[2], 2))
else
  redis.call('SET', KEYS[1], string.sub(ARGV[2], 2), 'PX', ARGV[3])
end
return 1
""")
# KEYS: the journal. ARGV: what must be there, and what is to be there instead.
_COMMIT: Final = script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
""")
_END: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Step(NamedTuple):
    """One key of a change: what must be there and what is to be there, as `_STEP` says; milliseconds to live."""

    name: str
    before: bytes
    after: bytes
    life: int


def turn(trips: RoundTrips) -> bytes:
    """Wait for the turn, and take it. Raises NoAnswer where too little time is left: then another proxy, or this one
    later, has its turn first.
    """
    pause = _PAUSE_FIRST
    while True:
        if trips.left < _NEEDED:
            raise NoAnswer
        entry = begin(trips)
        if entry is not None:
            return entry
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(1.5 * pause, _PAUSE_MOST)


def begin(trips: RoundTrips) -> bytes | None:
    """Take the turn; the entry that says so. None where another has it; if his is over, his change is finished."""
    rest = "," + json.dumps({"token": secrets.token_hex(8), "steps": []}, separators=(",", ":"))[1:]
    spans = (int(1000 * TURN), int(1000 * CLOCKS_DIFFER))
    entry, whose = trips.told("EVAL", _BEGIN, 1, NAME, rest, *spans)
    if whose == 0:
        return None
    if whose == 1:
        return bytes(entry)
    left = _read(entry)
    if left is None:
        logger.warning("Redis: %s has a value that cannot be read; the key is deleted", NAME)
    elif left[1]:
        logger.warning("a change of domains was left half done; it is finished now")
        _write(trips, *left)
    end(trips, entry)
    return None


def carry_out(trips: RoundTrips, entry: bytes, steps: Iterable[Step]) -> bool:
    """Write what a change says, and give up the turn; False where that was over. entry: from `begin`."""
    told = json.loads(entry)
    told["steps"] = [_told(step) for step in steps]
    data = json.dumps(told, separators=(",", ":")).encode()
    if trips.told("EVAL", _COMMIT, 1, NAME, entry, data) != 1:
        return False
    _write(trips, told["until"], tuple(steps))
    end(trips, data)
    return True


def _write(trips: RoundTrips, until: int, steps: tuple[Step, ...]) -> None:
    """What is written comes before what is deleted: where there is no room, nothing is lost."""
    for deletes in (False, True):
        some = [step for step in steps if (step.after == b"-") is deletes]
        replies = trips.run(("EVAL", _STEP, 1, step.name, step.before, step.after, step.life, until) for step in some)
        if -1 in checked_replies(replies):
            raise NoAnswer  # too late; it stands in the journal, and whoever comes next finishes it


def end(trips: RoundTrips, data: bytes) -> None:
    """Take an entry out of the journal, if it still is the one that is there."""
    trips.told("EVAL", _END, 1, NAME, data)


def _told(step: Step) -> list[object]:
    before, after = (each.decode("utf-8", "surrogateescape") for each in (step.before, step.after))
    return [step.name, before, after, step.life]


def _read(entry: bytes) -> tuple[int, tuple[Step, ...]] | None:
    """The end of an entry's turn, and its steps; None where it cannot be ours."""
    try:
        told: Any = json.loads(entry)
        until, steps = told["until"], told["steps"]
        if type(until) is not int or len(steps) > _MOST_STEPS:
            return None
        return until, tuple(map(_step, steps))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _step(told: Any) -> Step:
    name, before, after, life = told
    if type(name) is not str or type(life) is not int or life < 0:
        raise ValueError("no step")
    # UnicodeEncodeError, which half a surrogate pair gives, is a ValueError.
    return Step(name, before.encode("utf-8", "surrogateescape"), after.encode("utf-8", "surrogateescape"), life)

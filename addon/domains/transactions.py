# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Changes of several keys at once, or of none: what is to be written is planned from what was read, and is written only
if all of that still stands. The one script compares and sets; what may be claimed is decided in Python, in one place,
whether the keys are in Redis or in memory. A plan is a function: it may run again, against what it finds then, and so
what was planned while Redis was away holds when it is back. On a cluster the keys are on different nodes: there a
`journal` does what the script does elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

import resp
from addon.domains import journal
from addon.shared.round_trips import RoundTrips, checked_replies, no_scripts

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Value = bytes | None
"""What a key holds; None for nothing. Also what is to be written: None takes the key away."""
Writes = Mapping[str, Value]
OTHER_KIND: Final = b"\0"
"""Stands for what is there where a key is no string; it is nobody's value, and never written over by a swap."""
_ROUNDS = 16
"""Keys that lead to keys that lead to keys: more rounds than this has no plan."""

# Values are written before others are deleted: where Redis has no room, it refuses the first, and nothing is changed.
# KEYS: all. ARGV: for each key what must be there ("*" anything, "-" nothing, "=" and the value), what is to be there
# ("" the same, "-" nothing, "=" and the value), and the milliseconds for which (0: for ever).
_SWAP: Final = """
for i = 1, #KEYS do
  local want = ARGV[3 * i - 2]
  if want ~= '*' then
    local now = redis.pcall('GET', KEYS[i])
    if type(now) == 'table' then return i end
    if want == '-' then
      if now then return i end
    elseif not now or '=' .. now ~= want then
      return i
    end
  end
end
for i = 1, #KEYS do
  local new = ARGV[3 * i - 1]
  if string.sub(new, 1, 1) == '=' then
    if ARGV[3 * i] == '0' then
      redis.call('SET', KEYS[i], string.sub(new, 2))
    else
      redis.call('SET', KEYS[i], string.sub(new, 2), 'PX', ARGV[3 * i])
    end
  end
end
for i = 1, #KEYS do
  if ARGV[3 * i - 1] == '-' then redis.call('DEL', KEYS[i]) end
end
return 0
"""
_ONE_LINE: Final = " ".join(_SWAP.split())  # as servers put it into their error messages


class Unread(Exception):
    """A plan needs to know more keys."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.names = tuple(names)


class View:
    """What was read so far; a plan that asks for more is begun anew when that is read, too."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self.values:
            raise Unread((name,))
        return self.values[name]

    def need(self, *names: str | None) -> None:
        """Ask for many at once; Nones are left out."""
        missing = [name for name in dict.fromkeys(names) if name is not None and name not in self.values]
        if missing:
            raise Unread(missing)


class Planned(Protocol[T_co]):
    """A plan: out of what stands there, what is to be written and what that means. Called as often as it takes."""

    def __call__(self, view: View, /) -> tuple[Writes, T_co]: ...


def planned(plan: Planned[T], read: Callable[[tuple[str, ...]], Iterable[Value]]) -> tuple[View, Writes, T]:
    """Run a plan, reading what it asks for."""
    view = View()
    for _ in range(_ROUNDS):
        try:
            writes, result = plan(view)
        except Unread as unread:
            view.values.update(zip(unread.names, read(unread.names), strict=True))
        else:
            return view, writes, result
    raise RuntimeError("a plan that needs to know ever more")


def swap(trips: RoundTrips, plan: Planned[T], life: float) -> tuple[T, dict[str, Value]] | None:
    """Run a plan against Redis; None where what it read has changed meanwhile. life: seconds of what it writes, or 0.

    Says what the plan says, and what the keys hold afterwards.

    Runs on a thread. Three round trips for most plans: the record, what it leads to, the swap.
    """

    view, writes, result = planned(plan, lambda names: read(trips, names))
    if not writes:
        return result, view.values
    told = (result, {**view.values, **writes})
    if trips.clustered:
        return _swapped_in_turn(trips, plan, int(life * 1000))
    names = list(dict.fromkeys((*view.values, *writes)))
    arguments: list[bytes | str] = []
    milliseconds = str(int(life * 1000))
    for name in names:
        arguments += [_expected(view.values, name), _wanted(writes, name), milliseconds]
    reply = trips.ask("EVAL", _ONE_LINE, len(names), *names, *arguments)
    if no_scripts(reply):
        return told if _swapped_without_script(trips, view, writes, int(milliseconds)) else None
    checked_replies([reply])
    return told if reply == 0 else None


def read(trips: RoundTrips, names: Iterable[str]) -> list[Value]:
    """What keys hold, each by a GET of its own: MGET calls a key of another kind nothing."""
    replies = trips.run([("GET", name) for name in names])
    return checked_replies([OTHER_KIND if isinstance(reply, resp.WrongType) else reply for reply in replies])


def _expected(values: dict[str, Value], name: str) -> bytes:
    if name not in values or values[name] == OTHER_KIND:
        return b"*"
    there = values[name]
    return b"-" if there is None else b"=" + there


def _wanted(writes: Writes, name: str) -> bytes:
    if name not in writes:
        return b""
    new = writes[name]
    return b"-" if new is None else b"=" + new


def _swapped_in_turn(trips: RoundTrips, plan: Planned[T], milliseconds: int) -> tuple[T, dict[str, Value]] | None:
    """The same on a cluster: planned anew while nobody else changes anything."""
    entry = journal.turn(trips)
    view, writes, result = planned(plan, lambda names: read(trips, names))
    if not writes:
        journal.end(trips, entry)
        return result, view.values
    steps = [journal.Step(name, _expected(view.values, name), _wanted(writes, name), milliseconds) for name in writes]
    return (result, {**view.values, **writes}) if journal.carry_out(trips, entry, steps) else None


def _swapped_without_script(trips: RoundTrips, view: View, writes: Writes, milliseconds: int) -> bool:
    """The script as a transaction, for servers that run none or permit us none."""
    names = list(view.values)
    with trips.transaction() as queue:
        if names:
            queue.watch(*names)
            told = queue.mget(*names)
            if told != [None if value == OTHER_KIND else value for value in view.values.values()]:
                return False
        queue.multi()
        for name, value in sorted(writes.items(), key=lambda item: item[1] is None):
            life: tuple[Any, ...] = ("PX", milliseconds) if milliseconds else ()
            queue.execute_command(*(("DEL", name) if value is None else ("SET", name, value, *life)))
        try:
            queue.execute()
        except resp.WatchError:
            return False
    return True


def patiently(trips: RoundTrips, plan: Planned[T], life: float) -> tuple[T, dict[str, Value]]:
    """The same until nobody comes in between, or time is over (shared_trips.NoAnswer)."""
    while True:
        told = swap(trips, plan, life)
        if told is not None:
            return told

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The count of wrong passwords that several proxies share: keys `~pages:guess:…` in Redis, all of which expire.

An attempt is admitted where this process and Redis both admit it; while Redis gives no answer, this process alone
decides, by what it counted itself. Memory is asked first, so most guesses of one who waits cost no round trip, and a
wrong one that is tried costs one. No name holds an address or a site in clear: names are HMACs under the signing key.
On a cluster all counts are in one slot, because one script has to see those of a visitor and of a site together; each
guess costs a hash here, so one node has room for the guesses of a fleet.
"""

import hmac
from collections.abc import Callable
from typing import Any, Final

from addon.access.guess_limits import LIMITS, Admission, GuessesInMemory, Limits
from addon.access.signing_key import SigningKey
from addon.shared import records
from addon.shared.cache import SharedCache
from addon.shared.round_trips import RoundTrips

PREFIX: Final = f"{records.PREFIX}guess:"

# KEYS: the visitor at the site ("failures last"), the visitor, the site ("level since" each), whether it knew the
# password. ARGV: what happened, then the limits in the order of `Limits`. One clock: that of the server. Answers the
# milliseconds to wait, and 1 for who goes first.
_LINES: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local what, free, first = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, forgotten = tonumber(ARGV[4]), tonumber(ARGV[5])
local visitor_most, visitor_rate = tonumber(ARGV[6]), tonumber(ARGV[7])
local site_most_failed, site_most, site_rate = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local function two(key)
  local a, b = string.match(redis.call('GET', key) or '', '^([%d.]+) ([%d.]+)$')
  return tonumber(a) or 0, tonumber(b) or now
end
local function level(key, rate)
  local held, since = two(key)
  return math.max(0, held - (now - since) * rate)
end
local function keep(key, amount, life)
  redis.call('SET', key, string.format('%.6f %.6f', amount, now), 'EX', math.ceil(life) + 1)
end
local failures, last = two(KEYS[1])
local own, all = level(KEYS[2], visitor_rate), level(KEYS[3], site_rate)
if what == 'admit' then
  local known = redis.call('EXISTS', KEYS[4]) == 1
  local wait = 0
  if failures >= free then
    wait = math.min(longest, first * 2 ^ math.min(failures - free, 30)) - (now - last)
  end
  wait = math.max(wait, (own + 1 - visitor_most) / visitor_rate)
  if not known then
    local most = site_most
    if failures > 0 then most = site_most_failed end
    wait = math.max(wait, (all + 1 - most) / site_rate)
  end
  if wait > 0 then return {math.ceil(wait * 1000), 0} end
  keep(KEYS[1], failures + 1, forgotten)
  keep(KEYS[2], own + 1, (own + 1) / visitor_rate)
  keep(KEYS[3], all + 1, (all + 1) / site_rate)
  if known or failures == 0 then return {0, 1} end
  return {0, 0}
end
own, all = math.max(0, own - 1), math.max(0, all - 1)
keep(KEYS[2], own, own / visitor_rate)
keep(KEYS[3], all, all / site_rate)
if what == 'right' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[4], '1', 'EX', math.ceil(forgotten))
elseif failures > 1 then
  keep(KEYS[1], failures - 1, forgotten)
else
  redis.call('DEL', KEYS[1])
end
return {0, 0}
"""
_SCRIPT: Final = " ".join(_LINES.split())  # one line, as servers put it into their error messages


class GuessesShared:
    """The `Guesses` of several processes; lives on the event loop."""

    def __init__(
        self, shared: SharedCache, key: SigningKey, clock: Callable[[], float], limits: Limits = LIMITS
    ) -> None:
        """key: names are made with it, so it has to be that of all processes. clock: monotonic seconds, for memory."""
        self._shared = shared
        self._memory = GuessesInMemory(clock, limits)
        self._limits = [repr(number) for number in limits[:9]]
        self.adopt(key)

    def adopt(self, key: SigningKey) -> None:
        """Make names with this key from now on."""
        self._key = key.derived(b"names of guesses 1")

    def waiting(self, site: str, visitor: str) -> float:
        return self._memory.waiting(site, visitor)

    async def admit(self, site: str, visitor: str) -> Admission:
        own = await self._memory.admit(site, visitor)
        if own.wait > 0:
            return own
        told = await self._told("admit", site, visitor)
        if told is None:
            return own
        wait, first = told
        if wait <= 0:
            return Admission(0.0, bool(first))
        await self._memory.withdrawn(site, visitor)
        return Admission(wait / 1000, False)

    async def succeeded(self, site: str, visitor: str) -> None:
        await self._memory.succeeded(site, visitor)
        await self._told("right", site, visitor)

    async def withdrawn(self, site: str, visitor: str) -> None:
        await self._memory.withdrawn(site, visitor)
        await self._told("withdraw", site, visitor)

    async def _told(self, what: str, site: str, visitor: str) -> tuple[int, int] | None:
        """The milliseconds to wait and whether first, in one trip; None where Redis does not say."""
        names = [
            self._name("pair", site, visitor),
            self._name("visitor", visitor),
            self._name("site", site),
            self._name("known", site, visitor),
        ]

        def ask(trips: RoundTrips) -> Any:
            return trips.ask("EVAL", _SCRIPT, len(names), *names, what, *self._limits)

        match await self._shared.run(ask):
            case [int(wait), int(first)]:
                return wait, first
            case _:
                return None

    def _name(self, kind: str, *parts: str) -> str:
        text = "\0".join((kind, *parts)).encode("utf-8", "surrogatepass")
        place = f"{records.PREFIX}{{guess}}:" if self._shared.client.clustered else PREFIX
        return f"{place}{kind}:{hmac.digest(self._key, text, 'sha256').hex()[:32]}"

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whom an address stands for. One IPv4 address, or one IPv6 /64, for that is what one client has, until it fails.

Who holds a /48 has 65 536 times a /64, each of which looks like a fresh visitor. So failures are counted by /56 and by
/48 as well, and where there are too many, the larger network is the visitor. State: those tallies, bounded in number.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

UNKNOWN: Final = "unknown"
_LARGER: Final = ((56, 10.0), (48, 20.0))
"""Prefix lengths, and how many failures of different clients make one visitor of all of them."""
_RATE: Final = 1 / 60
"""Failures forgotten in a second."""
_REMEMBERED: Final = 20_000


def visitor_of(address: str) -> str:
    """Whom an address stands for; what is no address at all is one visitor together."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)


def network_of(visitor: str) -> str:
    """The largest network that one customer may have, of a visitor as `visitor_of` or `ClientNetworks.visitor` says."""
    networks = _networks(visitor)
    return networks[-1][0] if networks else visitor


class _Level(NamedTuple):
    level: float
    since: float


class ClientNetworks:
    """Which network is the visitor, after what came from it. For one place at a time, such as a site."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock: monotonic seconds."""
        self._clock = clock
        self._levels: OrderedDict[tuple[str, str], _Level] = OrderedDict()

    def visitor(self, place: str, client_network: str) -> str:
        """A client as `visitor_of` says, or the network that stands for it here."""
        chosen = client_network
        for network, most in _networks(client_network):
            if self._level(place, network) >= most:
                chosen = network
        return chosen

    def failed(self, place: str, client_network: str) -> None:
        """Something went wrong that may be a guess, or part of a flood."""
        for network, most in _networks(client_network):
            level = min(self._level(place, network) + 1, 2 * most)
            self._levels[place, network] = _Level(level, self._clock())
            self._levels.move_to_end((place, network))
        while len(self._levels) > _REMEMBERED:
            self._levels.popitem(last=False)

    def _level(self, place: str, network: str) -> float:
        found = self._levels.get((place, network))
        return 0.0 if found is None else max(0.0, found.level - (self._clock() - found.since) * _RATE)


def _networks(client_network: str) -> list[tuple[str, float]]:
    address, slash, _ = client_network.partition("/")
    if not slash or ":" not in address:
        return []
    number = int(ipaddress.IPv6Address(address))
    return [
        (str(ipaddress.ip_network((number >> (128 - length) << (128 - length), length))), most)
        for length, most in _LARGER
    ]

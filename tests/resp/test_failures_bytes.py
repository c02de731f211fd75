# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A proxy that strikes after every single byte of a recorded conversation, in both directions.

What must hold each time: a call returns its own value or raises a `RespError`; never a value of another call, never
another exception; and when the trouble is over the next calls work. Duplicated bytes are tried towards the client
only: a request whose bytes are duplicated is another request, which nobody can tell from what was meant.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import pytest

from resp import Client, RespError
from tests.resp.chaos import ChaosProxy, Direction, Fault, Kind
from tests.resp.conftest import AnyServer, Route, Through
from tests.resp.servers import Server

VALUES: Final = {f"key:{number}": b"value of key:%d\r\n$3\r\n+OK" % number for number in range(4)}

# For duplicated bytes: what makes another valid reply when a part of it is repeated cannot be told from a real one.
PLAIN: Final = {key: b"value of " + key.encode() for key in VALUES}


def fill(server: AnyServer, values: dict[str, bytes]) -> None:
    with server.console() as console:
        for key, value in values.items():
            console.ask("SET", key, value)


def converse(client: Client, troubled: bool, values: dict[str, bytes] = VALUES) -> int:
    """Every kind of call; each must give its own value or, if `troubled`, a RespError. The number of errors."""
    errors = 0

    def check(call: Callable[[], Any], expected: Any) -> None:
        nonlocal errors
        try:
            found = call()
        except RespError:
            errors += 1
            assert troubled
        else:
            assert found == expected

    def pipelined() -> Any:
        pipe = client.pipeline(transaction=False)
        for key in values:
            pipe.get(key)
        return pipe.execute()

    check(lambda: client.get("key:0"), values["key:0"])
    if values is VALUES:
        check(lambda: client.mget(["key:1", "missing", "key:2"]), [values["key:1"], None, values["key:2"]])
    check(lambda: client.exists("key:3"), 1)
    check(pipelined, list(values.values()))
    check(lambda: client.get("key:3"), values["key:3"])
    return errors


def lengths(route: Route, values: dict[str, bytes] = VALUES) -> tuple[int, int]:
    """Bytes that go to the server and to the client in one undisturbed conversation."""
    with route.client() as client:
        assert converse(client, False, values) == 0
    to_server, to_client = route.proxy.forwarded(route.proxy.accepted - 1)
    return len(to_server), len(to_client)


# What happens, in which directions, and how it is set up.
TROUBLES: Final[dict[str, tuple[Kind, tuple[Direction, ...], dict[str, Any]]]] = {
    "cut": ("cut", ("to client", "to server"), {}),
    "cut at once": ("cut", ("to client", "to server"), {"at_once": True}),
    "reset": ("reset", ("to client", "to server"), {}),
    "delay": ("pause", ("to client", "to server"), {"seconds": 0.001}),
    "single bytes": ("trickle", ("to client", "to server"), {}),
}


def offsets(route: Route, direction: Direction, values: dict[str, bytes] = VALUES) -> range:
    to_server, to_client = lengths(route, values)
    return range((to_client if direction == "to client" else to_server) + 1)


def strike(route: Route, fault: Fault, values: dict[str, bytes] = VALUES, **options: Any) -> int:
    """Conversations on one client whose first connection meets `fault`; the number of calls that failed."""
    route.proxy.faults = (replace(fault, connection=route.proxy.accepted),)
    # A length that grew by a digit is waited for in vain.
    with route.client(**{"timeout": 0.5, **options}) as client:
        errors = converse(client, True, values)
        if not errors:  # the fault of the last offset strikes when the next conversation begins
            errors = converse(client, True, values)
        assert errors <= 1, "only the call that was under way may fail"
        assert converse(client, False, values) == 0
    return errors


@pytest.mark.parametrize("trouble", TROUBLES)
def test_after_every_byte_a_call_returns_its_own_value_or_an_error(
    server: AnyServer, through_plain: Through, trouble: str
) -> None:
    fill(server, VALUES)
    kind, directions, options = TROUBLES[trouble]
    # All that follows comes in single bytes, the next one's, too; and Redis 7 says what Valkey says, but for its name.
    step = 7 if kind == "trickle" or server.name == "redis" else 1
    route = through_plain(server.address)
    for direction in directions:
        struck = offsets(route, direction)[::step]
        failed = sum(strike(route, Fault(kind, after, direction, **options)) for after in struck)
        if kind in ("pause", "trickle"):
            assert failed == 0, "slow is not broken"


def test_what_is_sent_twice_after_every_byte_is_nobodys_value(real_server: Server, through_plain: Through) -> None:
    """Real servers only: they send the replies of a pipeline together, so that a repetition is not a late reply."""
    fill(real_server, PLAIN)
    route = through_plain(real_server.address)
    for after in offsets(route, "to client", PLAIN):
        strike(route, Fault("repeat", after, at_once=True), PLAIN, timeout=0.2)


@pytest.mark.parametrize("trouble", ["cut", "reset", "single bytes"])
def test_after_every_byte_within_tls(valkey: Server, through_tls: Through, trouble: str) -> None:
    fill(valkey, VALUES)
    kind, directions, options = TROUBLES[trouble]
    route = through_tls(valkey.address)
    for direction in directions:
        # Every third: a handshake costs a slow machine as much as a whole conversation.
        for after in offsets(route, direction)[::3]:
            strike(route, Fault(kind, after, direction, **options))


@pytest.mark.parametrize("kind", ["cut", "reset", "repeat"])
def test_after_many_bytes_of_the_ciphertext(valkey: Server, through_ciphertext: Through, kind: Kind) -> None:
    fill(valkey, VALUES)
    route = through_ciphertext(valkey.address)
    for direction in ("to client", "to server") if kind != "repeat" else ("to client",):
        for after in offsets(route, direction)[::31]:
            strike(route, Fault(kind, after, direction))


def test_a_silence_after_every_byte_ends_at_the_deadline(valkey: Server, chaos: Callable[..., ChaosProxy]) -> None:
    """Many at once, because each one waits for its deadline."""
    fill(valkey, VALUES)

    def one(after: int) -> float:
        proxy = chaos(valkey.address)
        route = Route(proxy, proxy.address)
        with route.client() as warm:
            assert converse(warm, False) == 0
        started = time.monotonic()
        strike(route, Fault("pause", after, seconds=30.0), timeout=0.25)
        return time.monotonic() - started

    proxy = chaos(valkey.address)
    total = lengths(Route(proxy, proxy.address))[1]
    with ThreadPoolExecutor(24) as threads:
        slowest = max(threads.map(one, range(0, total, 2)))
    assert slowest < 0.25 + 2.0

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The attacks of `tests.benchmarks.crowd`: each a coroutine that floods a port for some seconds, and what it asks with.

They come from addresses of loopback of their own, and are bounded in time and number. What they ask for is made by
`crowd`, in the repositories of the attacker `mallory`.
"""

import asyncio
import contextlib
import itertools
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from tests.addon.net.tls_wire import client_context
from tests.integration.running import PAGES_DOMAIN

FORGEJO = "git.test"
PROBE, FRONT, ATTACKER = "127.0.0.10", "127.0.0.9", "127.0.0.66"
PATIENCE = 12.0
PASSWORD = "open sesame"


class Reply(NamedTuple):
    """What came back; status 0: nothing did. seconds: from the connection to the last byte."""

    status: int
    body: bytes
    seconds: float


def request(host: str, path: str, *fields: str, method: str = "GET", body: bytes = b"", close: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    lines += ["Connection: close"] if close else []
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


@contextlib.asynccontextmanager
async def connected(port: int, source: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(port: int, data: bytes, source: str = PROBE, patience: float = PATIENCE) -> Reply:
    """One request on a connection of its own."""
    began = time.perf_counter()
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience), connected(port, source) as (reader, writer):
            writer.write(data)
            answer = await reader.read(-1)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1]) if head.startswith(b"HTTP/1.1 ") else 0
    return Reply(status, body, time.perf_counter() - began)


# --- attacks ----------------------------------------------------------------------------------------------------------


async def repeatedly(seconds: float, many: int, work: Callable[[int], Awaitable[object]]) -> None:
    """`many` at a time, again and again, for so many seconds."""
    end, numbers = time.monotonic() + seconds, itertools.count()

    async def one() -> None:
        while time.monotonic() < end:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    await work(next(numbers))

    await asyncio.gather(*(one() for _ in range(many)))


def host(owner: str) -> str:
    return f"{owner}.{PAGES_DOMAIN}"


async def forwarded(port: int, seconds: float) -> None:
    field = "Forwarded: a=" + " " * 15_000 + "x y"

    async def work(number: int) -> None:
        data = b"".join(request(host("alice"), f"/n{number}.{n}", field, close=False) for n in range(8))
        async with connected(port, FRONT) as (reader, writer):
            writer.write(data)
            await reader.read(1)
            await asyncio.sleep(0.5)

    await repeatedly(seconds, 2, work)


async def gallery(port: int, seconds: float) -> None:
    statuses: Counter[int] = Counter()

    async def work(number: int) -> None:
        paths = (f"/gallery{number % 8}/p{n:03}.png" for n in range(150))
        replies = await asyncio.gather(*(ask(port, request(host("mallory"), path), ATTACKER) for path in paths))
        statuses.update(reply.status for reply in replies)

    await repeatedly(seconds, 1, work)
    print("pictures of the attacker's galleries:", ", ".join(f"{n} × {status}" for status, n in statuses.items()))


async def strangers(port: int, seconds: float) -> None:
    chance = random.Random(1)
    await repeatedly(
        seconds,
        40,
        lambda number: ask(port, request(host(f"x{chance.randrange(10**9)}"), f"/r{number}/"), ATTACKER),
    )


async def deep(port: int, seconds: float) -> None:
    await repeatedly(seconds, 4, lambda number: ask(port, request(host("mallory"), f"/deep/{number}"), ATTACKER))


async def links(port: int, seconds: float) -> None:
    async def work(number: int) -> None:
        async with connected(port, ATTACKER) as (reader, writer):
            asked = [request(host("mallory"), "/links/", close=False)] * 5
            asked += [request(host("mallory"), f"/links/l{number % 1990}", close=False)] * 35
            writer.write(b"".join(asked))
            while await reader.read(65536):
                pass

    await repeatedly(seconds, 4, work)


async def listing(port: int, seconds: float) -> None:
    await repeatedly(
        seconds,
        16,
        lambda number: ask(
            port, request(f"{host('mallory')}:{number % 16 + 1}", f"/listing/?page={number % 20 + 1}"), ATTACKER
        ),
    )


async def hashes(port: int, seconds: float) -> None:
    body = f"password={PASSWORD.replace(' ', '+')}".encode()
    form = "Content-Type: application/x-www-form-urlencoded"

    async def work(number: int) -> None:
        data = request(host("mallory"), f"/locked{number % 70}/", form, method="POST", body=body)
        await ask(port, data, f"127.0.{number % 20 + 1}.66")

    await repeatedly(seconds, 70, work)


async def dns(port: int, seconds: float) -> None:
    async def work(number: int) -> None:
        await ask(port, request(f"x{number % 200}.evil.test", "/"), ATTACKER)
        await asyncio.sleep(1)

    await repeatedly(seconds, 6, work)


async def domains(port: int, seconds: float) -> None:
    async def work(number: int) -> None:
        await ask(port, request(host("mallory"), f"/domains{number % 9}/"), ATTACKER)
        await asyncio.sleep(0.1)

    await repeatedly(seconds, 9, work)


async def webhooks(port: int, seconds: float) -> None:
    async def work(number: int) -> None:
        fields = ("X-Forgejo-Event: push", f"X-Forgejo-Signature: {'0' * 64}", "Content-Length: 100000")
        async with connected(port, f"127.0.{number % 8 + 1}.{number % 5 + 66}") as (_, writer):
            head = request(PAGES_DOMAIN, "/.pages/webhook", *fields, method="POST").replace(
                b"Content-Length: 0\r\n", b""
            )
            writer.write(head)
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.5)

    await repeatedly(seconds, 40, work)


async def connections(port: int, seconds: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    end = time.monotonic() + seconds
    for number in range(8000):
        if time.monotonic() > end:
            break
        with contextlib.suppress(OSError):
            held.append(
                await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.{number // 500 + 1}.66", 0))
            )
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    print("connections made:", len(held))


async def half_heads(port: int, seconds: float) -> None:
    open_ = 0

    async def one(number: int) -> None:
        nonlocal open_
        async with connected(port, ATTACKER) as (reader, writer):
            open_ += 1
            writer.write(request(host("alice"), "/", method="POST", body=b"x", close=False) + b"POST / HTTP/1.1\r\n")
            try:
                async with asyncio.timeout(seconds):
                    trickle = asyncio.ensure_future(_trickle(writer))
                    try:
                        while await reader.read(4096):
                            pass
                    finally:
                        trickle.cancel()
            finally:
                open_ -= 1

    tasks = [asyncio.ensure_future(one(number)) for number in range(400)]
    await asyncio.sleep(seconds - 0.5)
    print(f"half heads: {open_} of 400 are open after {seconds - 0.5:g} s (headerTimeout is 3 s here)")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await asyncio.sleep(1)


async def guesses(port: int, seconds: float) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"

    async def work(number: int) -> None:
        client = f"X-Forwarded-For: 2001:db8:7:{number % 65536:x}::1"
        body = b"password=wrong%d" % number
        await ask(port, request(host("alice"), "/locked/", form, client, method="POST", body=body), FRONT)

    await repeatedly(seconds, 8, work)


async def log_lines(port: int, seconds: float) -> None:
    async def work(number: int) -> None:
        await ask(port, request(host("alice"), "/.well-known/acme-challenge/x"), ATTACKER)
        await ask(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ATTACKER, 0.5)

    await repeatedly(seconds, 20, work)


async def hints(port: int, seconds: float) -> None:
    """What might be a push, and is none: Forgejo refuses it."""
    form = "Content-Type: application/x-www-form-urlencoded"

    async def work(number: int) -> None:
        for path in (f"/user/login?{number}", "/alice/hooked.git/git-receive-pack", "/api/v1/repos/alice/hooked/x"):
            await ask(port, request(FORGEJO, path, form, method="POST", body=b"a=b"), ATTACKER)

    await repeatedly(seconds, 8, work)


async def priorities(port: int, seconds: float) -> None:
    """Frames of HTTP/2 that do nothing, over TLS, on a new connection as soon as one is closed for them."""
    frame = b"\0\0\5\2\0" + (1).to_bytes(4, "big") + b"\0\0\0\0\x10"
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    connections = 0

    async def work(number: int) -> None:
        nonlocal connections
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(ATTACKER, 0), ssl=client_context("h2"), server_hostname=host("alice")
        )
        connections += 1
        try:
            writer.write(opening)
            while True:
                writer.write(frame * 2000)
                await writer.drain()
        finally:
            writer.transport.abort()

    await repeatedly(seconds, 2, work)
    print("connections closed for what they sent:", connections)


OVER_TLS = {"16 priorities"}
ATTACKS: dict[str, Callable[[int, float], Awaitable[None]]] = {
    "1 forwarded": forwarded,
    "2 gallery": gallery,
    "3 strangers": strangers,
    "4 deep paths": deep,
    "5 links": links,
    "6 listing": listing,
    "7 hashes": hashes,
    "8 dns": dns,
    "9 domains": domains,
    "10 webhooks": webhooks,
    "11 connections": connections,
    "12 half heads": half_heads,
    "13 guesses": guesses,
    "14 log lines": log_lines,
    "15 no pushes": hints,
    "16 priorities": priorities,
}

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The HTTP client against real sockets: framing, connections kept and dropped, deadlines, limits, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon.net.http_client import (
    ConnectFailed,
    Disconnected,
    HttpClient,
    Malformed,
    Origin,
    Response,
    TimedOut,
    TooLarge,
    TransportError,
    Truncated,
    origin_of,
)
from tests.addon.net.scripted import (
    Answer,
    Scripted,
    Seen,
    always,
    chunked,
    http,
    in_turn,
    scripted,
    silence,
)
from tests.resp.certs import make_certificates
from tests.waiting import at_rest, until

LIMIT = 1024 * 1024
CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def get(client: HttpClient, server: Scripted, target: str = "/", within: float = 5.0) -> Response:
    return await client.get(origin_of(server.url), target, deadline=soon(within))


async def fetched(client: HttpClient, server: Scripted, target: str = "/", within: float = 5.0) -> bytes:
    return await (await get(client, server, target, within)).read(LIMIT, deadline=soon(within))


# Framing


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (http(200, b"hello"), b"hello"),
        (http(200), b""),
        (chunked(200, [b"hel", b"lo"]), b"hello"),
        (chunked(200, []), b""),
        (
            http(200, b"5;name=value\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", CHUNKED, length=-1),
            b"hello",
        ),
        (http(103, length=-1) + http(100, length=-1) + http(200, b"hello"), b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    ],
)
async def test_a_body_ends_where_its_framing_says(client: HttpClient, answer: bytes, body: bytes) -> None:
    async with scripted(always(answer)) as server:
        assert await fetched(client, server) == body
        assert await fetched(client, server) == body
        assert server.connections == 1


async def test_a_body_without_framing_ends_with_its_connection(client: HttpClient) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(http(200, b"hello", length=-1))
        return None

    async with scripted(answer) as server:
        assert await fetched(client, server) == b"hello"
        assert await fetched(client, server) == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        http(200, b"hel", length=5),
        http(200, b"", length=5),
        http(200, b"5\r\nhel", CHUNKED, length=-1),
        http(200, b"5\r\nhello\r\n", CHUNKED, length=-1),
        http(200, b"5\r\nhello\r\n0\r\n", CHUNKED, length=-1),
    ],
)
async def test_a_body_cut_short_is_an_error_never_a_short_body(client: HttpClient, answer: bytes) -> None:
    async def cut(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(answer)
        return None

    async with scripted(cut) as server:
        response = await get(client, server)
        with pytest.raises(Truncated):
            await response.read(LIMIT, deadline=soon())


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"<html>an HTTP/0.9 answer</html>\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 abc Any\r\n\r\n",
        b"HTTP/1.1 200 Any\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        http(200, b"hello", ("Content-Length", "6")),
        http(200, b"hello", length=-5),
        http(100, length=-1) * 50,
    ],
)
async def test_what_is_not_http_is_malformed(client: HttpClient, answer: bytes) -> None:
    async with scripted(always(answer)) as server:
        with pytest.raises(Malformed):
            await fetched(client, server, within=2)
        await closed(client)


async def closed(client: HttpClient) -> None:
    """Wait until every connection has ended."""
    await until(lambda: client.connections == 0, "the end of every connection")


@pytest.mark.parametrize(
    "body", [b"x\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"5" * 200_000]
)
async def test_a_broken_chunk_is_malformed(client: HttpClient, body: bytes) -> None:
    async with scripted(always(http(200, body, CHUNKED, length=-1))) as server:
        response = await get(client, server)
        with pytest.raises(Malformed):
            await response.read(LIMIT, deadline=soon())


@pytest.mark.parametrize("fields", [[("X-Big", "x" * 500_000)], [("X-Many", "x" * 50)] * 10_000])
async def test_a_giant_head_is_malformed(client: HttpClient, fields: list[tuple[str, str]]) -> None:
    async with scripted(always(http(200, b"", *fields))) as server:
        with pytest.raises(Malformed):
            await get(client, server)


async def test_texts_of_errors_quote_nothing_that_the_server_sent(client: HttpClient) -> None:
    async with scripted(always(b"HTTP/1.1 seekrit-status\r\nA: seekrit\r\n\r\n")) as server:
        with pytest.raises(Malformed) as caught:
            await get(client, server)
    assert "seekrit" not in str(caught.value)
    assert caught.value.__suppress_context__


# What is sent


async def test_a_request_says_who_asks_and_wants_no_encoding(client: HttpClient) -> None:
    async with scripted(always(http(200, b"", ("Set-Cookie", "a=b")))) as server:
        for _ in range(2):
            await (await client.get(origin_of(server.url), "/a%20b?c=d", [("X-Mine", "1 2")])).read(10)
        assert [seen.headers for seen in server.requests] == 2 * [
            {
                "host": f"127.0.0.1:{server.port}",
                "user-agent": "forgejo-pages-mitmproxy",
                "accept-encoding": "identity",
                "x-mine": "1 2",
            }
        ]
        assert server.targets == ["/a%20b?c=d"] * 2


@pytest.mark.parametrize(
    "target", ["", "a", "http://other/", "/a b", "/a\r\nX: y", "/a\n", "/a\0", "/é", "/a#b", "*", "/a\x7f"]
)
async def test_a_target_that_no_request_may_have_is_refused(client: HttpClient, target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        await client.get(Origin("http", "127.0.0.1", 1), target)


@pytest.mark.parametrize("value", ["a\r\nb", "a\n", "", " a", "a ", "é", "a\0"])
async def test_a_header_that_no_request_may_have_is_refused_unquoted(client: HttpClient, value: str) -> None:
    with pytest.raises(ValueError, match=r"^a header value must be visible ASCII$"):
        await client.get(Origin("http", "127.0.0.1", 1), "/", [("Authorization", value)])


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://forge.example", Origin("http", "forge.example", 80), "forge.example"),
        ("https://Forge.example:443/git/", Origin("https", "forge.example", 443), "forge.example"),
        ("http://forge.example:443", Origin("http", "forge.example", 443), "forge.example:443"),
        ("http://[::1]:3000", Origin("http", "::1", 3000), "[::1]:3000"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: Origin, authority: str) -> None:
    assert origin_of(url) == origin
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        *("", "forge.example", "ftp://forge.example", "http://"),
        *("http://user:seekrit@forge.example", "http://a:x", "http://[::1"),
    ],
)
def test_what_is_no_origin_is_refused_unquoted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*seekrit)"):
        origin_of(url)


# Connections


async def test_the_connection_last_used_is_used_first_and_few_are_kept(client: HttpClient) -> None:
    client = HttpClient(max_idle=2)
    async with scripted(always(http(200, b"x"))) as server:
        responses = [await get(client, server) for _ in range(4)]
        for response in responses:
            await response.read(LIMIT)
        await server.until(lambda: server.open == 2)
        await fetched(client, server)
        assert server.requests[-1].connection == 4
        await client.aclose()
        await server.until(lambda: server.open == 0)


async def test_an_idle_connection_is_closed_after_its_time(client: HttpClient) -> None:
    client = HttpClient(idle_seconds=0.05)
    async with scripted(always(http(200, b"x"))) as server:
        await fetched(client, server)
        await server.until(lambda: server.open == 0)
        await closed(client)
        await fetched(client, server)
        assert server.connections == 2
        await client.aclose()


@pytest.mark.parametrize(
    "answer", [http(200, b"x", ("Connection", "close")), b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"]
)
async def test_a_connection_that_the_server_gives_up_is_not_kept(client: HttpClient, answer: bytes) -> None:
    async with scripted(always(answer)) as server:
        assert await fetched(client, server) == b"x"
        assert await fetched(client, server) == b"x"
        assert server.connections == 2


async def test_a_kept_connection_that_died_unnoticed_is_replaced_once(client: HttpClient) -> None:
    async with scripted(in_turn([http(200, b"one"), None, http(200, b"two")])) as server:
        assert await fetched(client, server) == b"one"
        assert await fetched(client, server) == b"two"
        assert [seen.connection for seen in server.requests] == [1, 1, 2]


async def test_no_request_is_sent_a_third_time(client: HttpClient) -> None:
    async with scripted(in_turn([http(200, b"one"), None])) as server:
        assert await fetched(client, server) == b"one"
        with pytest.raises(Disconnected):
            await fetched(client, server)
        assert len(server.requests) == 3


async def test_a_new_connection_that_dies_is_not_tried_again(client: HttpClient) -> None:
    async with scripted(always(None)) as server:
        with pytest.raises(Disconnected):
            await fetched(client, server)
        assert len(server.requests) == 1


async def test_an_answer_that_began_is_not_asked_for_again(client: HttpClient) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if len(server.requests) == 1:
            return http(200, b"one")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        return None

    async with scripted(answer) as server:
        await fetched(client, server)
        with pytest.raises(Disconnected):
            await fetched(client, server)
        assert len(server.requests) == 2


async def test_bytes_that_nobody_asked_for_are_never_taken_for_an_answer(client: HttpClient) -> None:
    read, sent = asyncio.Event(), asyncio.Event()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if seen.target != "/first":
            return http(200, b"right")
        writer.write(http(200, b"first"))
        await read.wait()
        writer.write(http(200, b"wrong"))
        await writer.drain()
        sent.set()
        return b""

    async with scripted(answer) as server:
        assert await fetched(client, server, "/first") == b"first"
        read.set()
        await sent.wait()
        await closed(client)
        assert await fetched(client, server, "/second") == b"right"


async def test_bytes_after_an_answer_end_its_connection(client: HttpClient) -> None:
    async with scripted(in_turn([http(200, b"first") + http(200, b"wrong"), http(200, b"right")])) as server:
        assert await fetched(client, server) == b"first"
        assert await fetched(client, server) == b"right"
        assert server.connections == 2


async def test_a_cancelled_wait_closes_its_connection(client: HttpClient) -> None:
    async with scripted(silence) as server:
        task = asyncio.ensure_future(get(client, server))
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed(client)


async def test_a_body_that_is_left_closes_its_connection(client: HttpClient) -> None:
    async with scripted(always(http(200, b"x" * 1000, length=2000))) as server:
        response = await get(client, server)
        async for chunk in response.chunks():
            assert chunk == b"x" * 1000
            break
        response.close()
        await server.until(lambda: server.open == 0)
        await closed(client)


async def test_closing_ends_what_is_under_way(client: HttpClient) -> None:
    async with scripted(silence) as server:
        task = asyncio.ensure_future(get(client, server))
        await until(lambda: server.requests)
        await client.aclose()
        with pytest.raises(Disconnected):
            await task
        with pytest.raises(ConnectFailed):
            await get(client, server)


async def test_a_reader_that_pauses_stops_the_server(client: HttpClient) -> None:
    accepted = 0
    size = 64 * 1024 * 1024

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        nonlocal accepted
        writer.write(http(200, b"", length=size))
        for _ in range(size // 65536):
            writer.write(bytes(65536))
            await writer.drain()
            accepted += 65536
        return b""

    async with scripted(answer) as server:
        response = await get(client, server)
        chunks = response.chunks(5)
        await anext(chunks)
        assert await at_rest(lambda: accepted) < 16 * 1024 * 1024  # what the kernel's own buffers take
        received = len(b"".join([chunk async for chunk in chunks]))
        assert 0 < size - received <= 64 * 1024
        assert accepted == size


# Deadlines and limits


async def dribble(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def late(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
    await asyncio.sleep(0.5)
    return http(200, b"late")


async def dribbled_head(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
    await dribble(writer, http(200, b"x"))
    return b""


async def dribbled_body(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
    writer.write(http(200, b"", length=100))
    await dribble(writer, bytes(100))
    return b""


@pytest.mark.parametrize("answer", [silence, late, dribbled_head, dribbled_body])
async def test_an_answer_must_be_complete_before_its_deadline(client: HttpClient, answer: Answer) -> None:
    async with scripted(answer) as server:
        deadline = soon(0.2)
        with pytest.raises(TimedOut):
            await (await client.get(origin_of(server.url), "/", deadline=deadline)).read(LIMIT, deadline=deadline)
        assert soon(0) - deadline < 0.2
        await closed(client)


async def test_the_wait_for_each_piece_of_a_stream_is_bounded_not_the_whole(client: HttpClient) -> None:
    async def pausing(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(http(200, b"", length=10))
        await dribble(writer, bytes(9))
        return await silence(seen, writer)

    async with scripted(pausing) as server:
        response = await get(client, server)
        received = 0
        chunks = response.chunks(0.3)
        while received < 9:
            received += len(await anext(chunks))
        with pytest.raises(TimedOut):
            await anext(chunks)
        await closed(client)


async def test_a_server_that_never_says_a_word_of_tls_runs_into_the_deadline(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel takes the connection, nobody says a word
        origin = Origin("https", "127.0.0.1", listener.getsockname()[1])
        with pytest.raises(TimedOut):
            await client.get(origin, "/", deadline=soon(0.2))
    await closed(client)


async def test_a_body_above_the_limit_is_refused_before_it_is_read(client: HttpClient) -> None:
    for claimed in (LIMIT + 1, 10**30):
        async with scripted(always(http(200, b"x", length=claimed))) as server:
            with pytest.raises((TooLarge, Malformed)):
                await fetched(client, server)


async def test_a_body_that_grows_above_the_limit_is_dropped(client: HttpClient) -> None:
    async def endless(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(http(200, b"", CHUNKED, length=-1))
        while not writer.is_closing():
            writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            await writer.drain()
        return None

    async with scripted(endless) as server:
        with pytest.raises(TooLarge):
            await fetched(client, server)
        await server.until(lambda: server.open == 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "a" * 70 + ".example", "a..b"])
async def test_where_nobody_listens_there_is_no_connection(client: HttpClient, host: str) -> None:
    probe = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    with pytest.raises(ConnectFailed):
        await client.get(Origin("http", host, port), "/", deadline=soon())


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """The file to trust, and the settings of a server with a certificate of that authority."""
    certificates = make_certificates(tmp_path_factory.mktemp("tls"))
    return certificates.authority, certificates.server_context()


async def test_tls_with_the_operators_authority(authority: tuple[Path, ssl.SSLContext]) -> None:
    ca_file, context = authority
    client = HttpClient(ca_file=ca_file)
    body = bytes(range(256)) * 2000
    async with scripted(in_turn([http(200, body), chunked(200, [body, body])]), tls=context) as server:
        assert await fetched(client, server) == body
        assert await fetched(client, server) == body + body
        assert server.connections == 1
        await client.aclose()


async def test_a_certificate_of_nobody_we_trust_is_refused(
    client: HttpClient, authority: tuple[Path, ssl.SSLContext]
) -> None:
    async with scripted(always(http(200)), tls=authority[1]) as server:
        with pytest.raises(ConnectFailed, match="certificate is not accepted"):
            await get(client, server)
        assert not server.requests


async def test_a_body_cut_short_is_an_error_under_tls_too(authority: tuple[Path, ssl.SSLContext]) -> None:
    client = HttpClient(ca_file=authority[0])

    async def cut(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(http(200, b"hel", length=5))
        return None

    async with scripted(cut, tls=authority[1]) as server:
        with pytest.raises(TransportError):
            await fetched(client, server)
        await client.aclose()


async def test_plain_http_where_tls_was_expected_is_no_connection(client: HttpClient) -> None:
    async def bad_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(http(400))
        writer.close()

    async with await asyncio.start_server(bad_request, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="TLS failed"):
            await client.get(Origin("https", "127.0.0.1", port), "/", deadline=soon(2))

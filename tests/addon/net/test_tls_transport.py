# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is TLS about the lane: who is let in, with which certificate, and how a connection ends."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import re
import shutil
import socket
import ssl
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]  # what is written to it
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509

from addon.net.certificates import CertificateFault, Certificates, CertificateWatch
from addon.net.tls_transport import SecureTransport
from addon.web.forwarding import Visitor
from addon.web.request_head import fields
from tests.addon.conftest import Counting
from tests.addon.lane.lane_running import (
    BIG,
    DEADLINE,
    FORGEJO,
    HOST,
    LAST,
    RunningLane,
    answers,
    get,
    pause_reading,
    running_lane,
)
from tests.addon.net.tls_wire import CAN_ASK_FOR_KEY_UPDATE, SecureWriter, client_context, make_pair, open_secure
from tests.waiting import at_rest, rounds


@pytest.fixture
def single(tmp_path: Path) -> Certificates:
    return Certificates([make_pair(tmp_path, "single", "*.pages.test", "pages.test")], http2=True)


@pytest.fixture
def several(tmp_path: Path) -> Certificates:
    names = {"wide": ["*.pages.test"], "exact": ["bob.pages.test", "other.test"], "late": ["*.pages.test", "*.test"]}
    return Certificates([make_pair(tmp_path, stem, *each) for stem, each in names.items()], http2=True)


def shown(writer: SecureWriter) -> str:
    """The common name of the certificate that a client was given."""
    der = writer.session.getpeercert(binary_form=True)
    assert der is not None
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


async def certificate_for(running: RunningLane, name: str | None) -> str:
    reader, writer = await open_secure(running.port, name)
    writer.write(get("/hit", LAST, host=name or HOST))
    assert (await asyncio.wait_for(reader.read(), DEADLINE)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    return shown(writer)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alice.pages.test", "wide"),
        ("ALICE.Pages.TEST", "wide"),
        ("bob.pages.test", "exact"),  # exact, though a wildcard comes first
        ("other.test", "exact"),
        ("new.test", "late"),
    ],
)
async def test_the_certificate_is_chosen_by_the_name_asked_for(several: Certificates, name: str, expected: str) -> None:
    async with running_lane(certificates=several) as running:
        assert await certificate_for(running, name) == expected


@pytest.mark.parametrize("name", ["a.b.pages.test", "pages.example", "test", None])
async def test_a_name_that_no_certificate_has_is_refused_and_nothing_made_up_for_it(
    several: Certificates, name: str | None
) -> None:
    async with running_lane(certificates=several) as running:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await open_secure(running.port, name)
        assert running.handed == []
        assert running.pages.seen == []


async def test_who_asks_for_no_name_gets_the_only_certificate_and_who_asks_for_another_is_refused(
    single: Certificates,
) -> None:
    async with running_lane(certificates=single) as running:
        assert await certificate_for(running, None) == "single"
        assert await certificate_for(running, "pages.test") == "single"
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await open_secure(running.port, "pages.example")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed(several: Certificates, version: ssl.TLSVersion) -> None:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    async with running_lane(certificates=several) as running:
        session = None
        reused = []
        for _ in range(3):
            reader, writer = await open_secure(running.port, HOST, context, session)
            writer.write(get("/hit", LAST))
            assert (await asyncio.wait_for(reader.read(), DEADLINE)).endswith(b"GET /hit")
            session = writer.session.session
            reused.append(writer.session.session_reused)
            writer.close()
    assert reused == [False, True, True]


@pytest.mark.parametrize(("version", "pieces"), [(ssl.TLSVersion.TLSv1_2, 3), (ssl.TLSVersion.TLSv1_3, 2)])
async def test_tickets_go_with_the_answer_and_the_end_as_well(
    single: Certificates, version: ssl.TLSVersion, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client waits for, and after that one piece; TLS 1.2 cannot go on before the server's last message."""
    written = []
    write = _SelectorSocketTransport.write

    def noted(self: _SelectorSocketTransport, data: bytes) -> None:
        if isinstance(self.get_protocol(), SecureTransport):
            written.append(len(data))
        write(self, data)

    monkeypatch.setattr(_SelectorSocketTransport, "write", noted)
    context = client_context()
    context.minimum_version = context.maximum_version = version
    async with running_lane(certificates=single) as running:
        reader, writer = await open_secure(running.port, HOST, context)
        writer.write(get("/hit", LAST))
        assert (await asyncio.wait_for(reader.read(), DEADLINE)).endswith(b"GET /hit")
        assert writer.session.session is not None
        assert writer.session.session.has_ticket
        writer.close()
    assert len(written) == pieces


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_tls_is_refused(single: Certificates) -> None:
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with running_lane(certificates=single) as running:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await open_secure(running.port, HOST, context)


@pytest.mark.parametrize(
    ("offered", "http2", "name", "agreed"),
    [
        (("h2", "http/1.1"), True, HOST, "h2"),
        (("http/1.1",), True, HOST, "http/1.1"),
        ((), True, HOST, None),
        (("h2", "http/1.1"), False, HOST, "http/1.1"),
        (("h2", "http/1.1"), True, FORGEJO, "http/1.1"),
        (("h2", "http/1.1"), True, "GIT.test", "http/1.1"),
        (("spdy/3",), True, HOST, "no_application_protocol"),
        (("h2",), False, HOST, "no_application_protocol"),
        (("h2",), True, FORGEJO, "no_application_protocol"),
        (("spdy/3", "http/1.1"), True, FORGEJO, "http/1.1"),
    ],
)
async def test_what_is_spoken_is_agreed_upon_by_name(
    tmp_path: Path, offered: tuple[str, ...], http2: bool, name: str, agreed: str | None
) -> None:
    """RFC 7301 §3.2. Forgejo's host has no HTTP/2, and who speaks nothing of ours is told so."""
    pair = make_pair(tmp_path, "one", HOST, FORGEJO)
    certificates = Certificates([pair], http2=http2, http1_names=[FORGEJO])
    async with running_lane(certificates=certificates) as running:
        if agreed == "no_application_protocol":
            with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
                await open_secure(running.port, name, client_context(*offered))
            return
        reader, writer = await open_secure(running.port, name, client_context(*offered))
        assert writer.session.selected_alpn_protocol() == agreed
        if agreed != "h2":
            writer.write(get("/hit", LAST))
            assert answers(await asyncio.wait_for(reader.read(), DEADLINE))[0][0] == 200
        writer.close()


async def test_a_hello_may_come_byte_by_byte_and_is_not_waited_for_without_end(single: Certificates) -> None:
    async with running_lane(certificates=single) as running:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = client_context("h2").wrap_bio(incoming, outgoing, server_hostname=HOST)
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for byte in outgoing.read():
            writer.write(bytes((byte,)))
            await writer.drain()
        assert (await asyncio.wait_for(reader.read(1), DEADLINE)) == b"\x16"
        writer.transport.abort()


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"])
async def test_tls12_has_no_cbc_and_nothing_without_forward_secrecy(single: Certificates, cipher: str) -> None:
    """RFC 9113 §9.2.2, Appendix A"""
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    async with running_lane(certificates=single) as running:
        with pytest.raises(ssl.SSLError):
            await open_secure(running.port, HOST, context)


async def test_visitors_came_by_https(single: Certificates) -> None:
    seen: list[Visitor] = []
    async with running_lane(certificates=single) as running:
        made = running.pages._made

        def _made(request: Any) -> Any:
            seen.append(request.visitor())
            return made(request)

        running.pages._made = _made  # type: ignore[method-assign]
        for claim, path in (((), "/hit"), ((), "/miss"), (("X-Forwarded-Proto: http",), "/hit")):
            await running.talk(get(path, LAST, *claim))
        found = fields(f"Host: {HOST}".encode())
        assert found is not None
        assert running.lane.visitor(found, "127.0.0.1", False) == Visitor("127.0.0.1", False)
    assert [visitor.secure for visitor in seen] == [True, True, False]  # loopback is a trusted proxy, and is believed


async def test_a_plain_request_gets_nothing_and_harms_nobody(single: Certificates) -> None:
    async with running_lane(certificates=single) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(get("/hit"))
        received = await asyncio.wait_for(reader.read(), DEADLINE)
        assert b"HTTP" not in received
        writer.close()
        assert running.pages.seen == []
        await running.until(lambda: len(running.lane) == 0)


async def test_a_handshake_that_takes_too_long_is_cut_and_its_connection_counted_meanwhile(
    single: Certificates,
) -> None:
    async with running_lane(
        certificates=single, headerTimeout=0.3, maxConnectionsPerAddress=1, trustedProxies=[]
    ) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"\x16\x03\x01")
        await running.until(lambda: len(running.lane) == 1)
        assert await running.talk(get("/hit", LAST)) == b""
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5.0) == b""
        writer.close()
        await running.until(lambda: len(running.lane) == 0)
        assert await running.talk(get("/hit", LAST)) != b""


async def test_a_handshake_under_way_is_ended_in_good_order_by_the_lanes_end(
    single: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_lane(certificates=single) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            client_context().wrap_bio(incoming, outgoing, server_hostname=HOST).do_handshake()
        hello = outgoing.read()
        writer.write(hello[:50])
        await running.until(lambda: len(running.lane) == 1)
        drained = asyncio.create_task(running.lane.drain())
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
        writer.write(hello[50:])
        await asyncio.wait_for(drained, DEADLINE)
        writer.close()
    assert "Fatal error" not in caplog.text


@pytest.mark.parametrize("path", ["/hit", "/miss", "/big"])
async def test_an_answer_ends_with_close_notify(single: Certificates, path: str) -> None:
    async with running_lane(certificates=single) as running:
        reader, writer = await open_secure(running.port, HOST)
        writer.write(get(path, LAST))
        assert answers(await asyncio.wait_for(reader.read(), DEADLINE))[0][0] == 200
        assert not getattr(reader, "truncated", False)
        writer.close()


async def test_an_end_without_close_notify_still_gets_what_was_asked_for(single: Certificates) -> None:
    async with running_lane(certificates=single) as running:
        running.pages.release.clear()
        reader, writer = await open_secure(running.port, HOST)
        writer.write(get("/miss"))
        await running.until(lambda: running.pages.asked == ["/miss"])
        writer.transport.write_eof()
        running.pages.release.set()
        assert answers(await asyncio.wait_for(reader.read(), DEADLINE))[0][2] == b"GET /miss"
        writer.close()


async def test_garbage_in_the_middle_of_a_connection_cuts_it(single: Certificates) -> None:
    async with running_lane(certificates=single) as running:
        reader, writer = await open_secure(running.port, HOST)
        writer.write(get("/hit"))
        await reader.readuntil(b"GET /hit")
        writer.transport.write(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
        await running.until(lambda: len(running.lane) == 0)
        assert running.handed == []


async def test_a_stopped_reader_of_a_large_page_holds_little(single: Certificates) -> None:
    async with running_lane(certificates=single) as running:
        _, writer = await open_secure(running.port, HOST)
        pause_reading(writer)  # type: ignore[arg-type]
        writer.write(get("/big") * 200)
        await running.until(lambda: running.lane.busy == 1 and bool(running.pages.seen))
        connection = running.connection()
        await at_rest(connection._transport.get_write_buffer_size)
        assert connection._transport.get_write_buffer_size() < 1024 * 1024
        assert connection._transport._incoming.pending < 64 * 1024  # type: ignore[attr-defined]
        writer.transport.abort()


@pytest.mark.skipif(not CAN_ASK_FOR_KEY_UPDATE, reason="this Python's OpenSSL cannot be called by itself")
async def test_who_asks_for_key_updates_and_takes_no_answers_is_read_no_further(single: Certificates) -> None:
    async with running_lane(certificates=single) as running:
        reader, writer = await open_secure(running.port, HOST)
        pause_reading(writer)  # type: ignore[arg-type]
        connection = running.connection()
        transport = connection._transport
        for end, option in ((transport, socket.SO_SNDBUF), (writer, socket.SO_RCVBUF)):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 8192)
        below = transport._below  # type: ignore[attr-defined]
        while below.is_reading() and below.get_write_buffer_size() < 1024 * 1024:
            for _ in range(1000):
                writer.ask_for_key_update()
            await rounds()
        assert below.get_write_buffer_size() < 256 * 1024
        cast(asyncio.Transport, writer.transport).resume_reading()
        writer.write(get("/hit", LAST))
        assert answers(await asyncio.wait_for(reader.read(), DEADLINE))[0][2] == b"GET /hit"


# Certificates that change.


async def test_a_renewed_certificate_is_used_for_new_connections_and_old_ones_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files = make_pair(tmp_path, "in-use", HOST)
    certificates = Certificates([files], http2=True)
    (tmp_path / "new").mkdir()
    renewed = make_pair(tmp_path / "new", "renewed", HOST, "more.test")
    executor = Counting(1)
    async with running_lane(certificates=certificates) as running:
        watch = CertificateWatch([certificates], executor, 0.05)
        reader, writer = await open_secure(running.port, HOST)
        assert await certificate_for(running, HOST) == "in-use"
        # A key alone does not fit: the old pair stays, and one line says so.
        shutil.copyfile(renewed.key, files.key)
        await running.until(lambda: "the previous one is kept" in caplog.text)
        assert await certificate_for(running, HOST) == "in-use"
        before = executor.submitted
        await running.until(lambda: executor.submitted > before + 3)
        assert caplog.text.count("the previous one is kept") == 1
        assert "PRIVATE" not in caplog.text
        shutil.copyfile(renewed.cert, files.cert)
        await running.until(lambda: certificates.chosen("more.test") is not None)
        assert await certificate_for(running, HOST) == "renewed"
        assert await certificate_for(running, "more.test") == "renewed"
        files.cert.unlink()
        await running.until(lambda: "cannot be read" in caplog.text)
        assert await certificate_for(running, HOST) == "renewed"
        writer.write(get("/hit", LAST))
        assert (await asyncio.wait_for(reader.read(), DEADLINE)).endswith(b"GET /hit")
        await watch.aclose()
    executor.shutdown()


def test_a_pair_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    good, other = make_pair(tmp_path, "good", HOST), make_pair(tmp_path, "other", HOST)
    nameless = make_pair(tmp_path, "nameless")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    cases = [
        (good._replace(key=other.key), "is not that of the certificate"),
        (good._replace(cert=tmp_path / "missing.pem"), "cannot be read"),
        (good._replace(key=tmp_path), "cannot be read"),
        (good._replace(cert=good.key), "expected a certificate"),
        (good._replace(key=good.cert), "expected a private key"),
        (good._replace(cert=empty), "expected a certificate"),
        (nameless, "names no host"),
    ]
    for files, says in cases:
        with pytest.raises(CertificateFault, match=says):
            Certificates([files], http2=True)


# Memory. The clients are in another process, so that only our half is counted.

_COUNT = 400


def _hold(port: int, pipe: Pipe) -> None:
    context = client_context()
    held = []
    for _ in range(_COUNT):
        held.append(context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=HOST))
        held[-1].sendall(get("/big"))
        left = len(BIG)
        while left > 0:
            left -= len(held[-1].recv(65536))
    pipe.send("ready")
    pipe.recv()


async def test_an_idle_connection_takes_at_most_64_kib_also_after_large_pages(single: Certificates) -> None:
    def resident() -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    spawning = multiprocessing.get_context("spawn")
    async with running_lane(certificates=single, maxConnectionsPerAddress=0) as running:
        for _ in range(20):
            assert len(await running.talk(get("/big", LAST))) > len(BIG)
        before = resident()
        here, there = spawning.Pipe()
        process = spawning.Process(target=_hold, args=(running.port, there))
        process.start()
        try:
            assert await asyncio.get_running_loop().run_in_executor(None, here.poll, 120)
            assert len(running.lane) >= _COUNT
            assert (resident() - before) / _COUNT <= 64 * 1024
        finally:
            here.send("done")
            await asyncio.get_running_loop().run_in_executor(None, process.join)
    assert process.exitcode == 0
    assert os.getpid() != process.pid

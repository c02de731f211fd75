# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What mitmproxy's parser refuses, or what is refused before its body comes: answered, said to be the last, logged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy
from tests.integration.through import log_lines
from tests.waiting import wait_until

HOST = f"alice.{PAGES_DOMAIN}".encode()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[tuple[Proxy, Path]]:
    folder = tmp_path_factory.mktemp("refusals")
    with running_proxy(folder, forge.url, accessLog="requests.log") as proxy:
        yield proxy, folder


REFUSED = [
    b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: %b\r\n: y\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: %b\r\nNo colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: %b\r\nNo colon\r\n\r\n",
    b"POST http:// HTTP/1.1\r\nHost: %b\r\n\r\n",
]


@pytest.mark.parametrize("data", REFUSED)
def test_what_the_parser_refuses_is_answered_and_logged(own: tuple[Proxy, Path], data: bytes) -> None:
    proxy, folder = own
    before = len(log_lines(folder))
    received = proxy.raw(data % HOST)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close" in head
    assert (body == b"") is data.startswith(b"HEAD")
    assert b"mitmproxy" not in received
    assert wait_until(lambda: log_lines(folder)[before:])[0]["status"] == 400


def test_a_chunk_of_another_form_is_answered_400(own: tuple[Proxy, Path]) -> None:
    proxy, _ = own
    received = proxy.raw(b"POST / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" % HOST)
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))


def test_who_asks_whether_to_send_what_nobody_reads_is_not_told_to(own: tuple[Proxy, Path]) -> None:
    proxy, _ = own
    head = b"POST /about.html HTTP/1.1\r\nHost: %b\r\nContent-Length: 90000\r\nExpect: 100-continue\r\n\r\n"
    with proxy.connect() as connection:
        connection.sendall(head % HOST)
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nconnection: close\r\n" in received.lower()


def test_an_unknown_method_is_not_implemented_and_a_known_one_not_allowed(own: tuple[Proxy, Path]) -> None:
    """RFC 9110 §9.1"""
    proxy, _ = own
    assert proxy.get("alice", "/", method="FOO").status == 501
    assert proxy.get("alice", "/", method="DELETE").status == 405

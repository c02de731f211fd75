# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lane and the flow face, through two real mitmdumps in front of one forge: same request, same answer.

Compared are status, header fields and bytes; not Date, and not Connection, which belongs to the connection. The corpus
is every combination of what requests differ in; and what no two parsers agree about, which nobody may be misled by.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.web.codings import Decoder
from tests.addon.lane.faces import CONDITIONS, ENCODINGS, METHODS, PLACES, TRICKS, Client, Faces, both_faces, request
from tests.addon.lane.lane_running import unchunked
from tests.addon.preview.running import everything_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy

FORGEJO = "git.test"
BUNDLE = b"".join(b"export const n%x = %d;\n" % (number, number) for number in range(50_000))  # 1.2 MB


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    root = tmp_path_factory.mktemp("forge")
    Site(root / "compress" / "large.git", {".pages": b"enabled: true\n", "public/bundle.js": BUNDLE})
    with everything_forge(root) as forge:
        options = {"forgejoPublicHost": FORGEJO, "cacheTTL": 3600}
        with both_faces(tmp_path_factory, forge, **options) as faces:
            yield faces


def test_the_lane_is_what_answers_where_it_is_on(faces: Faces) -> None:
    """It says the date first, and the flow face last. Otherwise all of this would compare one face."""
    data = request("GET", f"alice.{PAGES_DOMAIN}", "/", ("Connection: close",))
    assert faces.lane.raw(data).split(b"\r\n")[1].startswith(b"Date: ")
    assert not faces.flow.raw(data).split(b"\r\n")[1].startswith(b"Date: ")
    for proxy in (faces.lane, faces.flow):
        assert b"\r\nConnection: close\r\n" in proxy.raw(data)
    assert "the lane stays off" not in faces.lane.log


@pytest.mark.parametrize("method", METHODS)
def test_every_place_is_answered_alike(both: tuple[Client, Client], method: str) -> None:
    for host, target in PLACES:
        data = request(method, host, target)
        for _ in range(2):  # a miss, then a hit
            answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        assert answers[0] == answers[1], (method, host, target)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_condition_and_encoding_is_answered_alike(both: tuple[Client, Client], encoding: tuple[str, ...]) -> None:
    places = [
        PLACES[0],
        *((host, path) for host, path in PLACES if path.endswith((".css", ".js", ".html", "nothing", ".bin"))),
    ]
    for (host, target), condition, method in itertools.product(places, CONDITIONS, ("GET", "HEAD")):
        data = request(method, host, target, (*condition, *encoding))
        answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        if answers[0] != answers[1]:  # one of them may have had to fetch first
            answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        assert answers[0] == answers[1], (method, host, target, condition)


def test_the_entity_tag_that_one_face_gives_is_known_to_the_other(both: tuple[Client, Client]) -> None:
    lane, flow = both
    for path in ("/page/long.html",):
        for encoding in ENCODINGS:
            data = request("GET", f"compress.{PAGES_DOMAIN}", path, encoding)
            tag = dict(lane.ask(data)[1])["etag"]
            again = request("GET", f"compress.{PAGES_DOMAIN}", path, (*encoding, f"If-None-Match: {tag}"))
            for _ in range(2):
                answer = flow.ask(again)
                assert answer == lane.ask(again)
                assert answer[0] == 304


def test_a_large_text_is_encoded_on_its_way(faces: Faces) -> None:
    for proxy in (faces.lane, faces.flow):
        tags = set()
        for version, kept in (("1.1", False), ("1.0", False), ("1.1", True)):
            coding = "gzip" if version == "1.1" else "zstd"
            data = request(
                "GET",
                f"compress.{PAGES_DOMAIN}",
                "/large/bundle.js",
                (f"Accept-Encoding: {coding}", "Connection: close"),
            )
            head, _, body = proxy.raw(data.replace(b"HTTP/1.1", b"HTTP/" + version.encode())).partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
            assert fields.get("transfer-encoding") == ("chunked" if version == "1.1" and not kept else None)
            assert ("content-length" in fields, fields["vary"]) == (kept, "accept-encoding")
            assert fields["content-encoding"] == coding
            if "transfer-encoding" in fields:
                body, _ = unchunked(body)
            assert b"".join(Decoder(coding).feed(body)) == BUNDLE
            tags.add((fields["etag"], body))
        assert len(tags) == 2


def test_pages_and_forgejo_may_share_a_connection(faces: Faces) -> None:
    page = request("GET", f"alice.{PAGES_DOMAIN}", "/about.html")
    forgejo = request("GET", FORGEJO, "/api/v1/version")
    post = b"POST /api/v1/nothing HTTP/1.1\r\nHost: " + FORGEJO.encode() + b"\r\nContent-Length: 2\r\n\r\n{}"
    for order in itertools.permutations((page, forgejo, post)):
        client = Client(faces.lane.connect)
        answers = [client.ask(data) for data in (*order, page)]
        client.close()
        for data, (status, fields, body) in zip((*order, page), answers):
            if data is page:
                assert (status, b"<h1>About</h1>" in body) == (200, True)
            elif data is forgejo:
                assert (status, b"version" in body) == (200, True)
            else:
                assert status >= 400
                assert ("x-cache-status", "HIT") not in fields


def test_no_trick_is_answered_differently_or_brings_anything_to_forgejo(faces: Faces) -> None:
    """Each is followed by a request that must not be taken for the trick's body by one face and not by the other."""
    hidden = b"GET /api/v1/version?smuggled HTTP/1.1\r\nHost: git.test\r\nX-Trick: 1\r\nConnection: close\r\n\r\n"
    for trick in TRICKS:
        seen = []
        for proxy in (faces.lane, faces.flow):
            received = proxy.raw(trick + hidden, timeout=1.5)
            seen.append([line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")])
        assert seen[0] == seen[1], trick


def test_hits_go_on_while_a_pipeliner_and_a_slow_reader_are_busy(faces: Faces) -> None:
    """Not a measurement: nobody may wait for seconds."""
    stop = threading.Event()

    def pipeline() -> None:
        with faces.lane.connect() as connection, contextlib.suppress(OSError):
            connection.settimeout(0.5)
            while not stop.is_set():
                connection.sendall(request("GET", f"alice.{PAGES_DOMAIN}", "/about.html") * 200)
                connection.recv(1 << 20)

    threads = [threading.Thread(target=pipeline) for _ in range(2)]
    for thread in threads:
        thread.start()
    slow = faces.lane.connect()
    slow.sendall(request("GET", f"alice.{PAGES_DOMAIN}", "/blog/big.dat") * 20)
    client = Client(faces.lane.connect)
    took = []
    for _ in range(100):
        began = time.monotonic()
        assert client.ask(request("GET", f"alice.{PAGES_DOMAIN}", "/about.html"))[0] == 200
        took.append(time.monotonic() - began)
    stop.set()
    for thread in threads:
        thread.join()
    slow.close()
    client.close()
    assert sorted(took)[50] < 0.25


@pytest.fixture
def own_proxy(tmp_path: Path, faces: Faces) -> Iterator[Proxy]:
    with running_proxy(tmp_path, faces.forge.url, lane=True, accessLog=str(tmp_path / "access.log")) as proxy:
        yield proxy


def test_sigterm_answers_what_was_asked_and_ends_in_time(own_proxy: Proxy) -> None:
    data = request("GET", f"alice.{PAGES_DOMAIN}", "/blog/big.dat")
    connections = [own_proxy.connect() for _ in range(3)]
    idle = own_proxy.connect()
    for connection in connections:
        connection.sendall(data)
        assert connection.recv(1000)
    began = time.monotonic()
    received = [0, 0, 0]

    def read(number: int) -> None:
        while chunk := connections[number].recv(1 << 16):
            received[number] += len(chunk)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    assert own_proxy.stop() == 0
    for reader in readers:
        reader.join()
    assert idle.recv(10) == b""
    assert min(received) > 11 * 1024 * 1024 - 1000
    assert time.monotonic() - began < 20
    for connection in (*connections, idle):
        connection.close()
    assert "Traceback" not in own_proxy.log

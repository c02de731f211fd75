# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The web face that pass-through tests use is one: git clones and pushes, events, sockets, uploads, a login."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.websocket import websocket_connect

from addon.preview.forge import Forge
from tests.addon.preview.asking import ask, get
from tests.addon.preview.fixtures import noise
from tests.addon.preview.running import TOKENS, recorded_options
from tests.addon.preview.sites import Site
from tests.addon.preview.smart_http import WebFace
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None and "CI" not in os.environ, reason="git over HTTP is git's own program"
)


@pytest.fixture
def face(tmp_path: Path) -> Iterator[WebFace]:
    root = tmp_path / "root"
    Site(root / "alice" / "blog.git", {".pages": b"enabled: true\n", "public/index.html": b"first"}).close()
    Site(root / "alice" / "secret.git", {"a": b"1"}).close()
    forge = Forge(root, **recorded_options())
    found = WebFace(forge)
    forge.start_thread()
    yield found
    forge.stop()


def git(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    return subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("secret", ["secret", TOKENS["alice"]])
def test_git_clones_and_pushes(face: WebFace, tmp_path: Path, secret: str) -> None:
    address = f"http://{face.forge.host}:{face.forge.port}/alice/blog.git"
    cloned = git("clone", "-q", address, "clone", cwd=tmp_path)
    assert cloned.returncode == 0, cloned.stderr
    clone = tmp_path / "clone"
    (clone / "public/index.html").write_bytes(b"second")
    (clone / "public/big").write_bytes(noise(8_000_000, 1))
    git("add", "-A", cwd=clone)
    git("commit", "-q", "-m", "Second", cwd=clone)
    anonymous = git("push", "-q", "origin", "HEAD:main", cwd=clone)
    assert anonymous.returncode != 0
    pushed = git("push", "-q", address.replace("//", f"//alice:{secret}@"), "HEAD:main", cwd=clone)
    assert pushed.returncode == 0, pushed.stderr
    head = git("rev-parse", "HEAD", cwd=clone).stdout.strip()
    assert get(face.forge, "/api/v1/repos/alice/blog/branches/main").json()["commit"]["id"] == head
    assert get(face.forge, "/api/v1/repos/alice/blog/raw/public/index.html?ref=main").body == b"second"
    assert get(face.forge, "/api/v1/repos/alice/blog/raw/public/big?ref=main").body == noise(8_000_000, 1)


def test_a_private_repository_is_cloned_by_its_own_only(face: WebFace, tmp_path: Path) -> None:
    address = f"{face.forge.host}:{face.forge.port}/alice/secret"
    assert git("clone", "-q", f"http://{address}", "one", cwd=tmp_path).returncode != 0
    assert git("clone", "-q", f"http://bob:{TOKENS['bob']}@{address}", "two", cwd=tmp_path).returncode != 0
    assert git("clone", "-q", f"http://alice:secret@{address}", "three", cwd=tmp_path).returncode == 0


def test_the_api_is_at_the_same_address(face: WebFace) -> None:
    assert get(face.forge, "/api/v1/version").status == 200
    assert get(face.forge, "/alice/blog/raw/branch/main/public/index.html").body == b"first"


def test_a_login_makes_a_session(face: WebFace) -> None:
    connection = http.client.HTTPConnection(face.forge.host, face.forge.port)
    own = {"Content-Type": "application/x-www-form-urlencoded", "Origin": face.forge.url}
    connection.request("POST", "/user/login", "user_name=alice&password=wrong", own)
    refused = connection.getresponse()
    assert (refused.status, refused.getheader("Set-Cookie")) == (401, None)
    assert b"Wrong name" in refused.read()
    connection.request("POST", "/user/login", "user_name=alice&password=secret", own)
    response = connection.getresponse()
    assert (response.status, response.read()) == (303, b"")
    cookie = str(response.getheader("Set-Cookie")).partition(";")[0]
    connection.request("GET", "/", headers={"Cookie": cookie})
    assert b"Signed in as alice" in connection.getresponse().read()
    foreign = own | {"Origin": "http://evil.example.org"}
    connection.request("POST", "/user/login", "user_name=alice&password=secret", foreign)
    assert connection.getresponse().status == 403
    connection.close()


def test_an_upload_is_counted_while_it_comes(face: WebFace) -> None:
    data = noise(1_000_000, 2)
    with socket.create_connection((face.forge.host, face.forge.port)) as client:
        head = f"POST /-/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data) * 120}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + data)
        wait_until(lambda: face.uploaded == len(data))
        hashed = hashlib.sha256(data)
        for _ in range(119):
            client.sendall(data)
            hashed.update(data)
        client.settimeout(20)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"bytes": len(data) * 120, "sha256": hashed.hexdigest()}


def test_events_arrive_as_they_happen_and_end_with_the_reader(face: WebFace) -> None:
    with socket.create_connection((face.forge.host, face.forge.port)) as client:
        client.settimeout(5)
        client.sendall(b"GET /user/events HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b": welcome" not in received:
            received += client.recv(65536)
        face.emit("hello")
        while b"data: hello" not in received:
            received += client.recv(65536)
        assert face.readers == 1
    wait_until(lambda: face.readers == 0)


async def test_a_socket_echoes(face: WebFace) -> None:
    socket_ = await websocket_connect(f"ws://{face.forge.host}:{face.forge.port}/-/socket")
    for message in ("text", b"\0bytes", "x" * 100_000):
        await socket_.write_message(message, binary=isinstance(message, bytes))
        assert await socket_.read_message() == message
    assert face.sockets == 1
    socket_.close()
    assert await socket_.read_message() is None


def test_headers_are_shown_as_they_came(face: WebFace) -> None:
    received = get(face.forge, "/-/headers?a=b", {"X-Webauth-User": "root"}).json()
    assert received["target"] == "/-/headers?a=b"
    assert ["X-Webauth-User", "root"] in received["headers"]
    assert face.requests[-1][:2] == ("GET", "/-/headers")


def test_a_download_has_the_length_that_was_asked_for(face: WebFace) -> None:
    received = ask(face.forge, "GET", "/-/download?bytes=3000000")
    assert len(received.body) == 3_000_000

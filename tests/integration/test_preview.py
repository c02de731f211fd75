# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages preview` as somebody who writes a site meets it: addresses, live reload, what it says, how it ends."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from addon.commands import preview as preview_command
from addon.preview.preview_proxy import FORWARDERS, PreviewProxy, SiteAddress, with_script
from tests.integration.browser import browser
from tests.integration.running import ROOT, Running, spawn

DEADLINE = 60.0
COMMAND = [sys.executable, "-m", "addon.commands.cli", "preview"]
NAVIGATION = {"Accept": "text/html,*/*", "Sec-Fetch-Dest": "document", "Accept-Encoding": "gzip, br"}


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Preview(Running):
    """A running preview, and the port of this machine on which it is."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        super().__init__(process, log)
        self.until(lambda: "Ctrl+C" in self.log)
        found = re.search(r"http://[^/\s]+:(\d+)/", self.log)
        assert found is not None, self.log
        self.port = int(found[1])

    def get(self, host: str, path: str, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("GET", path, headers={"Host": host, **(headers or {})})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()


@contextlib.contextmanager
def previewed(folder: Path, *arguments: str, cwd: Path | None = None) -> Iterator[Preview]:
    run = "runpy.run_module('addon.commands.cli', None, '__main__')"
    program = f"import os, runpy; os.chdir({str(cwd or folder)!r}); {run}"
    command = [sys.executable, "-c", program, "preview", *arguments]
    process, log = spawn(folder, command, PYTHONPATH=str(ROOT))
    try:
        yield Preview(process, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "my-site"
    (folder / "public" / "deep").mkdir(parents=True)
    (folder / ".pages").write_text("enabled: true\n")
    (folder / "public" / "index.html").write_text("<body><h1>Here</h1></body>")
    (folder / "public" / "deep" / "index.html").write_text("<p>Deep")
    (folder / "public" / "a.css").write_text("p {}")
    return folder


def test_any_address_of_this_machine_shows_the_site_and_a_name_that_may_be_anothers_does_not(
    site: Path, tmp_path: Path
) -> None:
    with previewed(tmp_path, str(site), "--port", "0", "--allow-host", "mine.example.net") as preview:
        assert preview.log.startswith("Showing ")  # and no warning before it
        raw = (site / "public" / "index.html").read_bytes()
        own = f"my-site.pages.localhost:{preview.port}"
        for host in (
            *(
                own,
                f"localhost:{preview.port}",
                "localhost:9999",
                f"127.0.0.1:{preview.port}",
                "[::1]:80",
                "192.168.7.9",
            ),
            *("my-laptop:8080", "my-laptop.local", "abc-8080.app.github.dev", "mine.example.net"),
        ):
            reply = preview.get(host, "/")
            assert (host, reply.status, reply.body) == (host, 200, raw)
        for host in ("evil.example.com", "localhost.example.com", "evilapp.github.dev.example.com"):
            reply = preview.get(host, "/")
            assert (host, reply.status) == (host, 421)
            assert b"--allow-host" in reply.body
            assert b"Here" not in reply.body
        landing = preview.get(f"pages.localhost:{preview.port}", "/")
        assert f'href="http://{own}/"'.encode() in landing.body
        moved = preview.get(f"127.0.0.1:{preview.port}", "/deep?a=1")
        assert (moved.status, moved.headers["Location"]) == (301, "/deep/?a=1")
        preview.process.send_signal(signal.SIGINT)
        assert preview.process.wait(DEADLINE) == 0
        assert "Traceback" not in preview.log


def test_only_a_page_that_a_browser_goes_to_has_the_script_of_live_reload(site: Path, tmp_path: Path) -> None:
    with previewed(tmp_path, str(site), "--port", "0") as preview:
        host = f"localhost:{preview.port}"
        shown = preview.get(host, "/", NAVIGATION)
        assert b'<script src="/.pages/preview/reload.js" defer></script></body>' in shown.body
        assert int(shown.headers["Content-Length"]) == len(shown.body)
        assert shown.headers["Cache-Control"] == "no-store"
        assert "ETag" not in shown.headers
        missing = preview.get(host, "/nothing", NAVIGATION | {"Referer": f"http://{host}/deep/"})
        assert missing.status == 404
        assert b"reload.js" in missing.body
        assert "script-src 'self'" in missing.headers["Content-Security-Policy"]
        preview.until(lambda: "404 GET /nothing   asked for by /deep/" in preview.log)
        sheet = preview.get(host, "/a.css", {"Sec-Fetch-Dest": "style"})
        assert sheet.body == b"p {}"
        assert sheet.headers["ETag"]
        again = preview.get(host, "/a.css", {"If-None-Match": sheet.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")


async def test_a_browser_shows_a_change_by_itself(site: Path, tmp_path: Path) -> None:
    if shutil.which("chromium") is None and "CI" not in os.environ:
        pytest.skip("chromium is not installed")
    with previewed(tmp_path, str(site), "--port", "0") as preview:
        async with browser() as tab:
            await tab.open(f"http://localhost:{preview.port}/")
            await tab.shows("Here")
            (site / "public" / "index.html").write_text("<body><h1>Changed</h1></body>")
            await tab.shows("Changed", DEADLINE)
            await tab.open(f"http://localhost:{preview.port}/new.html")
            await tab.shows("404")
            (site / "public" / "new.html").write_text("<p>It is there now")
            await tab.shows("It is there now", DEADLINE)


def test_a_repository_below_a_path_is_led_to_and_links_that_leave_it_are_told(site: Path, tmp_path: Path) -> None:
    (site / "vite.config.js").write_text("")
    with previewed(tmp_path, str(site), "--port", "0", "--name", "alice/blog") as preview:
        host = f"127.0.0.1:{preview.port}"
        led = preview.get(host, "/")
        assert (led.status, led.headers["Location"]) == (302, "/blog/")
        assert b"Here" in preview.get(host, "/blog/").body
        for _ in range(2):
            assert preview.get(host, "/assets/app.js", {"Referer": f"http://{host}/blog/"}).status == 404
        preview.until(lambda: "with the base /blog/: vite build --base=/blog/" in preview.log)
        assert preview.log.count("links of this site leave its path") == 1


def test_a_port_that_was_not_asked_for_is_the_next_free_one_and_one_that_was_is_an_error(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(preview_command, "PORTS", range(port, port + 1))
        with preview_command._listener("127.0.0.1", None) as listener:
            assert listener.getsockname()[1] != port
        done = subprocess.run([*COMMAND, str(site), "--port", str(port)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--port 0" in done.stderr
    assert done.stdout == ""


def test_it_shows_the_site_that_the_current_folder_is_in(site: Path, tmp_path: Path) -> None:
    with previewed(tmp_path, "--port", "0", cwd=site / "public" / "deep") as preview:
        assert f"Showing {site}" in preview.log
        assert b"Here" in preview.get("localhost", "/").body
        (site / ".pages").write_text("access: members\n")  # as a member sees it: nobody can log in here
        preview.until(lambda: "private" in preview.get("localhost", "/").headers["Cache-Control"])
        reply = preview.get("localhost", "/")
        assert (reply.status, b"Here" in reply.body) == (200, True)


def test_the_example_can_be_written_where_it_can_be_changed(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    with previewed(tmp_path, "--port", "0", "--example", str(folder)) as preview:
        assert os.readlink(folder / "public" / "files" / "newest.txt") == "notes 10.txt"
        (folder / "public" / "index.html").write_text("mine")
        assert preview.get("localhost", "/").body == b"mine"
        assert "known faults" not in preview.log
    done = subprocess.run([*COMMAND, "--example", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "name a new folder" in done.stderr


def test_another_machine_is_told_an_address(site: Path, tmp_path: Path) -> None:
    with previewed(tmp_path, str(site), "--port", "0", "--host", "0.0.0.0") as preview:
        assert len(re.findall(rf"^  http://[0-9.]+:{preview.port}/$", preview.log, re.M)) == 1


@pytest.mark.parametrize("domain", FORWARDERS)
def test_names_of_services_that_forward_ports_are_let_in_and_their_neighbours_are_not(domain: str) -> None:
    front = PreviewProxy(1, "pages.localhost", lambda: [SiteAddress("me.pages.localhost", "/")])
    assert front.allows(f"abc-8080.{domain}")
    assert not front.allows(f"abc{domain}.example.com")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b"<body>x</body></html>", b"<body>x[]</body></html>"),
        (b"<BODY>x</BODY >", b"<BODY>x[]</BODY >"),
        (b"<p>no body", b"<p>no body[]"),
        (b"<pre></body></pre></body>", b"<pre></body></pre>[]</body>"),
        (b"", b"[]"),
    ],
)
def test_the_script_stands_at_the_end_of_the_body(page: bytes, expected: bytes) -> None:
    assert with_script(page).replace(b'<script src="/.pages/preview/reload.js" defer></script>', b"[]") == expected

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`config/nginx/` as it stands, in a real nginx in front of a real mitmdump.

Only what belongs to a machine differs: ports, the places of files, and the name of the pages domain.
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from addon.commands.init import with_previews
from tests.addon.net.tls_wire import client_context
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.browser import browser
from tests.integration.gallery import gallery, shows_all
from tests.integration.running import PAGES_DOMAIN, ROOT, running_proxy, wait_for_port
from tests.ports import free_port
from tests.resp.certs import make_certificates
from tests.waiting import wait_until

FOLDER = ROOT / "config" / "nginx"
PAGE = b"<!doctype html><title>Alice</title><h1>Alice</h1>\n"
FORGEJO = "git.test"
PREVIEW_DOMAIN = "preview.test"
DRAFT = b"<!doctype html><title>Draft</title><h1>Draft</h1>\n"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None and "CI" not in os.environ, reason="nginx is not installed")


class Front(NamedTuple):
    """A running nginx, and the access log of the pages server behind it."""

    port: int
    plain_port: int
    log: Path

    def ask(
        self,
        host: str,
        target: str = "/",
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Over HTTPS, the target as it is given."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the certificate is a made-up one
        with (
            socket.create_connection(("127.0.0.1", self.port), 20) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            client = http.client.HTTPConnection(host, timeout=20)
            client.sock = secured
            return exchange(client, host, target, method, body, headers or {})

    def ask_plainly(self, host: str, target: str = "/", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.plain_port, timeout=20)
        try:
            return exchange(client, host, target, method, None, {})
        finally:
            client.close()

    def seen(self, path: str) -> dict[str, str]:
        """What the pages server noted of a request."""

        def lines() -> list[dict[str, str]]:
            return [line for line in map(json.loads, self.log.read_text().splitlines()) if line["path"] == path]

        wait_until(lambda: bool(lines()), f"the log's line for {path}")
        return lines()[-1]


def exchange(
    client: http.client.HTTPConnection,
    host: str,
    target: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, dict[str, str], bytes]:
    client.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    client.putheader("Host", host)
    for name, value in headers.items():
        client.putheader(name, value)
    if body is not None:
        client.putheader("Content-Length", str(len(body)))
    client.endheaders(body)
    response = client.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the forge."""
    root = tmp_path_factory.mktemp("forge")
    pages = b"custom_domain: www.example.org\npreviews: {branches: [draft]}\n"
    site = Site(root / "alice" / "blog.git", {".pages": pages, "public/index.html": PAGE, "public/a%2Fb": b"odd"})
    site.commit({"public/index.html": DRAFT}, branch="draft")
    Site(root / "alice" / "gallery.git", gallery())
    return root


@pytest.fixture(scope="module")
def front(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    assert NGINX is not None, "nginx is not installed"
    folder = tmp_path_factory.mktemp("nginx")
    places = folder / "proxy"
    port, plain_port = free_port(), free_port()
    certificates = make_certificates(folder)
    options = {"accessLog": "requests.log", "forgejoPublicHost": FORGEJO}
    options |= {"previewDomain": PREVIEW_DOMAIN, "previewTTL": "3650d"}
    with start_forge(root) as forge, running_proxy(places, forge.url, **options) as proxy:
        text = with_previews((FOLDER / "pages.conf").read_text(), PREVIEW_DOMAIN)
        for old, new in (
            ("127.0.0.1:8080", f"127.0.0.1:{proxy.port}"),
            ("/etc/nginx/pages-proxy.inc", str(FOLDER / "pages-proxy.inc")),
            ("/etc/ssl/pages.pem", certificates.server),
            ("/etc/ssl/pages.key", certificates.server_key),
            ("/etc/ssl/preview.pem", certificates.server),
            ("/etc/ssl/preview.key", certificates.server_key),
            ("pages.example.org", PAGES_DOMAIN),
            ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
            ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ):
            assert old in text
            text = text.replace(old, str(new))
        text = "\n".join(line for line in text.splitlines() if "listen [::]" not in line)
        (folder / "pages.conf").write_text(text)
        user = "user root; " if os.geteuid() == 0 else ""
        paths = "".join(
            f"{kind}_temp_path {folder}/t;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = folder / "nginx.conf"
        config.write_text(
            f"{user}daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{ }}\nhttp {{ access_log off; {paths}\ninclude {folder}/pages.conf; }}\n"
        )
        tested = subprocess.run([NGINX, "-t", "-c", str(config), "-p", str(folder)], capture_output=True, check=False)
        assert tested.returncode == 0, tested.stderr.decode()
        log = folder / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [NGINX, "-c", str(config), "-p", str(folder)], stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_for_port(process, port, log)
            yield Front(port, plain_port, places / "requests.log")
        finally:
            process.terminate()
            process.wait(20)


def test_it_speaks_http_2(front: Front) -> None:
    with (
        socket.create_connection(("127.0.0.1", front.port), 20) as connection,
        client_context("h2", "http/1.1").wrap_socket(connection, server_hostname=PAGES_DOMAIN) as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"


def test_a_site_is_served_and_a_custom_domain_too(front: Front) -> None:
    assert front.ask(f"alice.{PAGES_DOMAIN}", "/blog/")[::2] == (200, PAGE)
    wait_until(lambda: front.ask("www.example.org")[0] == 200, "the domain to be registered")
    assert front.ask("www.example.org")[2] == PAGE


def test_a_preview_is_served_under_its_own_host(front: Front) -> None:
    host = f"draft--blog--alice.{PREVIEW_DOMAIN}"
    status, headers, body = front.ask(host)
    assert (status, body, headers["x-pages-preview"]) == (200, DRAFT, "draft--blog--alice")
    status, headers, _ = front.ask_plainly(host, "/a?b")
    assert (status, headers["location"]) == (301, f"https://{host}/a?b")


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/blog//x", 301, "/blog/x"),
        ("/blog/../blog/", 301, "/blog/"),
        ("/blog/a%2Fb", 400, None),
        ("/blog/a%252Fb", 200, None),
        ("/blog?a=%2F&b", 301, "/blog/?a=%2F&b"),
    ],
)
def test_a_path_arrives_as_it_was_sent(target: str, status: int, location: str | None, front: Front) -> None:
    got, headers, _ = front.ask(f"alice.{PAGES_DOMAIN}", target)
    assert (got, headers.get("location")) == (status, location)


def test_what_visitors_claim_of_themselves_is_not_believed(front: Front) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Real-IP": "203.0.113.9"}
    headers["Forwarded"] = "for=203.0.113.9;proto=http"
    assert front.ask(f"alice.{PAGES_DOMAIN}", "/blog/claims", headers=headers)[0] == 404
    assert front.seen("/blog/claims")["client"] == "127.0.0.1"


def test_plain_http_is_sent_to_https_for_hosts_that_are_served_and_for_no_others(front: Front) -> None:
    status, headers, _ = front.ask_plainly(f"alice.{PAGES_DOMAIN}", "/blog/a%20b?c=d")
    assert (status, headers["location"]) == (301, f"https://alice.{PAGES_DOMAIN}/blog/a%20b?c=d")
    assert front.ask_plainly("stranger.example")[0] == 404


def test_forgejo_behind_it_takes_large_bodies_as_they_come(front: Front) -> None:
    status, _, body = front.ask(FORGEJO, "/api/v1/version")
    assert (status, b"version" in body) == (200, True)
    large = b"x" * (4 * 1024 * 1024)  # nginx alone would refuse more than 1 MiB
    assert front.ask(FORGEJO, "/alice/blog.git/git-receive-pack", "POST", large)[0] not in (413, 500, 502)


def test_it_fits_beside_the_site_that_debian_ships(tmp_path: Path) -> None:
    assert NGINX is not None, "nginx is not installed"
    certificates = make_certificates(tmp_path)
    plain, secure = free_port(), free_port()
    text = (FOLDER / "pages.conf").read_text() + "server { listen 80 default_server; root /var/www/html; }\n"
    for old, new in (
        ("/etc/nginx/pages-proxy.inc", str(FOLDER / "pages-proxy.inc")),
        ("/etc/ssl/pages.pem", str(certificates.server)),
        ("/etc/ssl/pages.key", str(certificates.server_key)),
        ("listen 80", f"listen {plain}"),
        ("listen 443", f"listen {secure}"),
    ):
        assert old in text
        text = text.replace(old, new)
    text = "\n".join(line for line in text.splitlines() if "listen [::]" not in line)
    paths = "".join(f"{kind}_temp_path {tmp_path}/t;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = tmp_path / "nginx.conf"
    begin = f"pid {tmp_path}/pid; error_log {tmp_path}/error.log;\nevents {{ }}\n"
    config.write_text(f"{begin}http {{ access_log off; {paths}\n{text} }}\n")
    tested = subprocess.run([NGINX, "-t", "-c", str(config), "-p", str(tmp_path)], capture_output=True, check=False)
    assert tested.returncode == 0, tested.stderr.decode()


@pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed",
)
async def test_chromium_shows_a_gallery_through_it_on_the_first_visit(front: Front) -> None:
    async with browser("--ignore-certificate-errors") as tab:
        await shows_all(tab, f"https://alice.{PAGES_DOMAIN}:{front.port}/gallery/")

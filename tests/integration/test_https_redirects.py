# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A listener for HTTPS and one for HTTP that leads there: nothing that is ready for one is given to the other."""

import http.client
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.addon.net.tls_wire import client_context, make_pair
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, running_proxy
from tests.ports import free_port
from tests.resp.servers import start_valkey

DOMAIN = "www.alice.example"
FILES = {
    ".pages": f"custom_domain: {DOMAIN}\nenable_branches: [dev]\n".encode(),
    "public/index.html": b"<h1>Main</h1>",
}


class Ports(NamedTuple):
    plain: int
    secure: int


class Page(NamedTuple):
    status: int
    location: str | None
    body: bytes


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "flow"])
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp("https")
    site = Site(folder / "forge" / "alice" / "blog.git", FILES)
    site.commit({"public/index.html": b"<h1>Dev</h1>"}, branch="dev")
    with start_forge(folder / "forge") as forge:
        pair = make_pair(folder, "all", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}", DOMAIN, f"*.{DOMAIN}", "alice.example")
        plain, secure = free_port(), free_port()
        listen = [
            f"127.0.0.1:{plain}",
            {"address": f"127.0.0.1:{secure}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}},
        ]
        with start_valkey() as redis:
            redis.ask("SET", f"custom_domain:{DOMAIN}", "alice:blog")
            redis.ask("SET", f"custom_domain:dev.{DOMAIN}", "alice:blog:dev")
            options = {"redisHost": redis.host, "redisPort": redis.port, "redirectHTTPS": True, "lane": request.param}
            with running_proxy(folder, forge.url, port=plain, listen=listen, **options):
                yield Ports(plain, secure)
    site.close()


def over_http(ports: Ports, host: str, target: str = "/", method: str = "GET", **fields: str) -> Page:
    return _page(http.client.HTTPConnection("127.0.0.1", ports.plain, timeout=20), host, target, method, fields)


def over_https(ports: Ports, host: str, target: str = "/", method: str = "GET", **fields: str) -> Page:
    connection = http.client.HTTPSConnection("127.0.0.1", ports.secure, timeout=20, context=client_context())
    connection.connect()
    return _page(connection, host, target, method, fields)


def _page(connection: http.client.HTTPConnection, host: str, target: str, method: str, fields: dict[str, str]) -> Page:
    try:
        connection.putrequest(method, target, skip_host=True)
        connection.putheader("Host", host)
        for name, value in fields.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return Page(response.status, response.headers["Location"], response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("host", "target", "body"),
    [
        (f"alice.{PAGES_DOMAIN}", "/blog/", b"<h1>Main</h1>"),
        (DOMAIN, "/", b"<h1>Main</h1>"),
        (f"dev.{DOMAIN}", "/", b"<h1>Dev</h1>"),
    ],
)
def test_each_listener_gives_its_own_answer_however_often_it_is_asked(
    ports: Ports, host: str, target: str, body: bytes
) -> None:
    for _ in range(4):
        assert over_https(ports, host, target) == (200, None, body)
        assert over_http(ports, host, target) == (301, f"https://{host}{target}", b"")
        # A trusted proxy before either port is believed.
        assert over_http(ports, host, target, X_Forwarded_Proto="https") == (200, None, body)
        assert over_https(ports, host, target, X_Forwarded_Proto="http").status == 301
        assert over_http(ports, host, target, X_Forwarded_Proto="https, http").status == 200


def test_the_address_stays_as_it_is_and_other_methods_stay_themselves(ports: Ports) -> None:
    for host in (DOMAIN, f"alice.{PAGES_DOMAIN}"):
        told = over_http(ports, f"{host}:8080", "/a%20b%3Fc/%7e?x=%2F&y=[]")
        assert told == (301, f"https://{host}/a%20b%3Fc/%7e?x=%2F&y=[]", b"")
        assert over_http(ports, host, "/x", "POST", Content_Length="0") == (308, f"https://{host}/x", b"")
    assert over_http(ports, "alice.example", "/x?y") == (301, f"https://{DOMAIN}/x?y", b"")
    assert over_https(ports, "alice.example", "/x?y") == (301, f"https://{DOMAIN}/x?y", b"")


def test_what_never_leads_to_https(ports: Ports) -> None:
    for host, target in (
        ("stranger.example", "/"),
        (DOMAIN, "/.pages/x"),
        (DOMAIN, "/.well-known/acme-challenge/token"),
        (f"alice.{PAGES_DOMAIN}", "/.well-known/acme-challenge/token"),
    ):
        assert over_http(ports, host, target)[:2] == (404, None)

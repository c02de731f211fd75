# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`adminListen` of a real mitmdump: health, status, purging, certificates, and who may not."""

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from addon.commands.cli import main
from addon.commands.purge import purge_command
from addon.preview.forge import Forge
from addon.settings.schema import load
from tests.addon.domains.name_server import name_server
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy
from tests.ports import free_port, is_open
from tests.resp.servers import Server, start_valkey
from tests.waiting import wait_until

TOKEN = "s3cret-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HOST = "www.alice.example"
AWAY = "www.victim-bank.example"
"""A host that the site names, too, and that DNS leads elsewhere."""


class Desk(NamedTuple):
    """A proxy with its admin listener, and what stands behind both."""

    proxy: Proxy
    port: int
    forge: Forge
    site: Site
    redis: Server
    config: Path
    forge_root: Path

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status, and the JSON of the answer (its text, where it is none)."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            client.request(method, path, body, {"Host": "status.example", **(headers or {})})
            response = client.getresponse()
            data = response.read()
            json_type = response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(data) if json_type and data else data.decode()
        finally:
            client.close()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = tmp_path_factory.mktemp("admin")
    files = {".pages": f"custom_domain: [{HOST}, {AWAY}]\n".encode(), "public/index.html": b"one"}
    site = Site(root / "forge" / "alice" / "blog.git", files)
    Site(root / "forge" / "bob" / "code.git", {"main.c": b"int x;"})
    with start_forge(root / "forge") as forge:
        port = free_port()
        with start_valkey() as redis, name_server() as names:
            for host in (PAGES_DOMAIN, HOST, HOST.removeprefix("www.")):
                names.zone[host, "A"] = ["192.0.2.1"]
            names.zone[AWAY, "A"] = ["198.51.100.1"]
            options = {
                "dnsResolvers": [names.address],
                "redisHost": redis.host,
                "redisPort": redis.port,
                "cacheTTL": 3600,
            }
            options |= {
                "adminListen": f"127.0.0.1:{port}",
                "adminToken": TOKEN,
                "adminHosts": ["status.example"],
                "forgejoPublicHost": "git.example",
            }
            with running_proxy(root / "proxy", forge.url, **options) as proxy:
                wait_until(lambda: is_open(port), "the admin listener")
                yield Desk(proxy, port, forge, site, redis, root / "proxy" / "pages.yaml", root / "forge")
        site.close()


def test_health_says_yes_to_anybody_and_how_the_rest_is(desk: Desk) -> None:
    status, told = desk.ask("/health")
    assert status == 200
    assert told == {
        "status": "ok",
        "redis": "answers",
        "forgejo": "answers",
        "processes": 1,
        "processes_answering": 1,
    }
    assert desk.ask("/health", "HEAD")[0] == 200


def test_the_status_has_numbers_of_every_part_for_who_has_the_token(desk: Desk) -> None:
    desk.proxy.get("alice", "/blog/")
    before = desk.ask("/status", headers=BEARER)[1]
    for _ in range(5):
        desk.proxy.get("alice", "/blog/")
    status, told = desk.ask("/status.json", headers=BEARER)
    assert status == 200
    assert told["Requests"]["answered_by_lane"] == before["Requests"]["answered_by_lane"] + 5
    assert told["Memory"]["sites"] >= 1
    assert 0 < told["Memory"]["used_bytes"] < told["Memory"]["limit_bytes"]
    assert told["Forgejo"]["calls"] >= 3
    assert told["Redis or Valkey"]["client_tracking"] is True
    assert 0 < told["Redis or Valkey"]["latency_ms"] < 1000
    assert TOKEN not in json.dumps(told)


def test_who_serves_is_ready_and_says_so_to_anybody(desk: Desk) -> None:
    desk.proxy.get("alice", "/blog/")
    status, told = desk.ask("/ready")
    assert (status, told["status"]) == (200, "ready")
    assert told["sites"] >= 1
    assert desk.ask("/ready", "HEAD")[0] == 200
    assert desk.ask("/ready", "POST")[0] == 405


def test_prometheus_reads_the_same_numbers_and_needs_the_token(desk: Desk) -> None:
    assert desk.ask("/metrics")[0] == 401
    desk.proxy.get("alice", "/blog/")
    status, text = desk.ask("/metrics", headers=BEARER)
    assert status == 200
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    assert found['pages_requests_total{cache="HIT",face="lane",process="0",protocol="HTTP/1",status="2xx"}'] >= 1
    assert found['pages_forgejo_call_duration_seconds_count{kind="tree",process="0"}'] >= 1
    assert found['pages_redis_commands_total{command="PIPELINE",process="0"}'] >= 1
    assert found['pages_redis_trip_duration_seconds_count{process="0"}'] >= 1
    assert found['pages_memory_kind_entries{kind="site",process="0"}'] >= 1
    assert "alice" not in text
    assert found['pages_redis_up{process="0"}'] == 1
    assert found['pages_process_resident_memory_bytes{process="0"}'] > 10_000_000
    assert TOKEN not in text


def test_the_status_says_which_domains_were_refused_and_why(desk: Desk) -> None:
    desk.site.commit({".pages": f"custom_domain: [{HOST}, {AWAY}, www.{PAGES_DOMAIN}]\n".encode()})
    assert desk.ask("/purge", "POST", b"what=alice/blog", BEARER)[0] == 200

    def refused() -> dict[str, str]:
        told = desk.ask("/status", headers=BEARER)[1]
        found: dict[str, str] = told.get("Refused domains", {})
        return found

    wait_until(lambda: refused(), "the refusal")
    ((name, reason),) = refused().items()
    assert name == f"www.{PAGES_DOMAIN}, for alice/blog"
    assert "belong to the pages server" in reason


def test_the_status_is_a_page_for_a_browser(desk: Desk) -> None:
    credentials = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    headers = {"Accept": "text/html,*/*", "Authorization": f"Basic {credentials}"}
    status, page = desk.ask("/status", headers=headers)
    assert status == 200
    assert page.startswith("<!doctype html>")
    assert "Redis or Valkey" in page
    assert "<script" not in page
    assert "processes answering" in page
    assert "Forgejo" in page
    assert 'action="/purge"' in page
    for path, refresh in (("/status", "10"), ("/status?still", None)):
        client = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=20)
        client.request("GET", path, headers=headers)
        assert client.getresponse().headers["Refresh"] == refresh
        client.close()


def test_the_button_of_the_page_looks_again_and_leads_back(desk: Desk) -> None:
    headers = BEARER | {"Accept": "text/html,*/*", "Content-Type": "application/x-www-form-urlencoded"}
    client = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=20)
    client.request("POST", "/purge", b"what=alice/blog", headers | {"Sec-Fetch-Site": "same-origin"})
    response = client.getresponse()
    assert (response.status, response.headers["Location"]) == (303, "/status")
    client.close()
    assert desk.ask("/purge", "POST", b"what=alice/blog", headers | {"Sec-Fetch-Site": "cross-site"})[0] == 403


def test_the_status_says_how_each_part_is_and_since_when(desk: Desk) -> None:
    told = desk.ask("/status.json", headers=BEARER)[1]
    assert {"Processes", "Forgejo", "Redis", "File descriptors"} <= set(told["Parts"])
    assert told["Parts"]["Redis"]["light"] == "green"
    assert 0 < told["Parts"]["Redis"]["since"] <= time.time()


def test_the_sites_are_listed_for_programs_and_people(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.proxy.get("alice", "/blog/")
    status, told = desk.ask("/sites?sort=age", headers=BEARER)
    assert status == 200
    (row,) = [each for each in told["sites"] if each["site"] == "alice/blog"]
    assert (row["commit"], row["state"]) == (desk.site.head(), "served")
    assert row["hits"] >= 1
    assert desk.ask("/sites?sort=nonsense", headers=BEARER)[0] == 400
    assert main(["sites", "--config", str(desk.config)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["SITE", "COMMIT", "AGE"]
    assert any(line.startswith(f"alice/blog  {(desk.site.head() or '')[:12]}") for line in lines)


@pytest.mark.parametrize("path", ["/", "/status", "/status.json", "/metrics", "/sites", "/explain", "/purge", "/warm"])
@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer", "Basic !!!", "Basic " + base64.b64encode(b"x:wrong").decode()]
)
def test_without_the_token_nothing_is_told(path: str, authorization: str | None, desk: Desk) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    status, told = desk.ask(path, "POST" if path in ("/purge", "/warm") else "GET", headers=headers)
    assert status == 401
    assert list(told) == ["error"]


def explained(desk: Desk, url: str, more: str = "") -> dict[str, Any]:
    status, told = desk.ask(f"/explain?url={quote(url, safe='')}{more}", headers=BEARER)
    assert status == 200, told
    found: dict[str, Any] = told
    return found


def test_an_answer_is_explained_as_it_is_given(desk: Desk) -> None:
    assert desk.proxy.get("alice", "/blog/").status == 200  # which registers the domains, and `Link` names the first
    canonical = f'<https://{HOST}/>; rel="canonical"'
    wait_until(lambda: desk.proxy.get("alice", "/blog/").headers.get("link") == canonical, "the registration")
    for path in ("/blog/", "/blog/missing"):
        visited = desk.proxy.get("alice", path)
        told = explained(desk, f"http://alice.{PAGES_DOMAIN}{path}")
        assert told["status"] == visited.status
        got = {name.lower(): value for name, value in visited.headers.items()}
        for header in told["headers"]:
            if header["name"] != "X-Cache-Status":
                assert got[header["name"].lower()] == header["value"]
        assert told["asked"] == []
    calls = len(desk.forge.calls)
    cold = explained(desk, f"http://alice.{PAGES_DOMAIN}/blog/", "&cold=1")
    assert cold["status"] == 200
    assert {each["whom"] for each in cold["asked"]} == {"Forgejo"}
    assert len(desk.forge.calls) - calls == len(cold["asked"])
    assert TOKEN not in json.dumps([told, cold])


def test_of_a_domain_it_is_said_what_dns_says_now(desk: Desk) -> None:
    assert desk.proxy.get("alice", "/blog/").status == 200
    wait_until(lambda: desk.ask(f"/ask?domain={HOST}")[0] == 200, "the registration")
    here, away = explained(desk, f"https://{HOST}/"), explained(desk, f"https://{AWAY}/")
    assert (here["dns"]["leads_here"], here["dns"]["certificate_may_be_asked_for"]) == (True, True)
    assert (away["dns"]["leads_here"], away["dns"]["certificate_may_be_asked_for"]) == (False, False)
    assert away["dns"]["addresses"] == ["198.51.100.1"]
    assert "registered for alice/blog" in away["steps"][1]["says"]
    assert desk.ask("/explain?url=ftp://x/", headers=BEARER)[0] == 400
    assert desk.ask("/explain", headers=BEARER)[0] == 400
    assert desk.ask("/explain?url=x", "POST", headers=BEARER)[0] == 405


def test_sites_are_made_ready_before_anybody_asks(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {".pages": b"enabled: true\n"} | {f"public/{number}.txt": b"%d" % number for number in range(30)}
    new = Site(desk.forge_root / "carol" / "docs.git", files)
    (tmp_path / "sites.txt").write_text("# all\ncarol/docs\n\nbob/code # no site\n")
    assert main(["warm", str(tmp_path / "sites.txt"), "--config", str(desk.config)]) == 1
    told = capsys.readouterr()
    assert told.out == "carol/docs: 30 files, 50 B\n"
    assert told.err.startswith("bob/code: no .pages file")
    calls = len(desk.forge.calls)
    assert [desk.proxy.get("carol", f"/docs/{number}.txt").body for number in (0, 29)] == [b"0", b"29"]
    assert len(desk.forge.calls) == calls
    assert main(["warm", "..//x", "--config", str(desk.config)]) == 1
    assert "neither OWNER/REPO nor a host" in capsys.readouterr().err
    assert desk.ask("/warm", "POST", b"what=carol/docs", BEARER | {"Sec-Fetch-Site": "cross-site"})[0] == 403
    new.close()


def test_the_command_explains_for_people_and_programs(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(desk.config)
    assert main(["explain", f"https://{AWAY}/", "--config", config]) == 0
    text = capsys.readouterr().out
    assert f"{AWAY} is registered for alice/blog" in text
    assert "it does not lead here; a certificate may not be asked for" in text
    assert "Answer: 200" in text
    assert main(["explain", "--json", f"alice.{PAGES_DOMAIN}/blog/", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == 200
    assert main(["explain", "ftp://x/", "--config", config]) == 1
    assert "expected an address" in capsys.readouterr().err


def test_a_purge_makes_a_push_visible(desk: Desk) -> None:
    for number, what in enumerate((b"what=alice/blog", b"what=" + HOST.encode(), b"all=true")):
        assert desk.proxy.get("alice", "/blog/").status == 200
        desk.site.commit({"public/index.html": b"change %d" % number})
        status, told = desk.ask("/purge", "POST", what, BEARER)
        assert (status, told["every_proxy"]) == (200, True)
        wait_until(lambda: desk.proxy.get("alice", "/blog/").body == b"change %d" % number, what.decode())  # noqa: B023


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"what=alice/blog&all=true", {}, 400),
        (b"what=../x/y", {}, 404),
        (b"what=stranger.example", {}, 404),
        (b"what=alice/blog", {"Origin": "https://evil.example"}, 403),
        (b"what=alice/blog", {"Origin": "null"}, 403),
        (b"what=alice/blog", {"Origin": "http://["}, 403),
        (b"what=alice/blog", {"Sec-Fetch-Site": "cross-site"}, 403),
        (b"what=alice/blog", {"Sec-Fetch-Site": "same-site"}, 403),
        (b"what=" + b"x" * 5000, {}, 413),
    ],
)
def test_what_is_no_purge_is_refused(body: bytes, headers: dict[str, str], status: int, desk: Desk) -> None:
    assert desk.ask("/purge", "POST", body, BEARER | headers)[0] == status


def test_a_purge_by_a_link_is_none(desk: Desk) -> None:
    assert desk.ask("/purge?all=true", headers=BEARER)[0] == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (PAGES_DOMAIN, 200),
        (f"alice.{PAGES_DOMAIN}", 200),
        (f"ALICE.{PAGES_DOMAIN}.", 200),
        (f"bob.{PAGES_DOMAIN}", 404),
        (f"nobody.{PAGES_DOMAIN}", 404),
        (f"a.b.{PAGES_DOMAIN}", 404),
        ("git.example", 200),
        (HOST, 200),
        ("alice.example", 200),
        ("stranger.example", 404),
        (AWAY, 404),
        (AWAY.removeprefix("www."), 404),
        ("127.0.0.1", 404),
        ("", 400),
        ("a..b", 404),
    ],
)
def test_a_certificate_is_for_hosts_that_are_ours(host: str, status: int, desk: Desk) -> None:
    assert desk.proxy.get("alice", "/blog/").status == 200  # which registers the domain
    wait_until(lambda: desk.ask(f"/ask?domain={HOST}")[0] == 200, "the registration")
    assert desk.redis.ask("GET", f"custom_domain:{AWAY}") == b"alice:blog"
    assert desk.ask(f"/ask?domain={host}")[0] == status


def test_an_owner_nobody_ever_visited_may_have_one(tmp_path: Path) -> None:
    # A certificate comes before the first visit.
    Site(tmp_path / "forge" / "carol" / "page.git", {".pages": b"enabled: true\n", "public/index.html": b"hi"})
    with start_forge(tmp_path / "forge") as forge:
        port = free_port()
        with running_proxy(tmp_path / "proxy", forge.url, adminListen=f"127.0.0.1:{port}"):
            wait_until(lambda: is_open(port), "the admin listener")
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            for _ in range(2):
                client.request("GET", f"/ask?domain=carol.{PAGES_DOMAIN}")
                response = client.getresponse()
                assert (response.status, response.read() != b"") == (200, True)
                client.close()
            calls = len(forge.calls)
            client.request("GET", f"/ask?domain=carol.{PAGES_DOMAIN}")
            assert client.getresponse().status == 200
            assert len(forge.calls) == calls
            client.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8081", 200),
        ("127.0.0.1:8081", 200),
        ("[::1]:8081", 200),
        ("192.0.2.7", 200),
        ("Status.Example.:8081", 200),
        ("rebound.evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:8081", 421),
        (PAGES_DOMAIN, 421),
        ("x@localhost", 421),
        ("localhost@evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize(("path", "method"), [("/health", "GET"), ("/ask?domain=x.example", "GET"), ("/purge", "POST")])
def test_no_page_comes_in_by_a_name_of_its_own(host: str, status: int, path: str, method: str, desk: Desk) -> None:
    told = desk.ask(path, method, headers={"Host": host})[0]
    assert (told == 421) is (status == 421)


def test_who_only_looks_whether_somebody_listens_is_not_logged(desk: Desk) -> None:
    before = desk.proxy.log
    for data in (b"", b"GET /hea"):
        with socket.create_connection(("127.0.0.1", desk.port), 20) as connection:
            connection.sendall(data)
    assert desk.ask("/health")[0] == 200
    assert "Traceback" not in desk.proxy.log.removeprefix(before)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"POST /purge HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
    ],
)
def test_what_is_no_request_gets_no_more_than_an_error(data: bytes, desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", desk.port), 20) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received[:10] in (b"", b"HTTP/1.1 4")
    assert desk.ask("/health")[0] == 200


def test_the_command_purges_by_it_where_there_is_no_redis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path / "forge" / "alice" / "blog.git", {".pages": b"enabled: true\n", "public/index.html": b"one"})
    with start_forge(tmp_path / "forge") as forge:
        options = {"adminListen": f"127.0.0.1:{free_port()}", "adminToken": TOKEN, "cacheTTL": 3600}
        config = tmp_path / "proxy" / "pages.yaml"
        with running_proxy(tmp_path / "proxy", forge.url, **options) as proxy:
            for what in ("alice/blog", f"alice.{PAGES_DOMAIN}", None):
                assert proxy.get("alice", "/blog/").status == 200
                body = f"for {what}".encode()
                site.commit({"public/index.html": body})
                if what != f"alice.{PAGES_DOMAIN}":  # that is the profile's
                    assert purge_command(load(config), what) == 0
                    wait_until(lambda: proxy.get("alice", "/blog/").body == body, "the push")  # noqa: B023
            assert purge_command(load(config), "stranger.example") == 1
        assert purge_command(load(config), None) == 1
        told = capsys.readouterr()
        assert "looks again at alice/blog" in told.out
        assert "no answer at adminListen" in told.err
        assert TOKEN not in told.out + told.err


def test_a_visitor_of_the_pages_finds_none_of_it(desk: Desk) -> None:
    for path in ("/status", "/health", "/purge", "/ask"):
        assert desk.proxy.get(PAGES_DOMAIN, path).status == 404

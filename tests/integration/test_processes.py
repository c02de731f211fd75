# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages serve` and its workers: reload, kill, end and failing starts, and what the workers share."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from addon.preview.forge import Forge
from addon.process.worker import share_of
from addon.settings.schema import Settings
from tests.addon.net.tls_wire import client_context, make_pair
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import (
    PAGES_DOMAIN,
    ROOT,
    mitmdump_command,
    run_to_end,
    running_proxy,
    spawn,
    write_config,
)
from tests.integration.service import DEADLINE, Service, Visitors, running_service, serve_command
from tests.integration.test_deploys import PATH, SECRET, payload, signed
from tests.ports import free_port, port_in_use
from tests.waiting import wait_until

PASSWORD = "correct horse"
LOCK = f"enabled: true\npassword: {hashlib.sha256(PASSWORD.encode()).hexdigest()}\n".encode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(
        tmp_path / "forge" / "alice" / "blog.git", {".pages": b"enabled: true\n", "public/index.html": b"First"}
    )
    yield site
    site.close()


@pytest.fixture
def web(tmp_path: Path, site: Site) -> Iterator[Forge]:
    with start_forge(tmp_path / "forge") as forge:
        yield forge


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """Alice's, by their names: each for one test."""
    root = tmp_path_factory.mktemp("forge") / "alice"
    plain = {".pages": b"enabled: true\n", "public/index.html": b"First"}
    files = {"club": {".pages": LOCK, "public/index.html": b"inside"}, "blog": plain, "pushed": plain, "named": plain}
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(contextlib.closing(Site(root / f"{name}.git", files[name]))) for name in files}


@pytest.fixture(scope="module")
def sites_forge(sites: dict[str, Site]) -> Iterator[Forge]:
    with start_forge(sites["blog"].path.parents[1]) as forge:
        yield forge


@pytest.fixture(scope="module")
def _two_workers(sites_forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options: dict[str, Any] = {"webhookSecret": SECRET, "forgejoPublicHost": "git.test", "dnsResolvers": ["127.0.0.1"]}
    with running_service(tmp_path_factory.mktemp("service"), sites_forge.url, **options) as service:
        yield service
        assert service.stop() == 0


@pytest.fixture
def two_workers(_two_workers: Service) -> Iterator[Service]:
    """One service for the tests of what two workers tell each other without Redis."""
    yield _two_workers
    go_on(_two_workers)


def only(service: Service, number: int) -> None:
    """Have one worker of two answer, until the next call."""
    for each, pid in enumerate(service.workers):
        os.kill(pid, signal.SIGCONT if each == number else signal.SIGSTOP)


def go_on(service: Service) -> None:
    """Have all workers answer."""
    for pid in service.workers:
        os.kill(pid, signal.SIGCONT)


def ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_reload_under_load_fails_no_request(tmp_path: Path, web: Forge) -> None:
    with running_service(tmp_path / "service", web.url, accessLog="requests.log") as service:
        before = service.workers
        assert len(before) == 2
        with Visitors(service.port, "/blog/") as visitors:
            service.until(lambda: visitors.served > 50)
            more = {"processes": 3, "accessLog": "requests.log"}
            write_config(tmp_path / "service", web.url, service.port, **more)
            service.reload()
            service.until_served(2)
            service.until(lambda: all(map(ended, before)))
            served = visitors.served
            service.until(lambda: visitors.served > served + 50)
        assert visitors.failed == []
        assert len(service.workers) == 3  # as the settings say now
        assert service.stop() == 0
        lines = (tmp_path / "service" / "requests.log").read_text().splitlines()
        assert all(line.startswith("{") and line.endswith("}") for line in lines)
        assert len(lines) == visitors.served


def test_settings_that_are_wrong_change_nothing_even_for_a_worker_that_is_restarted(tmp_path: Path, web: Forge) -> None:
    with running_service(tmp_path / "service", web.url) as service:
        before = service.workers
        service.config.write_text("pagesDomian: x\n")
        service.reload()
        service.until(lambda: "reload failed" in service.log)
        assert "pagesDomian" in service.log
        assert service.workers == before
        os.kill(before[0], signal.SIGKILL)
        service.until(lambda: ended(before[0]) and len(service.workers) == 2)
        os.kill(before[1], signal.SIGSTOP)
        assert service.get("alice", "/blog/").body == b"First"
        os.kill(before[1], signal.SIGCONT)
        assert service.stop() == 0


def test_an_address_may_come_back_while_workers_that_had_it_are_ending(tmp_path: Path, web: Forge) -> None:
    folder, first, second = tmp_path / "service", free_port(), free_port()
    both, one = [f"127.0.0.1:{first}", f"127.0.0.1:{second}"], [f"127.0.0.1:{first}"]
    with running_service(folder, web.url, processes=1, listen=both) as service:
        before = service.workers
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        write_config(folder, web.url, first, processes=1, listen=one)
        service.reload()
        service.until_served(2)
        write_config(folder, web.url, first, processes=1, listen=both)
        service.reload()
        service.until(
            lambda: f"previous workers to leave 127.0.0.1:{second}" in service.log or "reload failed" in service.log
        )
        for pid in before:
            os.kill(pid, signal.SIGCONT)
        service.until_served(3)
        for port in (first, second):
            service.port = port
            assert service.get("alice", "/blog/").body == b"First"
        assert service.stop() == 0


def test_a_killed_worker_fails_its_own_requests_alone_and_another_takes_its_place(tmp_path: Path, web: Forge) -> None:
    with running_service(tmp_path / "service", web.url) as service:
        with Visitors(service.port, "/blog/") as visitors:
            service.until(lambda: visitors.served > 50)
            victim = service.workers[0]
            os.kill(victim, signal.SIGKILL)
            service.until(lambda: "was ended by SIGKILL" in service.log)
            served = visitors.served
            service.until(lambda: len(service.workers) == 2 and visitors.served > served + 200)
        assert len(visitors.failed) <= 6  # one a visitor
        assert service.stop() == 0


@pytest.mark.parametrize("processes", [0, 2])
def test_the_end_answers_those_who_wait_in_the_queue(tmp_path: Path, web: Forge, processes: int) -> None:
    """0 is mitmdump without a supervisor."""
    folder = tmp_path / "service"
    with (
        running_service(folder, web.url, processes=processes)
        if processes
        else running_proxy(folder, web.url) as service
    ):
        workers = service.workers if isinstance(service, Service) else [service.process.pid]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        queued = [service.connect() for _ in range(50)]
        for connection in queued:
            connection.sendall(f"GET /blog/ HTTP/1.1\r\nHost: alice.{PAGES_DOMAIN}\r\n\r\n".encode())
        service.process.send_signal(signal.SIGTERM)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        for connection in queued:
            with connection:
                received = b""
                while chunk := connection.recv(65536):
                    received += chunk
                assert received.startswith(b"HTTP/1.1 200 ")
                assert received.endswith(b"First")
        assert service.process.wait(DEADLINE) == 0


def test_the_end_under_load_loses_nobody_who_was_connected(tmp_path: Path, web: Forge) -> None:
    with running_service(tmp_path / "service", web.url) as service, Visitors(service.port, "/blog/") as visitors:
        service.until(lambda: visitors.served > 50)
        assert service.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            service.connect()
    assert visitors.failed == []


@pytest.mark.parametrize("host", [f"alice.{PAGES_DOMAIN}", "git.test"])
def test_the_end_loses_no_request_on_a_connection_that_mitmproxy_serves(tmp_path: Path, web: Forge, host: str) -> None:
    answered, told = 0, b""
    with running_service(tmp_path / "service", web.url, processes=1, forgejoPublicHost="git.test") as service:
        with service.connect() as connection:
            while b"connection: close" not in told:
                framing = "Transfer-Encoding: chunked\r\n\r\n0"
                connection.sendall(f"POST /nothing HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n".encode())
                told = head_of(connection)
                answered += 1
                if answered == 3:
                    service.process.send_signal(signal.SIGTERM)
            assert answered > 3
            assert connection.recv(1) == b""
        assert service.process.wait(DEADLINE) == 0


def head_of(connection: socket.socket) -> bytes:
    """Read one answer; returns its head in lower case."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += taken(connection)
    head, _, body = received.lower().partition(b"\r\n\r\n")
    length = re.search(rb"content-length: ([0-9]+)", head)
    assert length is not None
    left = int(length[1]) - len(body)
    while left:
        left -= len(taken(connection))
    return head


def taken(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "closed without an answer"
    return data


def test_the_end_tells_clients_over_http2_to_ask_elsewhere(tmp_path: Path, web: Forge) -> None:
    pair = make_pair(tmp_path, "pages", f"*.{PAGES_DOMAIN}")
    secure = free_port()
    listen = [{"address": f"127.0.0.1:{secure}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}]
    with running_service(tmp_path / "service", web.url, processes=1, listen=listen) as service:
        raw = socket.create_connection(("127.0.0.1", secure), 20.0)
        with client_context("h2").wrap_socket(raw, server_hostname=f"alice.{PAGES_DOMAIN}") as connection:
            client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
            client.initiate_connection()
            connection.sendall(client.data_to_send())
            last = None
            while last is None:
                asked = client.get_next_available_stream_id()
                head = ((":method", "GET"), (":scheme", "https"), (":authority", f"alice.{PAGES_DOMAIN}"))
                client.send_headers(asked, [*head, (":path", "/blog/")], end_stream=True)
                connection.sendall(client.data_to_send())
                if asked == 5:
                    service.process.send_signal(signal.SIGTERM)
                answered = False
                while not answered:
                    for event in client.receive_data(taken(connection)):
                        answered |= isinstance(event, h2.events.StreamEnded)
                        if isinstance(event, h2.events.ConnectionTerminated):
                            last = event.last_stream_id
                            answered = True
            assert last == 2**31 - 1  # nothing is refused
        assert service.process.wait(DEADLINE) == 0


def test_a_webhook_at_one_worker_is_known_to_the_other_without_redis(
    two_workers: Service, sites: dict[str, Site]
) -> None:
    for number in (0, 1):
        only(two_workers, number)
        assert two_workers.get("alice", "/blog/").body == b"First"
    sites["blog"].commit({"public/index.html": b"Second"})
    assert two_workers.get("alice", "/blog/").body == b"First"
    body = payload()
    assert two_workers.get(PAGES_DOMAIN, PATH, signed(body), "POST", body).status == 202  # at worker 1
    for number in (1, 0):
        only(two_workers, number)
        two_workers.until(lambda: two_workers.get("alice", "/blog/").body == b"Second")


def test_a_login_at_one_worker_holds_at_the_other(two_workers: Service) -> None:
    only(two_workers, 0)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    entered = two_workers.get("alice", "/club/", form, "POST", b"password=correct+horse")
    assert entered.status == 303
    only(two_workers, 1)
    cookie = {"Cookie": entered.headers["set-cookie"].partition(";")[0]}
    assert two_workers.get("alice", "/club/", cookie).body == b"inside"


def test_workers_end_when_their_supervisor_is_gone(tmp_path: Path, web: Forge) -> None:
    with running_service(tmp_path / "service", web.url) as service:
        workers = service.workers
        service.process.kill()
        service.process.wait()
        wait_until(lambda: all(map(ended, workers)), "the end of the workers")


def test_a_worker_that_cannot_start_fails_the_start(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1", free_port(), processes=1)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "login-key").write_text("no key")
    code, output = run_to_end(tmp_path, serve_command(config), PYTHONPATH=str(ROOT))
    assert code == 1
    assert "login-key: expected 64 hex digits" in output
    assert "before it served" in output
    assert "Traceback" not in output


def test_an_address_in_use_fails_the_start(tmp_path: Path) -> None:
    with port_in_use() as port:
        config = write_config(tmp_path, "http://127.0.0.1:1", port)
        code, output = run_to_end(tmp_path, serve_command(config, "--processes", "3"), PYTHONPATH=str(ROOT))
    assert code == 1
    assert "cannot listen on 127.0.0.1" in output
    assert "Traceback" not in output


def test_mitmdump_alone_refuses_to_be_several(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1", free_port(), processes=2)
    code, output = run_to_end(tmp_path, mitmdump_command(config))
    assert code == 1
    assert "processes: " in output
    assert "pages serve" in output


def test_what_is_said_of_memory_and_connections_is_for_all_processes_together() -> None:
    settings = Settings.from_mapping(
        {"pagesDomain": PAGES_DOMAIN, "forgejoHost": "http://127.0.0.1:1", "memoryCacheSize": "256MiB"}
    )
    part = share_of(settings, 4)
    assert part.memory_cache_size == 64 << 20
    assert part.max_connections_per_address == 128
    assert part.redis_max_connections == 5
    assert share_of(settings, 1) is settings


def test_a_push_through_one_worker_is_known_to_the_other_without_redis(
    two_workers: Service, sites: dict[str, Site], sites_forge: Forge
) -> None:
    for number in (0, 1):
        only(two_workers, number)
        assert two_workers.get("alice", "/pushed/").body == b"First"
    sites["pushed"].commit({"public/index.html": b"Second"})
    only(two_workers, 0)
    with sites_forge.fault("git-receive-pack", status=200, body=b""):
        reply = two_workers.get("git.test", "/alice/pushed.git/git-receive-pack", {}, "POST", b"0000")
    assert reply.status == 200
    for number in (0, 1):
        only(two_workers, number)
        two_workers.until(lambda: two_workers.get("alice", "/pushed/").body == b"Second")


def test_the_status_page_is_at_one_address_and_purges_all_processes(tmp_path: Path, web: Forge, site: Site) -> None:
    port = free_port()
    with running_service(tmp_path / "service", web.url, adminListen=f"127.0.0.1:{port}") as service:
        for number in (0, 1):
            only(service, number)
            assert service.get("alice", "/blog/").body == b"First"
        only(service, 0)
        site.commit({"public/index.html": b"Second"})
        admin = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        admin.request("POST", "/purge", b"what=alice/blog", {"Content-Type": "application/x-www-form-urlencoded"})
        answer = admin.getresponse()
        assert answer.status == 200, answer.read()
        admin.close()
        for number in (0, 1):
            only(service, number)
            service.until(lambda: service.get("alice", "/blog/").body == b"Second")
        go_on(service)
        before = service.workers
        service.reload()  # the new worker 0 takes the address over
        service.until_served(2)
        service.until(lambda: all(map(ended, before)))
        admin = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        admin.request("GET", "/health")
        assert admin.getresponse().status == 200
        admin.close()


def told(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """What adminListen says, in JSON."""
    admin = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        admin.request("GET", path)
        answer = admin.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        admin.close()


def test_the_status_is_that_of_all_processes_and_leaves_out_who_does_not_answer(tmp_path: Path, web: Forge) -> None:
    port = free_port()
    with running_service(tmp_path / "service", web.url, adminListen=f"127.0.0.1:{port}") as service:
        for number in (0, 1):
            only(service, number)
            for _ in range(3 + number):
                assert service.get("alice", "/blog/").body == b"First"
        workers = service.workers
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        _, status = told(port, "/status.json")
        assert status["Server"]["processes_answering"] == 2
        assert status["Requests"]["answered_by_lane"] == 7
        assert [f"process {pid}," in line for pid, line in zip(workers, status["Processes"].values())] == [True, True]
        each = told(port, "/status.json?processes")[1]["processes"]
        assert [numbers["process"]["pid"] for numbers in each] == workers
        assert [numbers["Requests"]["answered_by_lane"] for numbers in each] == [3, 4]
        assert status["Memory"]["limit_bytes"] == sum(numbers["Memory"]["limit_bytes"] for numbers in each)
        os.kill(workers[1], signal.SIGSTOP)
        health, said = told(port, "/health")
        assert (health, said["processes"], said["processes_answering"]) == (200, 2, 1)
        assert told(port, "/status.json")[1]["Requests"]["answered_by_lane"] == 3
        os.kill(workers[1], signal.SIGCONT)


def test_a_worker_whose_event_loop_stands_writes_where_and_is_replaced(tmp_path: Path, web: Forge) -> None:
    hung = "import signal, time\nsignal.signal(signal.SIGPROF, lambda *_: time.sleep(300))\n"
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(hung)
    config = write_config(folder, web.url, port := free_port(), processes=2)
    process, log = spawn(folder, serve_command(config), PYTHONPATH=f"{ROOT}:{folder}")
    service = Service(process, port, log)
    try:
        service.until_served()
        before = service.workers
        os.kill(before[1], signal.SIGPROF)
        service.until(lambda: ended(before[1]))
        service.until(lambda: len(service.workers) == 2)
        assert f"worker 1 (process {before[1]}) has stood still for 10 s and is replaced" in service.log
        assert "Fatal Python error: Aborted" in service.log
        assert "sitecustomize.py" in service.log, "the place where it stood"
        assert before[0] in service.workers
        assert service.stop() == 0
    finally:
        process.kill()


def test_the_watchdog_of_systemd_hears_of_workers_that_go_on_and_of_none_that_stand(tmp_path: Path, web: Forge) -> None:
    config = write_config(tmp_path, web.url, free_port(), processes=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(DEADLINE)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        process, _ = spawn(tmp_path, serve_command(config), PYTHONPATH=str(ROOT), **environment)
        try:
            while not (said := heard.recv(200)).startswith(b"READY=1"):
                pass
            assert b"STATUS=" in said
            for _ in range(3):
                assert heard.recv(200) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            while (said := heard.recv(200)) == b"WATCHDOG=1":
                pass
            assert said == b"STOPPING=1"
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()


def test_every_line_of_the_log_is_of_one_form_from_the_start_over_a_reload_to_the_end(
    tmp_path: Path, web: Forge
) -> None:
    with running_service(tmp_path / "service", web.url, logFormat="json", logLevel="debug") as service:
        assert service.get("alice", "/blog/").body == b"First"
        before = service.workers
        service.reload()
        service.until_served(2)
        service.until(lambda: all(map(ended, before)))
        assert service.stop() == 0
        lines = [json.loads(line) for line in service.log.splitlines()]
    assert {line["process"] for line in lines} == {"supervisor", "worker 0", "worker 1"}
    said = [line["message"] for line in lines]
    assert any(re.fullmatch("alice/blog: served, commit [0-9a-f]{40}", each) for each in said), said
    listening = [line for line in lines if "listens on" in line["message"]]
    assert [line["process"] for line in listening] == ["worker 0"] * 2, (
        "for all processes, after the start and the reload"
    )


def test_mitmproxys_own_lines_about_its_listeners_are_not_in_the_log(tmp_path: Path, web: Forge) -> None:
    with running_service(tmp_path / "service", web.url, processes=1) as service:
        before = service.workers
        service.reload()
        service.until_served(2)
        service.until(lambda: all(map(ended, before)))
        assert service.stop() == 0
    assert "stopped" not in service.log
    assert "Loading script" not in service.log
    form = re.compile(r"\d{4}-\d\d-\d\d [0-9:.]+[+-]\d\d:\d\d (info|warning) (supervisor|worker 0): .+")
    assert [line for line in service.log.splitlines() if not form.fullmatch(line)] == []


def test_systemd_is_told_when_all_serve_of_each_reload_and_of_the_end(tmp_path: Path, web: Forge) -> None:
    config = write_config(tmp_path, web.url, free_port(), processes=2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(DEADLINE)
        process, log = spawn(
            tmp_path, serve_command(config), PYTHONPATH=str(ROOT), NOTIFY_SOCKET=str(tmp_path / "notify")
        )
        try:
            assert told.recv(200).splitlines()[0] == b"READY=1"
            assert log.read_text().count("pages server for") == 1  # of both processes, which say the same
            good = config.read_text()
            for settings, outcome in (
                (f"{good}\ncacheTTL: soon\n", b"previous settings"),
                (good, b"settings reloaded"),
            ):
                config.write_text(settings)
                process.send_signal(signal.SIGHUP)
                assert told.recv(200).splitlines()[0] == b"RELOADING=1"
                ready, status = told.recv(200).splitlines()
                assert ready == b"READY=1"
                assert outcome in status
            process.send_signal(signal.SIGTERM)
            assert told.recv(100) == b"STOPPING=1"
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()


def test_a_custom_domain_that_one_worker_registers_is_served_by_the_other(
    two_workers: Service, sites: dict[str, Site]
) -> None:
    sites["named"].commit({".pages": b"enabled: true\ncustom_domain: blog.test\n"})
    only(two_workers, 0)
    assert two_workers.get("alice", "/named/").body == b"First"
    for number in (0, 1):
        only(two_workers, number)
        two_workers.until(lambda: two_workers.get("blog.test", "/").body == b"First")

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How it starts, refuses to start, and stops: real processes, real signals, real ports."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mitmproxy.version
import pytest

from addon.preview.forge import Forge
from tests.integration.running import (
    PAGES_DOMAIN,
    ROOT,
    SCRIPT,
    Proxy,
    mitmdump_command,
    run_to_end,
    running_proxy,
    spawn,
    wait_for_port,
    write_config,
)
from tests.ports import free_port, port_in_use
from tests.waiting import wait_until

DEADLINE = 40.0


def listening_ports(pid: int) -> set[tuple[str, int]]:
    """Addresses on which a process listens over TCP, from /proc."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
            if found:
                inodes.add(found[1])
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].rpartition(":")
                ports.add((address, int(port, 16)))
    return ports


def test_a_wrong_file_ends_the_start_and_names_file_line_and_option(tmp_path: Path) -> None:
    config = tmp_path / "pages.yaml"
    config.write_text("pagesDomain: pages.test\nforgejoHost: http://127.0.0.1:1\nforgejoTimeuot: 3\n")
    code, output = run_to_end(tmp_path, mitmdump_command(config))
    assert code == 1
    assert "pages.yaml:3" in output
    assert "forgejoTimeuot" in output
    assert "forgejoTimeout" in output
    assert "Traceback" not in output


def test_no_file_at_all_ends_the_start(tmp_path: Path) -> None:
    code, output = run_to_end(tmp_path, [*mitmdump_command(Path("x"))[:3]])
    assert code == 1
    assert "PAGES_CONFIG" in output
    assert "Traceback" not in output


def test_a_missing_file_ends_the_start(tmp_path: Path) -> None:
    code, output = run_to_end(tmp_path, mitmdump_command(tmp_path / "absent.yaml"))
    assert code == 1
    assert "absent.yaml" in output
    assert "Traceback" not in output


def test_a_port_in_use_ends_the_start(tmp_path: Path) -> None:
    with port_in_use() as port:
        config = write_config(tmp_path, "http://127.0.0.1:1", port)
        code, output = run_to_end(tmp_path, mitmdump_command(config))
    assert code == 1
    assert "address already in use" in output.lower()


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, "http://127.0.0.1:1", port)
    process, log = spawn(tmp_path, mitmdump_command(config)[:3], PAGES_CONFIG=str(config))
    try:
        wait_for_port(process, port, log)
    finally:
        process.kill()
        process.wait()


def test_neither_forgejo_nor_redis_need_be_up(tmp_path: Path) -> None:
    with running_proxy(tmp_path, f"http://127.0.0.1:{free_port()}", redisHost="127.0.0.1", redisPort=1) as proxy:
        reply = proxy.get("alice", "/")
        assert reply.status == 502
        assert reply.headers["retry-after"] == "5"
        assert b"127.0.0.1" not in reply.body
        assert "redisHost" in proxy.log  # said to be not used yet, or tried


def test_only_the_addresses_of_the_file_are_listened_on(tmp_path: Path, forge: Forge) -> None:
    ports = [free_port(), free_port()]
    config = write_config(tmp_path, forge.url, ports[0], listen=[f"127.0.0.1:{port}" for port in ports])
    process, log = spawn(tmp_path, mitmdump_command(config))
    try:
        for port in ports:
            wait_for_port(process, port, log)
        found = listening_ports(process.pid)
        assert {address for address, _ in found} == {"0100007F"}
        assert len(found) == 3  # both of ours, and the relay, whose answers need a ticket
        relay = next(port for _, port in found if port not in ports)
        answer = Proxy(process, relay, log).raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("extra", [[], ["--listen-host", "127.0.0.1"], ["--mode", "regular@127.0.0.1:{port}"]])
def test_it_is_never_an_open_proxy_not_even_while_it_starts(tmp_path: Path, forge: Forge, extra: list[str]) -> None:
    """From the first moment on, a client tries to get something through every port that could be open."""
    default, port = free_port(), free_port()
    config = write_config(tmp_path, forge.url, port)
    options = [option.format(port=default) for option in extra]
    process, log = spawn(tmp_path, [*mitmdump_command(config), "-p", str(default), *options])
    target = f"GET {forge.url}/api/v1/version HTTP/1.1\r\nHost: 127.0.0.1:{forge.port}\r\nConnection: close\r\n\r\n"
    answers = []
    asked_before = forge.count("version")
    try:

        def listens() -> bool:
            with contextlib.suppress(OSError):
                answers.append(Proxy(process, default, log).raw(target.encode(), timeout=5))
            with contextlib.suppress(OSError):
                answers.append(Proxy(process, port, log).raw(target.encode(), timeout=5))
                return True
            return False

        wait_until(listens, "somebody on the port of the settings")
        assert (
            "0100007F",
            default,
        ) not in listening_ports(process.pid)
    finally:
        process.kill()
        process.wait()
    assert all(b"gitea" not in answer for answer in answers)
    assert forge.count("version") == asked_before


def test_terminating_lets_answers_in_flight_finish(tmp_path: Path, forge: Forge) -> None:
    with running_proxy(tmp_path, forge.url) as proxy, forge.fault("/branches/", delay=1.5):
        replies = []
        thread = threading.Thread(target=lambda: replies.append(proxy.get("alice", "/blog/about.html")))
        asked = forge.count("/branches/")
        thread.start()
        wait_until(lambda: forge.count("/branches/") > asked, "a question to the forge")
        assert proxy.stop() == 0
        thread.join(DEADLINE)
        assert [reply.status for reply in replies] == [200]
        with pytest.raises(ConnectionRefusedError):
            proxy.connect(1)


def test_touching_the_script_changes_nothing(tmp_path: Path, forge: Forge) -> None:
    """mitmproxy runs a script anew when its file changes; the addon goes on as it is."""
    for name in ("addon", "resp"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    port = free_port()
    config = write_config(tmp_path, forge.url, port, logLevel="debug")
    script = tmp_path / "addon" / "pages.py"
    command = [str(script) if part == str(SCRIPT) else part for part in mitmdump_command(config)]
    process, log = spawn(tmp_path, command)
    try:
        wait_for_port(process, port, log)
        proxy = Proxy(process, port, log)
        assert proxy.get("alice", "/").status == 200
        script.write_text(script.read_text() + "\n")
        proxy.until(lambda: proxy.log.count("Loading script") >= 2)
        assert proxy.get("alice", "/").headers["x-cache-status"] == "HIT"
        assert proxy.stop() == 0
        assert "Traceback" not in proxy.log
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("extra", [[], ["--listen-host", "127.0.0.1"]])
def test_a_broken_installation_listens_nowhere_and_ends(tmp_path: Path, extra: list[str]) -> None:
    shutil.copytree(ROOT / "addon", tmp_path / "addon", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "addon" / "library" / "library.py").write_text("raise ImportError('broken')\n")
    config = write_config(tmp_path, "http://127.0.0.1:1", free_port())
    script = str(tmp_path / "addon" / "pages.py")
    command = [script if part == str(SCRIPT) else part for part in mitmdump_command(config)]
    code, output = run_to_end(tmp_path, [*command, "-p", str(free_port()), *extra])
    assert code == 1
    assert "broken" in output
    assert "listening" not in output


def mitmdump_after(statement: str, config: Path) -> list[str]:
    """The command line of mitmdump in an interpreter that first executes a statement."""
    program = f"{statement}; from mitmproxy.tools.main import mitmdump; mitmdump()"
    return [sys.executable, "-c", program, *mitmdump_command(config)[1:]]


@pytest.mark.parametrize("version", ["10.4.2", "12.4.0"])
def test_a_mitmproxy_that_does_not_fit_is_refused_before_anything_listens(tmp_path: Path, version: str) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1", free_port())
    statement = f"import mitmproxy.version; mitmproxy.version.VERSION = {version!r}"
    code, output = run_to_end(tmp_path, mitmdump_after(statement, config))
    assert code == 1
    assert f"needs mitmproxy 11.0.2 to 12.3, and this is {version}" in output
    assert "Traceback" not in output
    assert "listening" not in output


BESIDE = ["dns", "dulwich", "publicsuffixlist", "argon2"]
if tuple(map(int, mitmproxy.version.VERSION.split(".")[:2])) >= (12, 3):
    BESIDE.append("zstandard")  # it has backports.zstd
NOT_OF_MITMPROXY = f"import sys; sys.modules |= dict.fromkeys({BESIDE})"
"""Makes an import of these fail: what a clone beside mitmproxy alone does not have."""


def test_a_clone_beside_mitmproxy_alone_serves(tmp_path: Path, forge: Forge) -> None:
    port = free_port()
    command = mitmdump_after(NOT_OF_MITMPROXY, write_config(tmp_path, forge.url, port))
    process, log = spawn(tmp_path, command)
    try:
        wait_for_port(process, port, log)
        proxy = Proxy(process, port, log)
        assert proxy.get("alice", "/").status == 200
        assert proxy.get("www.nobody.example", "/").status == 404
        assert proxy.stop() == 0
        assert "Traceback" not in proxy.log
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("option", "value"),
    [("enableCustomDomainDNSVerification", True), ("dnsResolvers", ["127.0.0.1:5353"])],
)
def test_what_needs_a_package_that_is_missing_says_so_when_it_is_switched_on(
    tmp_path: Path, option: str, value: object
) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1", free_port(), **{option: value})
    code, output = run_to_end(tmp_path, mitmdump_after(NOT_OF_MITMPROXY, config))
    assert code == 1
    assert f"{option}: needs dnspython: pip install dnspython" in output
    assert "Traceback" not in output


def test_pages_serve_does_the_same(tmp_path: Path, forge: Forge) -> None:
    port = free_port()
    config = write_config(tmp_path, forge.url, port)
    command = [sys.executable, "-m", "addon.commands.cli", "serve", "--config", str(config)]
    process, log = spawn(tmp_path, command, PYTHONPATH=str(ROOT))
    try:
        wait_for_port(process, port, log)
        proxy = Proxy(process, port, log)
        assert proxy.get("alice", "/").status == 200
        assert proxy.stop() == 0
    finally:
        process.kill()
        process.wait()


def test_the_token_is_in_no_log_and_no_answer(tmp_path: Path, forge: Forge) -> None:
    token = "5ec3e7" * 6 + "abcd"
    with running_proxy(tmp_path, forge.url, forgejoToken=token, logLevel="debug") as proxy:
        bodies = [proxy.get("alice", path).body for path in ("/", "/secret/", "/blog/big.dat", "/nothing")]
        assert proxy.get("limited", "/site/").status == 404
        proxy.stop()
        assert token not in proxy.log
        assert all(token.encode() not in body for body in bodies)


def test_an_old_mitmproxy_is_warned_about(proxy: Proxy) -> None:
    old = tuple(map(int, mitmproxy.version.VERSION.split(".")[:2])) < (12, 2)
    assert ("known faults" in proxy.log) is old


def test_check_says_the_same_without_starting(tmp_path: Path) -> None:
    config = tmp_path / "pages.yaml"
    config.write_text("pagesDomain: pages.test\nforgejoHost: http://127.0.0.1:1\nlistne: 80\n")
    command = [sys.executable, "-m", "addon.commands.cli", "check", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert "pages.yaml:3" in done.stderr
    assert "listen" in done.stderr


def test_check_says_when_forgejo_host_leads_back_here(tmp_path: Path, proxy: Proxy) -> None:
    config = write_config(tmp_path, f"http://127.0.0.1:{proxy.port}", free_port())
    command = [sys.executable, "-m", "addon.commands.cli", "check", "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert "leads back" in done.stdout
    assert PAGES_DOMAIN in done.stdout


def test_the_interrupt_key_stops_it_as_well(tmp_path: Path, forge: Forge) -> None:
    with running_proxy(tmp_path, forge.url) as proxy:
        proxy.process.send_signal(signal.SIGINT)
        assert proxy.process.wait(DEADLINE) == 0


UNUSABLE = [
    {"accessLog": "/nonexistent/x.log", "stateDir": "/etc/hostname", "forgejoCAFile": "/etc/hostname"},
    {"accessLog": "/tmp"},
]


@pytest.mark.parametrize("options", UNUSABLE)
def test_files_that_cannot_be_used_are_named_by_check_and_start_alike(tmp_path: Path, options: dict[str, str]) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1", free_port(), **options)
    pages = [sys.executable, "-m", "addon.commands.cli"]
    for command in (
        mitmdump_command(config),
        [*pages, "check", "--offline", str(config)],
        [*pages, "serve", "--config", str(config)],
    ):
        code, output = run_to_end(tmp_path, command, PYTHONPATH=str(ROOT))
        assert code == 1, command
        assert [option for option in options if f"pages.yaml: {option}: " not in output] == []
        assert "Traceback" not in output


def test_trouble_with_forgejo_is_said_once_and_so_is_its_end(tmp_path: Path, forge: Forge) -> None:
    with running_proxy(tmp_path, forge.url, cacheTTL=1) as proxy:
        with forge.fault("/api/", status=500):
            for _ in range(3):
                assert proxy.get("alice", "/archived/").status == 502
        assert proxy.log.count("Forgejo gave no answer about alice/archived") == 1
        wait_until(lambda: proxy.get("alice", "/archived/").status == 200, "the end of the trouble")
        assert proxy.log.count("Forgejo answers again") == 1

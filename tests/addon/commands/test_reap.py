# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages reap` over a real Valkey in front of a forge that vanishes, hides, breaks and lies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from addon.commands.cli import main
from addon.commands.reap import Progress, reap_command
from addon.preview.faults import html_instead
from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared.domain_records import Claim, SiteDomains, read_record, record_of
from tests.addon.preview.sites import Site
from tests.config.traefik_reading import routers
from tests.resp.servers import Server
from tests.waiting import wait_until

HOUR, DAY = 3600.0, 86_400.0
NOW = 1_790_000_000.0
JSON = (("Content-Type", "application/json;charset=utf-8"),)
PAGES = b"custom_domain: www.example.org\nenable_branches: [dev]\n"
FILLERS = 40
PLUGIN = frozenset({"pages-server@file"})


class Reap:
    """The command, at a time of day of the test's choice; what it printed last."""

    def __init__(self, folder: Path, redis: Server, forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
        self.redis = redis
        self.forge = forge
        self.now = NOW
        self.options: dict[str, Any] = {}
        self.out = self.err = ""
        self._folder = folder
        self._capsys = capsys

    @property
    def mapping(self) -> dict[str, Any]:
        return {
            "pagesDomain": "pages.test",
            "forgejoHost": self.forge.url,
            "forgejoTimeout": "1s",
            "redisHost": self.redis.host,
            "redisPort": self.redis.port,
            "stateDir": str(self._folder),
            **self.options,
        }

    def __call__(self, **options: bool) -> int:
        code = reap_command(Settings.from_mapping(self.mapping, environ={}), now=lambda: self.now, **options)
        self.out, self.err = self._capsys.readouterr()
        return code

    def hosts(self) -> set[str]:
        """Those that have a key, without the fillers."""
        found = self.redis.ask("KEYS", "custom_domain:*")
        assert isinstance(found, list)
        hosts = {key.decode().removeprefix("custom_domain:") for key in found if isinstance(key, bytes)}
        return {host for host in hosts if not host.startswith("filler")}

    def record(self, site: str) -> SiteDomains | None:
        value = self.redis.ask("GET", f"~pages:domains:{site}")
        return read_record(value) if isinstance(value, bytes) else None


@pytest.fixture
def blog(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "forge" / "alice" / "blog.git", {".pages": PAGES, "public/index.html": b"Blog"})
    yield site
    site.close()


@pytest.fixture
def root(tmp_path: Path, blog: Site) -> Path:
    Site(tmp_path / "forge" / "bob" / "many.git", {".pages": b"enabled: true\n", "public/index.html": b"Many"}).close()
    return tmp_path / "forge"


@pytest.fixture
def redis_kind() -> str:
    """One: what is written there, and on which kinds of servers, is told by the tests of `addon/domains`."""
    return "valkey"


@pytest.fixture
def reap(tmp_path: Path, redis: Server, forge: Forge, capsys: pytest.CaptureFixture[str]) -> Reap:
    """Over many domains that the operator gave to bob, so that one or two are no tenth."""
    with redis.console() as console:
        for number in range(FILLERS):
            console.ask("SET", f"custom_domain:filler{number}.example", "bob:many")
    return Reap(tmp_path, redis, forge, capsys)


def registered(redis: Server, host: str, owner: str, name: str, branch: str | None = None) -> None:
    """As the Traefik plugin registers a host: forward and reverse key, and a router."""
    tail = "" if branch is None else f":{branch}"
    redis.ask("SET", f"custom_domain:{host}", f"{owner}:{name}{tail}")
    redis.ask("SET", f"{owner}:{name}" + ("" if branch is None else f":branch:{branch}"), host)
    router = f"traefik/http/routers/custom-{host.replace('.', '-')}"
    for option, value in (
        ("rule", f"Host(`{host}`)"),
        ("entryPoints/0", "web"),
        ("entryPoints/1", "websecure"),
        ("middlewares/0", "pages-server@file"),
        ("service", "noop@internal"),
        ("tls/certResolver", "letsencrypt-http"),
        ("priority", "10"),
    ):
        redis.ask("SET", f"{router}/{option}", value)


def of_blog(redis: Server) -> None:
    registered(redis, "www.example.org", "alice", "blog")
    registered(redis, "dev.www.example.org", "alice", "blog", "dev")


def test_what_is_named_stays_with_its_branch_hosts(reap: Reap, redis: Server) -> None:
    of_blog(redis)
    assert reap() == 0
    assert reap.hosts() == {"www.example.org", "dev.www.example.org"}
    assert "0 released" in reap.out
    assert set(routers(redis, middlewares=PLUGIN)) == {"custom-www-example-org", "custom-dev-www-example-org"}


def test_each_repository_is_asked_for_once(reap: Reap, redis: Server, forge: Forge) -> None:
    of_blog(redis)
    forge.forget_calls()
    assert reap() == 0
    assert forge.count(r"/repos/bob/many$") == 1, f"for {FILLERS} domains"
    assert forge.count(r"/repos/alice/blog$") == 1


def test_a_domain_that_the_file_names_no_longer_goes_with_all_its_keys(reap: Reap, redis: Server, blog: Site) -> None:
    of_blog(redis)
    blog.commit({".pages": b"custom_domain: other.example.org\n"})
    assert reap(dry_run=True) == 0
    assert "www.example.org: would be released: alice/blog" in reap.out
    assert reap.hosts() == {"www.example.org", "dev.www.example.org"}
    assert reap() == 0
    assert "www.example.org: released: alice/blog: its .pages does not name it" in reap.out
    assert "2 released" in reap.out
    left = redis.ask("KEYS", "*")
    assert isinstance(left, list)
    assert [key for key in left if isinstance(key, bytes) and b"filler" not in key] == []


def test_a_branch_that_is_named_no_longer_frees_its_host_alone(reap: Reap, redis: Server, blog: Site) -> None:
    of_blog(redis)
    registered(redis, "feature-x.www.example.org", "alice", "blog", "feature/x")
    blog.commit({".pages": b"custom_domain: WWW.Example.ORG.\nenable_branches: [feature/x]\n"})
    assert reap() == 0
    assert "dev.www.example.org: released" in reap.out
    assert reap.hosts() == {"www.example.org", "feature-x.www.example.org"}
    blog.commit({".pages": b"custom_domain: www.example.org\n"})
    assert reap() == 0
    assert reap.hosts() == {"www.example.org"}
    assert redis.ask("GET", "alice:blog") == b"www.example.org"
    assert redis.ask("EXISTS", "alice:blog:branch:dev", "alice:blog:branch:feature/x") == 0


def test_a_vanished_repository_keeps_its_domains_for_the_grace(reap: Reap, redis: Server) -> None:
    registered(redis, "gone.example.org", "alice", "gone")
    registered(redis, "dev.gone.example.org", "alice", "gone", "dev")
    assert reap(dry_run=True) == 0
    assert reap.record("alice/gone") is None, "a dry run notes nothing"
    assert reap() == 0
    assert "alice/gone: gone; its domains are free on 2026-09-22" in reap.out
    assert reap.hosts() == {"gone.example.org", "dev.gone.example.org"}
    reap.now = NOW + 23 * HOUR
    assert reap() == 0
    assert reap.hosts() == {"gone.example.org", "dev.gone.example.org"}
    reap.now = NOW + DAY + 1
    assert reap(dry_run=True) == 0
    assert "gone.example.org: would be released: alice/gone: its repository is gone" in reap.out
    assert reap() == 0
    assert reap.hosts() == set()
    assert redis.ask("EXISTS", "alice:gone", "alice:gone:branch:dev", "~pages:domains:alice/gone") == 0
    assert routers(redis, middlewares=PLUGIN) == {}


def test_no_grace_is_no_grace(reap: Reap, redis: Server) -> None:
    registered(redis, "gone.example.org", "alice", "gone")
    reap.options = {"releaseGrace": 0}
    assert reap() == 0
    assert reap.hosts() == set()


def test_a_repository_that_comes_back_begins_a_new_grace_when_it_goes_again(
    reap: Reap, redis: Server, tmp_path: Path
) -> None:
    registered(redis, "back.example.org", "alice", "back")
    assert reap() == 0
    record = reap.record("alice/back")
    assert record is not None
    assert record.gone == NOW
    path = tmp_path / "forge" / "alice" / "back.git"
    Site(path, {".pages": b"custom_domain: back.example.org\n", "public/index.html": b"x"}).close()
    reap.now += HOUR
    assert reap() == 0
    record = reap.record("alice/back")
    assert record is not None
    assert record.gone is None
    path.rename(tmp_path / "away")
    reap.now += DAY
    assert reap() == 0
    assert reap.hosts() == {"back.example.org"}


def test_a_repository_made_private_is_as_gone(reap: Reap, redis: Server, forge: Forge) -> None:
    of_blog(redis)
    forge.settings("alice/blog").private = True
    assert reap() == 0
    assert reap.hosts() == {"www.example.org", "dev.www.example.org"}
    reap.now += DAY + 1
    assert reap() == 0
    assert reap.hosts() == set()


TROUBLES: dict[str, dict[str, Any]] = {
    "hung": {"hang": True},
    "hung up": {"drop": True},
    "401": {"status": 401, "body": b'{"message":"no","url":"x"}\n', "headers": JSON},
    "403": {"status": 403, "body": b'{"message":"no","url":"x"}\n', "headers": JSON},
    "429": {"status": 429, "body": b"slow down", "headers": (("Retry-After", "1"),)},
    "500": {"status": 500, "body": b'{"message":"","url":"x"}\n', "headers": JSON},
    "502": html_instead(502),
    "404 html": html_instead(404),
    "404 text": {"status": 404, "body": b"404 page not found\n", "headers": (("Content-Type", "text/plain"),)},
    "404 other json": {"status": 404, "body": b"{}", "headers": JSON},
    "200 html": html_instead(200),
    "empty": {"status": 200, "body": b""},
    "truncated": {"truncate": 20},
    "null": {"body": b"null", "headers": JSON},
}


LATER = ["hung", "hung up", "403", "500", "404 html", "truncated"]


@pytest.mark.parametrize(
    ("trouble", "where"),
    [*((each, r"/repos/alice/") for each in TROUBLES), *((each, r"/repos/alice/blog/") for each in LATER)],
)
def test_trouble_frees_nothing_and_counts_as_an_error(
    reap: Reap, redis: Server, forge: Forge, trouble: str, where: str
) -> None:
    of_blog(redis)
    before = redis.ask("DBSIZE")
    reap.options = {"releaseGrace": 0}
    with forge.fault(where, **TROUBLES[trouble]):
        assert reap(force=True) == 2, reap.out
    assert redis.ask("DBSIZE") == before
    assert "alice/blog: " in reap.err
    assert " 0 errors" not in reap.out
    assert reap(force=True) == 0


@pytest.mark.parametrize("trouble", ["hung up", "500", "404 html", "200 html"])
def test_a_404_counts_only_while_forgejo_itself_answers(reap: Reap, redis: Server, forge: Forge, trouble: str) -> None:
    registered(redis, "gone.example.org", "alice", "gone")
    reap.options = {"releaseGrace": 0}
    with forge.fault(r"/api/v1/version", **TROUBLES[trouble]):
        assert reap(force=True) == 2
    assert reap.hosts() == {"gone.example.org"}
    assert reap(force=True) == 0
    assert reap.hosts() == set()


def test_forgejo_away_altogether_frees_nothing(reap: Reap, redis: Server, forge: Forge) -> None:
    of_blog(redis)
    forge.stop()
    reap.options = {"releaseGrace": 0}
    assert reap(force=True) == 2
    assert reap.hosts() == {"www.example.org", "dev.www.example.org"}
    assert "2 errors" in reap.out


@pytest.mark.parametrize(
    "pages", [b"enabled: false\ncustom_domain: www.example.org\n", b"custom_domain: [\n", b"\xff", None]
)
def test_a_file_that_may_yet_name_them_keeps_them(reap: Reap, redis: Server, blog: Site, pages: bytes | None) -> None:
    of_blog(redis)
    if pages is None:
        blog.commit({f"public/{number}": b"x" for number in range(20)})
        reap.options = {"maxSiteFiles": 10}
    else:
        blog.commit({".pages": pages})
    assert reap() == 0
    assert reap.hosts() == {"www.example.org", "dev.www.example.org"}


def test_without_a_file_nothing_is_named(reap: Reap, redis: Server, blog: Site) -> None:
    of_blog(redis)
    blog.commit({".pages": None})
    assert reap() == 0
    assert reap.hosts() == set()


def test_a_name_that_is_reserved_by_now_is_the_proxies_affair(reap: Reap, redis: Server) -> None:
    registered(redis, "www.example.org", "alice", "blog")
    reap.options = {"reservedDomains": ["example.org"]}
    assert reap() == 0
    assert reap.hosts() == {"www.example.org"}


def test_what_the_operator_gave_is_his_and_nonsense_is_left(reap: Reap, redis: Server) -> None:
    redis.ask("SET", "custom_domain:by.hand.example", "alice:blog")
    redis.ask("SET", "custom_domain:vanished.hand.example", "alice:gone")
    redis.ask("SET", "custom_domain:nonsense.example", "a`) || HostRegexp(`.+")
    reap.options = {"releaseGrace": 0}
    assert reap(force=True) == 0
    assert reap.hosts() == {"by.hand.example", "vanished.hand.example", "nonsense.example"}
    assert "1 that cannot be read" in reap.out


def test_a_name_like_a_key_of_another_kind_frees_nothing_else(reap: Reap, redis: Server) -> None:
    # S1: a user called custom_domain whose repository is called as somebody's domain.
    of_blog(redis)
    redis.ask("SET", "custom_domain:attacker.example", "custom_domain:www.example.org")
    reap.options = {"releaseGrace": 0}
    assert reap(force=True) == 0
    assert redis.ask("GET", "custom_domain:www.example.org") == b"alice:blog"


def test_more_than_a_tenth_asks_for_force(reap: Reap, redis: Server) -> None:
    for number in range(6):
        registered(redis, f"gone{number}.example.org", "alice", f"gone{number}")
    reap.options = {"releaseGrace": 0}
    before = redis.ask("DBSIZE")
    assert reap() == 1
    assert "6 of 46" in reap.err
    assert "--force" in reap.err
    assert redis.ask("DBSIZE") == before
    assert reap(dry_run=True) == 0
    assert "--force" in reap.out
    assert redis.ask("DBSIZE") == before
    assert reap(dry_run=True, as_json=True) == 0
    told = json.loads(reap.out)
    assert (told["domains"], told["needs_force"], told["dry_run"], len(told["released"])) == (46, True, True, 6)
    assert redis.ask("DBSIZE") == before
    assert reap(force=True, as_json=True) == 0
    told = json.loads(reap.out)
    assert (told["needs_force"], told["dry_run"], told["errors"], told["reserved"]) == (False, False, [], [])
    assert {each["host"] for each in told["released"]} == {f"gone{number}.example.org" for number in range(6)}
    assert reap.hosts() == set()


def test_what_a_proxy_registers_during_the_pass_stays(reap: Reap, redis: Server, forge: Forge, blog: Site) -> None:
    of_blog(redis)
    blog.commit({".pages": b"enabled: true\n"})

    asked = threading.Event()

    def taken() -> None:  # by another site, while the forge is asked
        asked.wait(20)
        redis.ask("SET", "custom_domain:www.example.org", "bob:many")
        record = SiteDomains("alice", "blog", 1, (Claim("dev.www.example.org", "dev", NOW + 5),))
        redis.ask("SET", "~pages:domains:alice/blog", record_of(record))

    def wait(document: Any) -> Any:
        asked.set()
        return document

    with forge.fault(r"/repos/bob/many$", delay=0.5, document=wait):
        thread = threading.Thread(target=taken)
        thread.start()
        assert reap() == 0
        thread.join()
    assert redis.ask("GET", "custom_domain:www.example.org") == b"bob:many"
    assert redis.ask("GET", "custom_domain:dev.www.example.org") == b"alice:blog:dev"


def test_it_tells_a_wrong_set_up_from_trouble(reap: Reap, own_redis: Server, tmp_path: Path) -> None:
    reap.redis = own_redis
    own_redis.kill()
    assert reap() == 1
    assert "Redis does not answer" in reap.err
    reap.options = {"redisHost": ""}
    assert reap() == 1
    assert "redisHost" in reap.err
    path = tmp_path / "pages.yaml"
    path.write_text(json.dumps({"pagesDomain": "pages.test"}))
    assert main(["reap", "--config", str(path)]) == 1


def test_the_command_line_reaches_it(reap: Reap, redis: Server, tmp_path: Path) -> None:
    registered(redis, "gone.example.org", "alice", "gone")
    path = tmp_path / "pages.yaml"
    path.write_text(json.dumps(reap.mapping | {"releaseGrace": 0}))
    assert main(["reap", "--dry-run", "--config", str(path)]) == 0
    assert reap.hosts() == {"gone.example.org"}
    assert main(["reap", "--config", str(path)]) == 0
    assert reap.hosts() == set()


def test_a_forge_that_rations_its_answers_gets_its_time(reap: Reap, redis: Server, forge: Forge, blog: Site) -> None:
    of_blog(redis)
    blog.commit({".pages": b"enabled: true\n"})
    with forge.fault(r"/repos/", **TROUBLES["429"], times=2):
        assert reap() == 0
    assert reap.hosts() == set()


def test_an_interrupt_is_130_and_frees_nothing(reap: Reap, redis: Server, forge: Forge, tmp_path: Path) -> None:
    registered(redis, "gone.example.org", "alice", "gone")
    path = tmp_path / "pages.yaml"
    path.write_text(json.dumps(reap.mapping | {"releaseGrace": 0, "forgejoTimeout": "60s"}))
    with forge.fault(r"/repos/bob/many$", hang=True):
        command = [sys.executable, "-m", "addon.commands.cli", "reap", "--config", str(path)]
        # Who runs the tests in the background may have SIGINT ignored, which is handed down.
        interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, preexec_fn=interruptible) as process:
            wait_until(lambda: forge.count(r"/repos/bob/many$"), "a question to the forge")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert reap.hosts() == {"gone.example.org"}


class Terminal:
    """Standard error as a terminal has it."""

    def __init__(self, tty: bool) -> None:
        self.written = ""
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        """All is written."""


@pytest.mark.parametrize("tty", [True, False])
def test_the_bar_is_for_terminals(tty: bool) -> None:
    terminal: Any = Terminal(tty)
    progress = Progress(4, terminal, clock=iter(range(100)).__next__)
    for _ in range(4):
        progress.step()
    assert ("4/4 sites" in terminal.written) is tty
    assert (f"[{'#' * 30}]" in terminal.written) is tty
    progress.end()
    assert terminal.written.endswith("\r" if tty else "")

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages domains` over a real Valkey and Redis, some of which the Traefik plugin has filled."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from addon.commands.cli import main
from addon.shared.domain_records import Claim, SiteDomains, record_of
from tests.addon.conftest import ONE_KIND
from tests.config.traefik_reading import PLUGIN_REDIS, fill, routers
from tests.resp.servers import Server

SERVICE_URL = "http://127.0.0.1:8080"
PLUGINS_HOSTS = {
    "blog.example.org\talice/blog\tsite",
    "dev.blog.example.org\talice/blog@dev\tsite",
    "feature-x.blog.example.org\talice/blog@feature/x\tsite",
    "redir.example.org\talice/redir\tsite",
}


class Command:
    """`pages domains` with a settings file; what it printed last."""

    def __init__(self, folder: Path, redis: Server, capsys: pytest.CaptureFixture[str]) -> None:
        self.redis = redis
        self._folder = folder
        self._capsys = capsys
        self.options: dict[str, object] = {}
        self.out = self.err = ""

    @property
    def config(self) -> str:
        path = self._folder / "pages.yaml"
        options = {
            "pagesDomain": "pages.test",
            "forgejoHost": "https://git.example.org",
            "redisHost": self.redis.host,
            "redisPort": self.redis.port,
            "stateDir": str(self._folder),
        }
        path.write_text(json.dumps(options | self.options))
        return str(path)

    def __call__(self, *words: str) -> int:
        code = main(["domains", *words, "--config", self.config])
        self.out, self.err = self._capsys.readouterr()
        return code

    def stored(self) -> set[str]:
        found = self.redis.ask("KEYS", "*")
        assert isinstance(found, list)
        return {key.decode() for key in found if isinstance(key, bytes)}


@pytest.fixture
def domains(tmp_path: Path, redis: Server, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, redis, capsys)


def test_the_plugins_domains_are_listed_with_what_is_the_operators(domains: Command, redis: Server) -> None:
    fill(redis)
    redis.ask("SET", "custom_domain:by.hand.example", "bob:site")
    redis.ask("SET", "custom_domain:broken.example", "a`) || HostRegexp(`.+")
    assert domains("list") == 0
    rows = set(domains.out.splitlines())
    assert rows == PLUGINS_HOSTS | {"by.hand.example\tbob/site\toperator", "broken.example\t(cannot be read)\t-"}
    assert domains("list", "Alice/Blog") == 0
    assert sorted(line.split("\t")[1] for line in domains.out.splitlines()) == [
        "alice/blog",
        "alice/blog@dev",
        "alice/blog@feature/x",
    ]


def test_what_is_in_a_sites_record_is_the_sites(domains: Command, redis: Server) -> None:
    for name, gone in (("here", None), ("away", 1000.0)):
        redis.ask("SET", f"custom_domain:{name}.example", f"alice:{name}")
        record = SiteDomains("alice", name, 7, (Claim(f"{name}.example", None, 5.0),), gone)
        redis.ask("SET", f"~pages:domains:alice/{name}", record_of(record))
    assert domains("list") == 0
    assert set(domains.out.splitlines()) == {"here.example\talice/here\tsite", "away.example\talice/away\tgone"}


def test_an_operators_mapping_comes_with_its_router_and_without_a_reverse_key(domains: Command, redis: Server) -> None:
    domains.options = {"traefikServiceURL": SERVICE_URL}
    assert domains("add", "WWW.Example.NET.", "Alice/Blog@feature/x") == 0
    assert "www.example.net shows Alice/Blog@feature/x" in domains.out
    assert redis.ask("GET", "custom_domain:www.example.net") == b"Alice:Blog:feature/x"
    assert {key for key in domains.stored() if not key.startswith("traefik/")} == {"custom_domain:www.example.net"}
    (router,) = routers(redis).values()
    assert (router.hosts, router.url) == (["www.example.net"], SERVICE_URL)
    assert domains("add", "www.example.net", "alice/blog@feature/x") == 0
    assert "already" in domains.out
    assert domains("list") == 0
    assert domains.out == "www.example.net\tAlice/Blog@feature/x\toperator\n"


def test_programs_are_told_the_same_in_json(domains: Command) -> None:
    domains.options = {"traefikServiceURL": SERVICE_URL}
    added = {"host": "www.example.net", "site": "alice/blog", "added": True}
    for words, told in (
        (("add", "www.example.net", "alice/blog"), added),
        (("add", "www.example.net", "alice/blog"), added | {"added": False}),
        (("list",), {"host": "www.example.net", "site": "alice/blog", "set_by": "operator"}),
        (("sync",), {"with_router": 1, "without": 0}),
        (("release", "www.example.net"), {"released": ["www.example.net"]}),
    ):
        assert domains(*words, "--json") == 0
        assert json.loads(domains.out) == told


def test_nobodys_domain_is_taken_from_him_by_adding(domains: Command, redis: Server) -> None:
    fill(redis)
    assert domains("add", "blog.example.org", "mallory/site") == 1
    assert "alice/blog" in domains.err
    assert "release" in domains.err
    assert redis.ask("GET", "custom_domain:blog.example.org") == b"alice:blog"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("a`) || HostRegexp(`.+", "host name"),
        ("attacker:evil", "host name"),
        ("127.0.0.1", "host name"),
        ("localhost", "dot"),
        ("co.uk", "public suffix"),
        ("bob.pages.test", "pages server"),
        ("pages.test", "pages server"),
        ("git.example.org", "forge"),
    ],
)
def test_a_name_that_cannot_be_a_sites_is_refused_and_never_written(domains: Command, host: str, said: str) -> None:
    assert domains("add", host, "alice/blog") == 1
    assert said in domains.err
    assert domains.stored() == set()


def test_reserved_domains_are_the_operators_to_give(domains: Command, redis: Server) -> None:
    domains.options = {"reservedDomains": ["example.com"]}
    assert domains("add", "docs.example.com", "alice/docs") == 0
    assert redis.ask("GET", "custom_domain:docs.example.com") == b"alice:docs"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["add"],
        ["add", "www.example.net"],
        ["add", "www.example.net", "alice"],
        ["add", "www.example.net", "al:ice/blog"],
        ["add", "www.example.net", "alice/blog@"],
        ["add", "www.example.net", "alice/blog@a..b"],
        ["release"],
        ["steal", "www.example.net"],
    ],
)
def test_a_wrong_command_line_is_2(domains: Command, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        domains(*words)
    assert ended.value.code == 2
    assert domains.stored() == set()


def test_nothing_is_left_of_a_released_domain(domains: Command, redis: Server) -> None:
    fill(redis)
    assert domains("release", "blog.example.org") == 0
    assert set(domains.out.splitlines()) == {
        f"{host} is free" for host in ("blog.example.org", "dev.blog.example.org", "feature-x.blog.example.org")
    }
    contents = {"alice:blog::public", "alice:blog::public/index.html", "alice:blog:dev:public/index.html"}
    contents |= {"alice:blog:feature/x:public/index.html", "password:alice:blog"}  # they expire by themselves
    assert {key for key in domains.stored() if "blog" in key} == contents
    assert "custom_domain:redir.example.org" in domains.stored()


def test_what_was_set_by_hand_and_what_cannot_be_read_is_released_too(domains: Command, redis: Server) -> None:
    redis.ask("SET", "custom_domain:by.hand.example", "bob:site")
    redis.ask("SET", "custom_domain:broken.example", "nonsense")
    assert domains("release", "By.Hand.Example") == 0
    assert domains("release", "broken.example") == 0
    assert domains.stored() == set()
    assert domains("release", "broken.example") == 1
    assert "nobody has broken.example" in domains.err


def test_sync_turns_the_plugins_routers_over_and_removes_orphans(domains: Command, redis: Server) -> None:
    fill(redis)
    domains.options = {"traefikServiceURL": SERVICE_URL}
    redis.ask("DEL", "custom_domain:dev.blog.example.org")
    redis.ask("SET", "custom_domain:new.example.net", "bob:site")
    redis.ask("SET", "custom_domain:bad`.example.net", "bob:site")
    redis.ask("SET", "custom_domain:broken.example.net", "nonsense")
    redis.ask("SET", "traefik/http/routers/others/rule", "Host(`others.example.com`)")
    assert domains("sync") == 0
    redis.ask("DEL", "traefik/http/routers/others/rule")
    found = routers(redis)
    assert {router.hosts[0] for router in found.values()} == {
        "blog.example.org",
        "feature-x.blog.example.org",
        "redir.example.org",
        "new.example.net",
        "pages.test",
    }
    assert {router.url for router in found.values()} == {SERVICE_URL}
    assert found["custom-redir-example-org"].middlewares == []  # its rules are answered here now


def test_sync_writes_nothing_that_is_there_already(domains: Command, redis: Server) -> None:
    fill(redis)
    assert domains("sync") == 0, "as the plugin wrote it"
    with redis.console() as console:
        before = {row["key"]: row["value"].encode() for row in map(json.loads, PLUGIN_REDIS.read_text().splitlines())}
        assert {key: console.ask("GET", key) for key in before} == before
    written = redis.info("total_commands_processed")
    assert domains("sync") == 0
    assert redis.info("total_commands_processed") > written
    assert "4 hosts" in domains.out


def test_sync_without_traefik_says_so(domains: Command) -> None:
    domains.options = {"traefikRedisRouterEnabled": False}
    assert domains("sync") == 1
    assert "traefikRedisRouterEnabled" in domains.err


@pytest.mark.parametrize("words", [["list"], ["add", "www.example.net", "a/b"], ["release", "x.example"], ["sync"]])
def test_redis_being_away_or_not_there_is_said(domains: Command, own_redis: Server, words: list[str]) -> None:
    domains.redis = own_redis
    own_redis.kill()
    assert domains(*words) == 1
    assert "Redis does not answer" in domains.err
    domains.options = {"redisHost": ""}
    assert domains(*words) == 1
    assert "redisHost" in domains.err


@ONE_KIND
def test_a_hundred_thousand_domains_are_listed_as_they_come(domains: Command, own_redis: Server) -> None:
    domains.redis = own_redis
    own_redis.ask("EVAL", FILL, 0)
    command = [sys.executable, "-m", "addon.commands.cli", "domains", "list", "--config", domains.config]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        first_after = time.monotonic() - began
        rest = sum(1 for _ in process.stdout)
        whole = time.monotonic() - began
    assert process.returncode == 0
    assert first.startswith(b"d")
    assert rest == 99_999
    assert first_after < whole / 2, "the first line does not wait for the last"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""


FILL = "for i = 1, 100000 do redis.call('SET', 'custom_domain:d' .. i .. '.example.org', 'u' .. i .. ':site') end"


def test_the_mapping_of_a_site_argument_is_what_it_says() -> None:
    from addon.commands.arguments import site
    from addon.commands.domains import named

    for text in ("alice/blog", "alice/.profile", "alice/blog@dev", "alice/blog@feature/x@y"):
        assert named(site(text)) == text

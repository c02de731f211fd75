# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages doctor` at real servers, well and unwell."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.commands.cli import main
from addon.preview.forge import Forge
from addon.preview.settings import Application, Token
from addon.settings.addresses import ListenAddress
from addon.settings.file_checks import unlistenable
from tests.addon.preview.running import TOKENS
from tests.integration.running import running_proxy, write_config
from tests.ports import free_port
from tests.resp.old_server import start_old_server
from tests.resp.servers import Server, start_valkey


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with start_valkey() as server:
        yield server


class Patient:
    """A settings file, and what the doctor says of it: its exit code, and its lines."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capsys = capsys

    def looked_at(self, forgejo: str, **options: Any) -> tuple[int, list[str]]:
        config = write_config(self._folder, forgejo, options.pop("port", None) or free_port(), **options)
        code = main(["doctor", "--config", str(config)])
        return code, self._capsys.readouterr().out.splitlines()


@pytest.fixture
def patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Patient:
    return Patient(tmp_path, capsys)


def bad(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("FAIL")]


def test_a_deployment_that_is_well(patient: Patient, forge: Forge, redis: Server, tmp_path: Path) -> None:
    port, admin = free_port(), f"127.0.0.1:{free_port()}"
    options = {"redisHost": redis.host, "redisPort": redis.port, "adminListen": admin}
    with running_proxy(tmp_path / "proxy", forge.url, port=port, **options):
        code, lines = patient.looked_at(forge.url, port=port, forgejoToken=TOKENS["alice"], **options)
    assert (code, bad(lines)) == (0, [])
    text = "\n".join(lines)
    for part in (
        "answers, version 16",
        "forgejoToken: is good",
        "answers, Valkey 9",
        "read back on another connection",
        "tells of changes at once",
        "maxmemory-policy is noeviction",
        "the pages server answers",
        f"adminListen {admin}: answers",
    ):
        assert part in text, part
    assert TOKENS["alice"] not in text
    assert redis.ask("KEYS", "~pages:doctor:*") == []


def test_a_name_to_listen_on_is_looked_up(patient: Patient, forge: Forge, tmp_path: Path) -> None:
    port, admin = free_port(), f"localhost:{free_port()}"
    with running_proxy(tmp_path / "proxy", forge.url, port=port, adminListen=admin):
        code, lines = patient.looked_at(forge.url, port=port, adminListen=admin)
    assert (code, bad(lines)) == (0, [])
    assert f"ok    adminListen {admin}: answers" in lines


def test_a_redis_that_does_not_tell_of_changes(patient: Patient, forge: Forge) -> None:
    with start_old_server() as redis:
        code, lines = patient.looked_at(forge.url, redisHost="127.0.0.1", redisPort=redis.port)
    assert (code, bad(lines)) == (0, [])
    assert any(line.startswith("note") and "does not tell of changes" in line for line in lines)


def test_without_a_running_server_nothing_is_wrong_yet(patient: Patient, forge: Forge) -> None:
    code, lines = patient.looked_at(forge.url)
    assert (code, bad(lines)) == (0, [])
    assert any("nobody listens there" in line for line in lines)
    assert any("memory is the only cache" in line for line in lines)


@pytest.mark.parametrize(
    ("token", "said"),
    [("f" * 40, "Forgejo does not know it"), (TOKENS["noscope"], "read:repository")],
)
def test_a_token_that_is_no_good(token: str, said: str, patient: Patient, forge: Forge) -> None:
    code, lines = patient.looked_at(forge.url, forgejoToken=token)
    assert code == 1
    assert said in bad(lines)[0]
    assert token not in "\n".join(lines)


def test_previews_need_a_wildcard_and_a_token_that_forgejo_knows(patient: Patient, forge: Forge) -> None:
    options = {"previewDomain": "preview.test", "forgejoToken": TOKENS["alice"]}
    code, lines = patient.looked_at(forge.url, **options, previewToken="0" * 40)
    assert code == 1
    assert [line for line in bad(lines) if "previewToken: Forgejo does not know it" in line]
    _, lines = patient.looked_at(forge.url, **options, previewToken=TOKENS["bob"])
    assert not [line for line in bad(lines) if "previewToken" in line]
    text = "\n".join(lines)
    assert "previewToken: Forgejo knows it" in text
    assert "*.preview.test: has no address" in text
    assert TOKENS["bob"] not in text
    assert "forgejoToken: it lacks the scope read:issue" in text
    forge.tokens["e5" * 20] = Token("alice", frozenset({"read:repository", "read:issue"}))
    code, lines = patient.looked_at(forge.url, previewDomain="preview.test", forgejoToken="e5" * 20)
    assert (code, "read:issue" in "\n".join(lines)) == (0, False)


def test_a_forgejo_that_is_not_there_or_is_something_else(patient: Patient, forge: Forge, tmp_path: Path) -> None:
    code, lines = patient.looked_at("http://127.0.0.1:1")
    assert code == 1
    assert "no answer" in bad(lines)[0]
    with running_proxy(tmp_path / "proxy", forge.url) as proxy:
        code, lines = patient.looked_at(f"http://127.0.0.1:{proxy.port}")
    assert code == 1
    assert "that is a pages server" in bad(lines)[0]
    with forge.fault("version", status=502):
        code, lines = patient.looked_at(forge.url)
    assert code == 1
    assert "its API answers 502" in bad(lines)[0]


def test_the_advice_for_webhooks_leaves_those_of_others_working(patient: Patient, forge: Forge) -> None:
    code, lines = patient.looked_at(forge.url, pagesDomain="localhost.localdomain", webhookSecret="s" * 20)
    if any("webhook: Forgejo calls" in line for line in lines):  # the name is not this machine's here
        code, lines = patient.looked_at(forge.url, pagesDomain="localhost", webhookSecret="s" * 20)
    assert any("ALLOWED_HOST_LIST = external, localhost" in line for line in lines), (code, lines)


def test_private_repositories_need_a_token_that_sees_them(patient: Patient, forge: Forge) -> None:
    code, lines = patient.looked_at(forge.url, servePrivateRepositories=True)
    assert code == 1
    assert "servePrivateRepositories: needs forgejoToken" in bad(lines)[0]
    code, lines = patient.looked_at(forge.url, servePrivateRepositories=True, forgejoToken=TOKENS["alice"])
    assert bad(lines) == []


def test_the_application_for_members_is_told_and_tried(patient: Patient, forge: Forge) -> None:
    callback = "https://pages.test/.pages/login/callback"
    code, lines = patient.looked_at(forge.url)
    told = next(line for line in lines if "access: members" in line)
    assert (code, told.startswith("note"), callback in told) == (0, True, True)
    forge.applications["right"] = Application("right", "gto_right", (callback,))
    forge.applications["elsewhere"] = Application("elsewhere", "gto_right", ("https://pages.test/callback",))
    cases = [
        ("right", "gto_right", 0, "are good"),
        ("right", "gto_wrong", 1, "oauthClientSecret is not the application's"),
        ("unknown", "gto_right", 1, "knows no application"),
        ("elsewhere", "gto_right", 1, "another redirect URI"),
    ]
    for client, secret, code, says in cases:
        found, lines = patient.looked_at(forge.url, oauthClientId=client, oauthClientSecret=secret)
        text = "\n".join(line for line in lines if "access: members" in line)
        assert (found, says in text) == (code, True), text
        assert "gto_" not in "\n".join(lines)
    with forge.fault("openid-configuration", status=404):
        found, lines = patient.looked_at(forge.url, oauthClientId="right", oauthClientSecret="gto_right")
        assert (found, "is OAuth2 on" in "\n".join(bad(lines))) == (1, True)


def test_forgejos_own_name_for_itself_is_compared(patient: Patient, forge: Forge) -> None:
    code, lines = patient.looked_at(forge.url, forgejoPublicHost="git.elsewhere.test")
    assert code == 1
    assert "forgejoPublicHost: is git.elsewhere.test, and Forgejo calls itself 127.0.0.1" in bad(lines)[0]
    assert any("git.elsewhere.test has no address in DNS" in line for line in lines)


def test_an_address_that_is_not_this_machines_is_told_before_the_start(
    patient: Patient, forge: Forge, tmp_path: Path
) -> None:
    code, lines = patient.looked_at(forge.url, listen="192.0.2.1:8080")
    assert code == 1
    assert "listen 192.0.2.1:8080: this machine cannot listen there" in bad(lines)[0]


def test_a_privileged_port_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", refused)
    said = unlistenable(ListenAddress("127.0.0.1", 443))
    assert "CAP_NET_BIND_SERVICE" in said
    assert "ip_unprivileged_port_start" in said


def test_findings_can_be_read_by_programs(tmp_path: Path, forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, forge.url, free_port())
    assert main(["doctor", "--json", str(config)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"level", "about", "text"} == set(told[0])
    assert {each["level"] for each in told} <= {"ok", "note"}


def test_a_redis_that_evicts_domains(patient: Patient, forge: Forge, redis: Server) -> None:
    redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        code, lines = patient.looked_at(forge.url, redisHost=redis.host, redisPort=redis.port)
    finally:
        redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert code == 1
    assert "allkeys-lru, which drops domain mappings" in bad(lines)[0]


def test_a_redis_that_is_away(patient: Patient, forge: Forge) -> None:
    code, lines = patient.looked_at(forge.url, redisHost="127.0.0.1", redisPort=1)
    assert code == 1
    assert "no answer" in bad(lines)[0]


def test_a_redis_that_wants_another_password(patient: Patient, forge: Forge) -> None:
    with start_valkey(password="right") as redis:
        for password in ({}, {"redisPassword": "wr0ng"}):
            code, lines = patient.looked_at(forge.url, redisHost=redis.host, redisPort=redis.port, **password)
            assert code == 1
            assert "look at redisUsername and redisPassword" in bad(lines)[0]
            assert "wr0ng" not in "\n".join(lines)


def test_a_redis_that_takes_no_writes(patient: Patient, forge: Forge) -> None:
    with start_valkey() as redis:
        redis.ask("REPLICAOF", "127.0.0.1", "1")
        code, lines = patient.looked_at(forge.url, redisHost=redis.host, redisPort=redis.port)
    assert code == 1
    assert any("it takes no writes" in line for line in bad(lines)), lines

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Where values come from besides the file, and that no message, repr or pickle gives a secret away."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from addon.settings.schema import Secret, load
from tests.addon.settings.settings_cases import HOME, OPTIONS, REQUIRED_YAML, loaded, made, problems, refusal


def test_the_environment_stands_in_for_any_value() -> None:
    environ = {**HOME, "DOMAIN": "example.org", "PORT": "6380", "PROXIES": "10.0.0.1, 10.0.0.2", "A": "${PORT}"}
    settings = made(pagesDomain="pages.${DOMAIN}", redisPort="${PORT}", trustedProxies="${PROXIES}", environ=environ)
    assert (settings.pages_domain, settings.redis_port) == ("pages.example.org", 6380)
    assert len(settings.trusted_proxies) == 2
    assert made(traefikRedisRootKey="$${A}$B", environ=environ).traefik_redis_root_key == "${A}$B"
    assert made(traefikRedisRootKey="${A}", environ=environ).traefik_redis_root_key == "${PORT}"


@pytest.mark.parametrize("value", ["${", "${}", "${A", "${1A}", "${A-B}", "x${ A }"])
def test_a_malformed_variable_is_refused(value: str) -> None:
    assert "expected ${NAME}" in refusal(traefikRedisRootKey=value, environ={**HOME, "A": "a"})


def test_a_missing_variable_is_named() -> None:
    assert refusal(redisHost="${REDIS_HOST}") == "settings: redisHost: the environment variable REDIS_HOST is not set"
    assert "FORGEJO_TOKEN is not set" in refusal(forgejoToken="${FORGEJO_TOKEN}")


SECRETS = [name for name, (_, row) in OPTIONS.items() if row.kind == "secret"]
CONTENT = "redis://:hunter2@h/0"  # good for every secret


def test_the_secrets_are_these() -> None:
    expected = (
        "forgejoToken oauthClientSecret redisPassword authSecretKey webhookSecret adminToken domainProofKey redisURL"
    )
    assert set(SECRETS) == {*expected.split(), "redisSentinelPassword", "previewToken"}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("how", ["value", "variable", "inside", "file", "file named by a variable"])
def test_a_secret_comes_from_the_settings_the_environment_or_a_file(name: str, how: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{CONTENT}\r\n\n")
    environ = {**HOME, "X": f"{CONTENT}\n", "PW": "hunter2", "WHERE": "secret"}
    line = {
        "value": f"{name}: {CONTENT}",
        "variable": f"{name}: ${{X}}",
        "inside": f"{name}: redis://:${{PW}}@h/0",
        "file": f"{name}File: secret",
        "file named by a variable": f"{name}File: ./${{WHERE}}",
    }[how]
    settings = loaded(tmp_path, REQUIRED_YAML + line, environ)
    found = getattr(settings, OPTIONS[name][0])
    assert found.reveal() == CONTENT
    assert "hunter2" not in f"{settings!r} {settings} {found!r} {found} {found:>40} {[found]}"


def test_a_token_of_digits_stays_as_it_was_written(tmp_path: Path) -> None:
    for text in ("0123", "1e5", "0x1F", "1_000", "yes", "2001-01-01", "1.50"):
        token = loaded(tmp_path, f"{REQUIRED_YAML}forgejoToken: {text}").forgejo_token
        assert token is not None
        assert token.reveal() == text


def test_a_secret_has_no_other_way_out_than_reveal() -> None:
    secret = Secret("hunter2")
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"
    assert len({secret, Secret("hunter2")}) == 1
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)
    assert replace(made(forgejoToken="t"), workers=3).forgejo_token == Secret("t")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("forgejoToken: a\nforgejoTokenFile: good", "is given beside forgejoToken: keep one of the two"),
        ("forgejoTokenFile: hunter2", "No such file or directory in "),
        ("forgejoTokenFile: /hunter2", "No such file or directory"),
        ("forgejoTokenFile: hunter2/hunter2", "No such file or directory in "),
        ("forgejoTokenFile: /nowhere/hunter2", "No such file or directory"),
        ("forgejoTokenFile: .", "Is a directory"),
        ("forgejoTokenFile: empty", "it is empty"),
        ("forgejoTokenFile: large", "it is larger than 64 KiB"),
        ("forgejoTokenFile: binary", "UTF-8"),
        ("forgejoTokenFile: two", "visible ASCII"),
        ('forgejoTokenFile: "hunter2\\0"', "UTF-8"),
        ("forgejoTokenFile: [hunter2]", "found a list"),
        ("forgejoToken: [hunter2]", "found a list"),
        ("forgejoToken: hunter2 hunter2", "visible ASCII"),
        ("forgejoToken: hünter2", "visible ASCII"),
        ('redisPassword: "hunter2\\nx"', "control characters"),
        ("redisPassword: ${hunter2}", "its environment variable is not set"),
        ("redisPassword: ${hunter2", "expected ${NAME}"),
        ("redisURL: http://hunter2", "redis://"),
        ("redisHost: redis://:hunter2@host", "expected a host name"),
        ("forgejoHost: https://hunter2@host", "no user name"),
        ("forgejoHost: https://me:h/unter2@host", "no user name"),
        ("redisPort: ${SECRET}", "found the content of '${SECRET}'"),
        ("forgejoHost: ${SECRET}", "found the content of '${SECRET}'"),
        ("forgejoTokn: hunter2", "did you mean forgejoToken?"),
        ("forgejoToken: !vault hunter2", "a YAML tag that means nothing here"),
        ("forgejoToken: *hunter2", "undefined alias"),
        ("forgejoToken: 'hunter2", "is not valid YAML"),
        ("forgejoToken: a: hunter2", "a colon too many"),
        ("forgejoToken: @hunter2", "must be in quotes"),
        ("hunter2", "is not valid YAML"),
    ],
)
def test_what_may_be_a_secret_is_in_no_message(lines: str, says: str, tmp_path: Path) -> None:
    for name, content in {
        "good": b"t",
        "empty": b"\n",
        "large": b"x" * 70_000,
        "binary": b"\xff",
        "two": b"a\nb",
    }.items():
        (tmp_path / name).write_bytes(content)
    text = REQUIRED_YAML if not lines.startswith("forgejoHost") else "pagesDomain: pages.example.org\n"
    (message, *others) = problems(tmp_path, text + lines, {**HOME, "SECRET": "hunter2"})
    assert says in message
    assert "unter2" not in message
    assert not others


@pytest.mark.parametrize(
    ("text", "where"), [("secrets/token", "{}/secrets/token"), ("{}/secrets/token",) * 2, ("{}", "{}")]
)
def test_a_file_that_cannot_be_read_is_named_where_it_can_be_no_secret(text: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (message,) = problems(tmp_path, f"{REQUIRED_YAML}forgejoTokenFile: {text.format(tmp_path)}", HOME)
    assert message.endswith(where.format(tmp_path))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o600])
def test_a_settings_file_with_a_secret_that_everybody_can_read_is_remarked(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "pages.yaml"
    for lines, names in (
        ("forgejoToken: hunter2\nadminToken: hunter2\n", "adminToken and forgejoToken"),
        ("webhookSecret: hunter2\n", "webhookSecret"),
        ("forgejoToken: ${TOKEN}\n", ""),
        ("redisHost: localhost\n", ""),
    ):
        path.write_text(REQUIRED_YAML + lines)
        path.chmod(mode)
        environ = {**HOME, "TOKEN": "hunter2"}
        for text in (None, path.read_bytes()):  # a process reads it, others are given what it read
            warnings = load(path, environ=environ, text=text).warnings
            found = [each for each in warnings if "everybody on this machine can read this file" in each]
            assert len(found) == (mode == 0o644 and names != "")
            assert all(
                set(names.split(" and ")) == set(each.split("with it ")[1].split(";")[0].split(" and "))
                for each in found
            )
            assert "hunter2" not in str(warnings)

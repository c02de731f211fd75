# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages init`: what it writes can be used as it is."""

from pathlib import Path

import pytest

from addon.commands.cli import main, parser
from addon.commands.init import init_command
from addon.settings.schema import load

ENVIRONMENT = {"STATE_DIRECTORY": "/"}
ANSWERS = ("--pages-domain", "pages.home.test", "--forgejo", "http://127.0.0.1:3000", "--redis", "")


def test_three_answers_make_a_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["pages.home.test", "", "redis.home.test"])
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return next(answers)

    assert init_command(parser().parse_args(["init", str(tmp_path / "new")]), ask) == 0
    assert len(asked) == 3
    settings = load(tmp_path / "new" / "pages.yaml", environ=ENVIRONMENT)
    assert settings.pages_domain == "pages.home.test"
    assert settings.forgejo_host == "http://127.0.0.1:3000"
    assert settings.redis_host == "redis.home.test"
    assert "Next: pages check" in capsys.readouterr().out
    text = (tmp_path / "new" / "pages.yaml").read_text()
    assert "#memoryCacheSize: 256MiB" in text  # all options are there, explained


@pytest.mark.parametrize(
    ("option", "files"),
    [
        ("--caddy", {"Caddyfile"}),
        ("--nginx", {"pages.conf", "pages-proxy.inc"}),
        ("--traefik", {"traefik.yml", "pages.yml"}),
        ("--systemd", {"forgejo-pages.service"}),
        ("--compose", {"compose.yaml", "Caddyfile", "Containerfile"}),
    ],
)
def test_files_for_the_programs_around_it_are_filled_in(tmp_path: Path, option: str, files: set[str]) -> None:
    assert main(["init", str(tmp_path), *ANSWERS, option]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"pages.yaml", *files}
    settings = load(tmp_path / "pages.yaml", environ=ENVIRONMENT)
    for name in files:
        assert "pages.example.org" not in (tmp_path / name).read_text()
    if "Caddyfile" in files:  # which asks there
        assert [str(address) for address in settings.admin_listen] == ["127.0.0.1:8081"]
    if option == "--traefik":
        assert settings.redis_host == "127.0.0.1"
        assert settings.traefik_service_url == "http://127.0.0.1:8080"
        assert r"pages\.home\.test" in (tmp_path / "pages.yml").read_text()
    if option == "--compose":
        assert settings.redis_host == "valkey"


def test_with_a_domain_for_previews_their_lines_are_in_use_and_all_others_are_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--caddy", "--nginx", "--traefik", "--systemd", "--compose")
    domain = "pre-view.home.test"
    assert main(["init", str(tmp_path / "without"), *ANSWERS, *files]) == 0
    assert main(["init", str(tmp_path / "with"), *ANSWERS, *files, "--preview-domain", domain]) == 0
    assert "and that for previews" in capsys.readouterr().out
    assert load(tmp_path / "with" / "pages.yaml", environ=ENVIRONMENT).preview_domain == domain
    used = {}
    for before in sorted((tmp_path / "without").iterdir()):
        old, new = before.read_text().splitlines(), (tmp_path / "with" / before.name).read_text().splitlines()
        assert len(old) == len(new)
        used[before.name] = [line for was, line in zip(old, new) if was != line]
        for was, line in zip(old, new):
            plain = was.replace("preview.example.net", domain).replace(
                r"preview\.example\.net", r"pre-view\.home\.test"
            )
            assert line in (was, plain, plain.replace("#", "", 1)) or before.name == "pages.yaml"
        if before.name != "pages.yaml":
            assert not any("preview.example.net" in line for line in new), before.name
    assert {name: len(lines) for name, lines in used.items() if lines} == {
        "Caddyfile": 3,
        "compose.yaml": 1,
        "pages.conf": 23,
        "pages.yaml": 1,
        "pages.yml": 8,
    }
    assert r"    previews:|      rule: HostRegexp(`^[a-z0-9-]+\.pre-view\.home\.test$`)" in "|".join(used["pages.yml"])
    assert main(["init", str(tmp_path / "wrong"), *ANSWERS, "--preview-domain", "a.pages.home.test"]) == 1
    assert "previewDomain" in capsys.readouterr().err


def test_nothing_is_overwritten_unless_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Caddyfile").write_text("mine")
    assert main(["init", str(tmp_path), *ANSWERS, "--caddy"]) == 1
    assert "Caddyfile: already there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["Caddyfile"]
    assert main(["init", str(tmp_path), *ANSWERS, "--caddy", "--force"]) == 0


@pytest.mark.parametrize(
    ("domain", "forgejo", "named"),
    [
        ("not a domain", "http://127.0.0.1:3000", "pagesDomain"),
        ("pages.home.test", "ftp://x", "forgejoHost"),
        ("", "http://127.0.0.1:3000", "pagesDomain"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], domain: str, forgejo: str, named: str
) -> None:
    assert main(["init", str(tmp_path), "--pages-domain", domain, "--forgejo", forgejo, "--redis", ""]) == 1
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages domains verify`: what somebody who has just edited a zone is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from addon.commands.cli import main
from addon.preview.forge import Forge
from tests.addon.domains.name_server import NameServer
from tests.addon.preview.sites import Site

HOST = "www.example.org"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Site(tmp_path / "forge" / "Alice" / "Blog.git", {".pages": b"custom_domain: www.example.org\n"})
    return tmp_path / "forge"


@pytest.fixture
def config(tmp_path: Path, forge: Forge, names: NameServer) -> Path:
    path = tmp_path / "pages.yaml"
    path.write_text(
        f"pagesDomain: pages.test\nforgejoHost: {forge.url}\nstateDir: {tmp_path}\n"
        f"enableCustomDomainDNSVerification: true\ndnsResolvers: ['{names.address}']\n"
    )
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = main(["domains", "verify", *map(str, arguments)])
    read = capsys.readouterr()
    return code, read.out + read.err


def test_the_record_that_is_printed_is_the_one_that_proves(
    config: Path, names: NameServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = told(capsys, HOST, "alice/blog", "--config", config)
    assert code == 1
    found = re.findall(r'^  (\S+)\. IN TXT "(.+)"$', text, re.M)
    assert [place for place, _ in found] == [f"_pages-verification.{HOST}", HOST]
    for place, value in found:
        names.txt(place, value)
        code, text = told(capsys, HOST, "alice/blog", "--config", config)
        assert (code, text) == (0, f"{HOST} is proven to be Alice/Blog’s: TXT at {place}\n")
        names.txt(place)


def test_without_a_site_it_says_whom_the_host_names(
    config: Path, names: NameServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = told(capsys, HOST, "--config", config)
    assert code == 1
    assert f"{HOST} names no site" in text
    names.txt(f"_pages.{HOST}", "alice/blog")
    code, text = told(capsys, HOST, "--config", config)
    assert f"{HOST} names alice/blog" in text
    assert "is not proven to be Alice/Blog’s" in text


def test_programs_are_told_the_same_in_json(
    config: Path, names: NameServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*words: str) -> tuple[int, dict[str, Any]]:
        code, text = told(capsys, HOST, *words, "--json", "--config", config)
        return code, json.loads(text)

    assert asked() == (1, {"host": HOST, "ok": False, "names": [], "sites": []})
    code, found = asked("alice/blog")
    (site,) = found["sites"]
    assert (code, site["site"], site["ok"], site["proven"], len(site["missing"])) == (1, "Alice/Blog", False, False, 2)
    place, value = re.findall(r'^(\S+)\. IN TXT "(.+)"$', site["missing"][0])[0]
    names.txt(place, value)
    code, found = asked("alice/blog")
    assert (code, found["ok"], found["sites"][0]["proven"]) == (0, True, True)
    code, found = asked("alice/nothing")
    assert (code, found["ok"]) == (1, False)
    assert "Forgejo" in found["sites"][0]["trouble"]


@pytest.mark.parametrize("host", ["pages.test", "localhost", "1.2.3.4", "co.uk"])
def test_a_name_that_no_site_may_have_is_said_to_be_one(
    host: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = told(capsys, host, "alice/blog", "--config", config)
    assert code == 1
    assert text.startswith(f"pages domains verify: {host}")


def test_silence_is_said_to_be_silence(config: Path, names: NameServer, capsys: pytest.CaptureFixture[str]) -> None:
    names.trouble["*"] = "servfail"
    code, text = told(capsys, HOST, "alice/blog", "--config", config)
    assert code == 1
    assert "DNS does not answer" in text

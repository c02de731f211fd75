# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `pages doctor` says of versions with advisories, and of settings that leave a door ajar."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from addon.commands.security import ADVISORIES, Advisory, security_notes
from addon.settings.schema import Settings

ONE = (Advisory("h2", "4.3.0", "CVE-2025-57804", "request splitting"),)


def settings(**options: object) -> Settings:
    mapping = {"pagesDomain": "pages.example.org", "forgejoHost": "http://127.0.0.1:3000", "stateDir": "/nowhere"}
    return Settings.from_mapping({**mapping, **options}, environ={})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("4.2.0", True),
        ("4.3", False),
        ("4.3.0", False),
        ("4.10.0", False),
        ("3.9.9", True),
        ("4.2.0.post1", True),
        ("4.2.0+local9", True),
        ("5", False),
    ],
)
def test_a_version_with_a_known_advisory_is_named(found: str, said: bool) -> None:
    told = dict(security_notes(settings(), lambda package: found, ONE))
    assert (f"h2 {found}" in told) is said


def test_what_is_not_installed_has_none() -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    assert [about for about, _ in security_notes(settings(), missing)] == ["pagesDomain pages.example.org"]


def test_what_is_installed_here_has_none_that_a_newer_one_for_this_python_mends() -> None:
    told = [about for about, _ in security_notes(settings())]
    old = {each.package for each in ADVISORIES if f"{each.package} {version(each.package)}" in told}
    assert old <= {"mitmproxy", "h11", "h2", "tornado", "brotli"}, "only what Python 3.11's mitmproxy keeps back"


@pytest.mark.parametrize(
    ("options", "about"),
    [
        ({}, ["pagesDomain pages.example.org"]),
        ({"pagesDomain": "github.io"}, []),
        ({"pagesDomain": "github.io", "redisHost": "127.0.0.1"}, ["authSecretKey"]),
        ({"pagesDomain": "github.io", "redisURL": "redis://127.0.0.1"}, ["authSecretKey"]),
        ({"pagesDomain": "github.io", "redisHost": "127.0.0.1", "authSecretKey": "a long random text"}, []),
    ],
)
def test_settings_that_leave_a_door_ajar_are_named(options: dict[str, object], about: list[str]) -> None:
    assert [each for each, _ in security_notes(settings(**options), advisories=())] == about

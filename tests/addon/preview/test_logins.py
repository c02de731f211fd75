# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The forge's logins answer the recorded exchanges as the real Forgejo did, one after the other, odd ones included.

Not compared: pages for people (their status and type are), random values, what a cookie holds, lengths that follow
from those, and what Forgejo says to a token that it does not know.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from addon.forgejo.oauth import challenge_of
from addon.preview.forge import Forge
from addon.preview.oauth import _Grant, _Session
from addon.preview.settings import Application, OwnerSettings, RepositorySettings
from tests.addon.preview.asking import Received, ask
from tests.addon.preview.recordings import ROOT_URL, logins
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site

PEOPLE = {"alice": 2, "bob": 3, "carol": 9, "dave": 10, "erin": 11, "frank": 12, "root1": 1}
PASSWORD = "a long password"
VERIFIER = "v3r1f13r" * 6
CALLBACK = ("https://pages.example/-/login/callback",)
APPLICATIONS = {
    "pages": "3a614e2f-42f2-4a0c-9a45-abc592e43f9a",
    "public": "c8fe8fb8-b523-42f8-bee1-bab73c409d71",
    "wild": "9b403654-09a4-4766-a969-8bbe41ec5085",
    "pages-noscope": "d3b01d86-333f-444b-8b19-3aa17b7829f8",
    "pages-oidc": "dd64064c-a552-4716-bf9f-8be82c659cde",
    "pages-repo": "4f651df9-2e20-4ad3-a88b-eb46446f6948",
    "pages-userrepo": "b85e17bb-c83b-40a6-9e5d-4cbe28c5bc26",
    "pages-publiconly": "39ccb1b3-1eb3-4781-8afa-263e19308a0e",
}
_NAME = re.compile(r"<((?:access_token|refresh_token|id_token|code|client_secret) [^>]*|secret|verifier|password)>")


def _forge(folder: Path) -> Forge:
    for owner, name in (("alice", "secret"), ("alice", "blog"), ("acme", "inside")):
        Site(folder / owner / f"{name}.git", {"a": b"a"})
    owners = {name: OwnerSettings(id=number, password=PASSWORD) for name, number in PEOPLE.items()}
    owners["acme"] = OwnerSettings(id=8, organisation=True, members=frozenset({"alice"}))
    readers = frozenset({"bob", "erin", "frank"})
    repositories = {
        "alice/secret": RepositorySettings(id=15, private=True, readers=readers),
        "alice/blog": RepositorySettings(id=6),
        "acme/inside": RepositorySettings(
            id=20, private=True, readers=frozenset({"carol"}), no_code=frozenset({"frank"})
        ),
    }
    forge = start_forge(folder, owners=owners, repositories=repositories, root_url=ROOT_URL)
    for name, client in APPLICATIONS.items():
        uris = ("https://*.pages.example/-/login/callback",) if name == "wild" else CALLBACK
        application = Application(client, f"gto_{name}", uris, name, "pagesop", confidential=name != "public")
        forge.applications[client] = application
    return forge


def _drop(settings: RepositorySettings, name: str) -> None:
    settings.readers -= {name}


# What somebody did before the exchange whose note begins so.
BEFORE: dict[str, Callable[[Forge], object]] = {
    "after the collaborator was removed": lambda forge: _drop(forge.settings("alice/secret"), "bob"),
    "after the member left the team": lambda forge: _drop(forge.settings("acme/inside"), "carol"),
    "after the user's login was prohibited": lambda forge: setattr(forge.owner_settings("erin"), "prohibited", True),
    "access token expired": lambda forge: setattr(forge.login, "now", lambda: 4_000_000_000.0),
}


class Replay:
    """Sends what was sent, with the values of this run for those that stand in the recording."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.bound = {"verifier": VERIFIER, "password": PASSWORD, "root1": "0" * 40}
        self.bound |= {f"client_secret of {name}": f"gto_{name}" for name in APPLICATIONS}
        self.cookies: dict[str, str] = {}

    def session_of(self, user: str) -> None:
        """The browser is somebody else's from now on."""
        self.forge.login.sessions[user] = _Session(user)
        self.cookies = {"session": user}

    def value(self, name: str) -> str:
        if name not in self.bound and name.startswith("code "):  # of an authorization that was not recorded
            grant = self.forge.login.grants[PEOPLE["alice"], APPLICATIONS["pages"]]
            session = _Session("alice", pkce=(challenge_of(VERIFIER), "S256"))
            return self.forge.login._code(grant, CALLBACK[0], session)
        if name not in self.bound and name.startswith("access_token "):
            self._granted(name.removeprefix("access_token ").split()[0])
        if name not in self.bound and name.startswith("refresh_token "):
            self._granted(name.removeprefix("refresh_token "))
        return self.bound.get(name, "unknown")

    def _granted(self, user: str) -> None:
        """A login of which there is no recording: as most were."""
        login, number = self.forge.login, PEOPLE.get(user, PEOPLE["bob"])
        grant = login.grants.setdefault(
            (number, APPLICATIONS["pages"]),
            _Grant(100 + number, number, APPLICATIONS["pages"], "openid profile read:repository"),
        )
        told = login._issue(grant)
        self.bound[f"access_token {user}"], self.bound[f"refresh_token {user}"] = (
            told["access_token"],
            told["refresh_token"],
        )

    def filled(self, text: str) -> str:
        text = _NAME.sub(lambda found: self.value(found[1]), text).replace("<root1>", "0" * 40)
        return re.sub(r"base64\((.*)\)", lambda found: base64.b64encode(found[1].encode()).decode(), text)

    def send(self, exchange: dict[str, Any]) -> Received:
        request = exchange["request"]
        headers = {name: self.filled(value) for name, value in request["headers"].items() if name != "Content-Length"}
        if "Cookie" in headers:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        path = self._challenged(request["path"])
        body = self._challenged(self.filled(request.get("text", "")))
        got = ask(self.forge, request["method"], path, headers, body.encode())
        for name, value in got.headers:
            if name.lower() == "set-cookie" and "Cookie" in headers:
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        if exchange["note"] == "authorize, not logged in":
            pairs = [value.partition(";")[0].partition("=") for name, value in got.headers if name == "Set-Cookie"]
            self.cookies = {key: value for key, _, value in pairs}
        return got

    def _challenged(self, text: str) -> str:
        """With the challenge of this run's verifier."""
        if "code_challenge_method=plain" in text:
            return text
        return re.sub(r"code_challenge=[^&]+", f"code_challenge={challenge_of(VERIFIER)}", text)

    def bind(self, expected: str, got: str) -> None:
        """Take the values of this run from where the recording has names."""
        pattern, names = "", []
        for part in re.split(r"(<[^<>]*>)", expected):
            name = _NAME.fullmatch(part)
            if name is not None and name[1] not in names:
                names.append(name[1])
                pattern += "([A-Za-z0-9_.-]+)"
            else:
                pattern += "[A-Za-z0-9_.-]+" if name is not None else re.escape(part)
        found = re.fullmatch(pattern, got, re.S)
        assert found is not None, (expected, got)
        self.bound.update(zip(names, found.groups(), strict=True))


def _shown(headers: list[Any], *, loose: bool) -> list[tuple[str, str]]:
    """Headers in no order; loose: without lengths. Of a cookie, its name and what is said about it."""
    shown = []
    for name, value in headers:
        name = name.lower()
        if name in ("date", "location") or (loose and name in ("content-length", "transfer-encoding")):
            continue
        shown.append((name, re.sub(r"\A(\w+)=[^;]*", r"\1=", value) if name == "set-cookie" else value))
    return sorted(shown)


def test_the_recorded_logins_go_as_they_went(tmp_path: Path) -> None:
    forge = _forge(tmp_path)
    try:
        replay, seen = Replay(forge), 0
        for exchange in logins():
            note, expected = exchange["note"], exchange["response"]
            for beginning, act in BEFORE.items():
                if note.startswith(beginning):
                    act(forge)
            if note.startswith("session with PKCE begun"):
                replay.session_of("dave")
            elif note.startswith("scope") and note.endswith("authorize"):
                replay.session_of("bob" if " as bob" in note else "alice")
            elif note.endswith("authorize with the old session"):
                replay.session_of("erin")
            elif note.startswith("after sign-out"):
                forge.login.sessions["erin"] = _Session()
            elif note.startswith("refresh: right (form)"):
                replay.value("refresh_token alice 6")
            got = replay.send(exchange)
            where = f"{note}: {got.body[:200]!r}"
            assert got.status == expected["status"], where
            seen += 1
            location = next((value for name, value in expected["headers"] if name == "Location"), None)
            if location is not None and not location.startswith("/login/oauth/authorize"):
                replay.bind(location, got.header("location") or "")
            text = expected.get("text", "")
            page = text == "…" or exchange["request"]["path"].startswith("/user/")
            if page:
                assert got.header("content-type") == next(
                    (value for name, value in expected["headers"] if name == "Content-Type"), None
                ), where
                continue
            is_api = exchange["request"]["path"].startswith("/api/")
            if is_api and got.status == 200 and "permissions" in text:
                told, wanted = got.json(), json.loads(text)
                assert (told["private"], told["permissions"]["pull"]) == (
                    wanted["private"],
                    wanted["permissions"]["pull"],
                ), where
                continue
            if is_api and got.status == 401:
                assert re.search("token", got.json()["message"]), where
                continue
            random = bool(_NAME.search(text)) or "groups" in text or "keys" in exchange["request"]["path"]
            assert _shown(got.headers, loose=random) == _shown(expected["headers"], loose=random), where
            if "keys" not in exchange["request"]["path"]:
                wanted_text = re.sub(r',"picture":"[^"]*"|,"groups":\[[^]]*\]', "", text)
                replay.bind(wanted_text, re.sub(r',"picture":"[^"]*"', "", got.body.decode()))
        assert seen == 173
    finally:
        forge.stop()

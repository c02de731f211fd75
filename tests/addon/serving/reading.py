# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A browser in front of `PagesServer` and a forge: it keeps cookies as browsers do, follows redirects, and consents."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from addon.preview.forge import Forge
from addon.preview.settings import Application, RepositorySettings, Token
from addon.serving.answers import Answer
from addon.web.forwarding import Visitor
from tests.addon.preview.asking import ask
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Files, Site
from tests.addon.serving.pages import PAGES_DOMAIN, Reply, Serving

CALLBACK = f"https://{PAGES_DOMAIN}/.pages/login/callback"
CLIENT, SECRET = "3a614e2f-42f2-4a0c-9a45-abc592e43f9a", "gto_of-the-pages-server"
TOKEN = "t0" * 20
"""With which the pages server itself reads private repositories."""
OPTIONS: dict[str, Any] = {
    "oauthClientId": CLIENT,
    "oauthClientSecret": SECRET,
    "servePrivateRepositories": True,
    "authSecretKey": "one long key for all of them",
    "cacheTTL": "1h",  # what is asked of Forgejo is asked about readers
}
PAGE = b"<h1>How we work</h1>" + b"<p>and nobody else knows</p>" * 50
HANDBOOK: Files = {
    ".pages": b"access: members\n",
    "public/index.html": PAGE,
    "public/404.html": b"not in the handbook",
    "public/docs/a.txt": b"0123456789" * 50,
    "public/style.css": b"h1 { color: teal }\n",
}
PEOPLE = {"alice": 2, "bob": 3, "dave": 10}


def team_forge(folder: Path, **more: Files) -> Forge:
    """alice/handbook, private, for members; bob reads it, dave does not. alice/open is open. more: of alice's."""
    Site(folder / "alice" / "handbook.git", HANDBOOK)
    Site(folder / "alice" / "open.git", {".pages": b"enabled: true\n", "public/index.html": b"open"})
    for name, files in more.items():
        Site(folder / "alice" / f"{name}.git", files)
    forge = start_forge(
        folder, repositories={"alice/handbook": RepositorySettings(private=True, readers=frozenset({"bob"}))}
    )
    prepare(forge)
    return forge


def prepare(forge: Forge) -> None:
    """PEOPLE, who have passwords, and what the operator makes there: an application, and a token that reads alice's."""
    for name, number in PEOPLE.items():
        settings = forge.owner_settings(name)
        settings.id, settings.password = number, f"password of {name}"
    forge.tokens[TOKEN] = Token("alice")
    forge.applications[CLIENT] = Application(CLIENT, SECRET, (CALLBACK,), owner="operator")


@dataclass
class Browser:
    """One browser of one person. cookies: by host and name. hops: the addresses of the last walk."""

    served: Serving
    user: str = "bob"
    address: str = "192.0.2.7"
    keeps_cookies: bool = True
    consents: bool = True
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    hops: list[str] = field(default_factory=list)

    async def open(self, url: str, most: int = 20, **headers: str) -> Reply:
        """Go somewhere, as a person does who follows redirects, logs in and consents."""
        self.hops = []
        while True:
            reply = await self.one(url, **headers)
            self.hops.append(url)
            location = reply.headers.get("location")
            if location is None or len(self.hops) > most:
                return reply
            url = location if "://" in location else f"https://{urlsplit(url).netloc}{location}"

    async def one(self, url: str, method: str = "GET", form: bytes | None = None, /, **headers: str) -> Reply:
        """One request, redirects not followed, to a page of ours or to the forge."""
        parts = urlsplit(url)
        if url.startswith(self.served.forge.url):
            return self._forge(url.removeprefix(self.served.forge.url))
        host, target = parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        jar = self.cookies.setdefault(host, {})
        fields = {"accept": "text/html", **headers}
        if jar:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if form is not None:
            fields["content_type"] = "application/x-www-form-urlencoded"
        self.served.body = form
        request = self.served.request(host, target, method, **fields)
        self.served.body = None
        request = _from(request, self.address)
        answer = self.served.server.answer_from_memory(request)
        recalled = answer is not None
        if answer is None:
            answer = await self.served.server.answer(request)
        self._keep(jar, answer)
        return await self.served.read(answer, recalled=recalled)

    def _keep(self, jar: dict[str, str], answer: Answer) -> None:
        for name, value in answer.headers:
            if name != b"Set-Cookie" or not self.keeps_cookies:
                continue
            text = value.decode()
            assert {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"} <= set(text.split("; "))
            assert "Domain" not in text
            key, _, rest = text.partition("=")
            assert key.startswith("__Host-")
            if "Max-Age=0" in text:
                jar.pop(key, None)
            else:
                jar[key] = rest.partition(";")[0]

    def _forge(self, target: str) -> Reply:
        """At the forge: logged in there by its form, allowing what is asked."""
        forge, jar = self.served.forge, self.cookies.setdefault("forge", {})
        if "session" not in jar:
            form = urlencode({"user_name": self.user, "password": f"password of {self.user}"}).encode()
            self._forge_cookies(_ask(forge, "POST", "/user/login", jar, form))
        got = _ask(forge, "GET", target, jar)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', got.body.decode()))
        if "client_id" in hidden:
            form = urlencode(hidden | {"granted": "true" if self.consents else "false"}).encode()
            got = _ask(forge, "POST", "/login/oauth/grant", jar, form)
        return Reply(got.status, {name.lower(): value for name, value in got.headers}, got.body, False)

    def _forge_cookies(self, got: Any) -> None:
        for name, value in got.headers:
            if name == "Set-Cookie" and value.startswith("session="):
                self.cookies["forge"]["session"] = value.partition(";")[0].partition("=")[2]


def _from(request: Any, address: str) -> Any:
    from dataclasses import replace

    return replace(request, visitor=lambda: Visitor(address, secure=True))


def _ask(forge: Forge, method: str, target: str, jar: dict[str, str], form: bytes = b"") -> Any:
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    if jar:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
    return ask(forge, method, target, headers, form)

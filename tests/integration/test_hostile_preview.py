# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A stranger's pull request in Chromium, through a real mitmdump: it is shown, and gets at nothing but its own host.

Site, previews and their webhook are as in use. `pages.localhost` and `preview.localhost` are two sites to browsers, as
two registrable domains are, and trusted without HTTPS, as service workers need.
"""

import hashlib
import hmac
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from addon.preview.pull_requests import PullRequest
from addon.preview.settings import RepositorySettings
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.browser import Browser, browser
from tests.integration.running import Proxy, running_proxy
from tests.waiting import wait_until

PASSWORD = "correct horse"
PAGES, PREVIEWS = "pages.localhost", "preview.localhost"
HOOK = "hook-secret"
RULES = f"previews:\n  pulls: all\npassword: {hashlib.sha256(PASSWORD.encode()).hexdigest()}\n".encode()
INSIDE = b"<!doctype html><h1>Inside</h1><script>parent.postMessage('inside', '*')</script>"
WORKER = b"self.addEventListener('fetch', event => event.respondWith(new Response('<h1>Worker</h1>')))"
HOSTILE: dict[str, bytes] = {
    "public/index.html": b"<!doctype html><h1>Stranger</h1>",
    "public/worker.js": WORKER,
    "public/_headers": b"/*\n  Service-Worker-Allowed: /\n  Set-Cookie: a=b; Domain=localhost\n"
    b"  Access-Control-Allow-Origin: *\n  X-Robots-Tag: all\n",
}
ATTACKS = """
const found = {};
window.told = [];
window.addEventListener('message', event => told.push(event.data));
const read = (url, options) => fetch(url, {credentials: 'include', ...options})
  .then(answer => answer.text()).then(text => text.includes('Inside'), () => 'refused');
const framed = url => new Promise(done => {
  const frame = document.createElement('iframe');
  frame.onload = () => done(!!frame.contentDocument);
  frame.src = url;
  document.body.append(frame);
});
(async () => {
  for (const [name, url] of Object.entries(VICTIMS)) {
    found[name] = [await read(url), await read(url, {credentials: 'omit'}), await framed(url)];
  }
  await new Promise(done => setTimeout(done, 0));
  found.told = told.length;
  document.cookie = NAME + '=' + VALUE + '; Domain=preview.localhost; Path=/';
  document.cookie = NAME + '=' + VALUE + '; Domain=pages.localhost; Path=/';
  document.cookie = 'tossed=1; Domain=localhost; Path=/';
  const at = await navigator.serviceWorker.register('/worker.js', {scope: '/'});
  found.scope = new URL(at.scope).host == location.host;
  window.found = found;
})();
"""

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed",
)


def deliver(proxy: Proxy, action: str) -> None:
    """What Forgejo sends of a pull request, with the kind where version 16 puts it."""
    body = json.dumps({"action": action, "repository": {"full_name": "alice/site"}}).encode()
    headers = {
        "X-Forgejo-Event": "pull_request",
        "X-Forgejo-Event-Type": "pull_request_sync",
        "X-Forgejo-Signature": hmac.new(HOOK.encode(), body, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }
    assert proxy.get(PAGES, "/.pages/webhook", headers, "POST", body).status == 202


async def logged_in(tab: Browser, address: str, text: str) -> None:
    await tab.open(address)
    await tab.shows("Protected")
    await tab.becomes("document.activeElement.id == 'password'")
    await tab.types(PASSWORD)
    await tab.shows(text)


async def cookies_of(tab: Browser) -> dict[str, dict[str, Any]]:
    found = (await tab.command("Network.getAllCookies"))["cookies"]
    return {each["domain"]: each for each in found}


async def test_a_strangers_pull_request_gets_at_nothing_but_its_own_host(tmp_path: Path) -> None:
    site = Site(tmp_path / "forge" / "alice" / "site.git", {".pages": RULES, "public/index.html": INSIDE})
    own = site.commit({"public/extra.txt": b"own"}, branch="topic", parent=site.head())
    strange = site.commit(HOSTILE, branch="away", parent=site.head())
    site.delete_branch("away")
    settings = RepositorySettings()
    settings.pulls = [PullRequest(1, own, "topic"), PullRequest(2, strange, "topic", by="mallory", flow=1)]
    forge = start_forge(tmp_path / "forge", repositories={"alice/site": settings})
    options: dict[str, Any] = {"previewDomain": PREVIEWS, "previewTTL": "3650d", "webhookSecret": HOOK}
    try:
        with running_proxy(tmp_path / "proxy", forge.url, pagesDomain=PAGES, **options) as proxy:
            real = f"http://alice.{PAGES}:{proxy.port}/site/"
            other, hostile = (f"http://pr-{number}--site--alice.{PREVIEWS}:{proxy.port}/" for number in (1, 2))
            async with browser() as tab:
                await logged_in(tab, real, "Inside")
                await logged_in(tab, other, "Inside")
                await logged_in(tab, hostile, "Stranger")
                cookies = await cookies_of(tab)
                hosts = {f"alice.{PAGES}", *(f"pr-{number}--site--alice.{PREVIEWS}" for number in (1, 2))}
                assert set(cookies) == hosts  # each login is of its host alone, and `_headers` set none
                mine, victim = (cookies[f"pr-{number}--site--alice.{PREVIEWS}"] for number in (2, 1))
                script = ATTACKS.replace("VICTIMS", json.dumps({"real": real, "other": other}))
                script = script.replace("NAME", json.dumps(victim["name"])).replace("VALUE", json.dumps(mine["value"]))
                await tab.evaluate(script)
                await tab.becomes("!!window.found", 60)
                found = json.loads(await tab.evaluate("JSON.stringify(window.found)"))
                assert found == {
                    "real": ["refused", "refused", False],
                    "other": ["refused", "refused", False],
                    "told": 0,
                    "scope": True,
                }
                # Its worker rules its own host, and no other.
                await tab.open(hostile)
                await tab.shows("Worker")
                for address in (other, real):
                    await tab.open(address)
                    await tab.shows("Inside")
                    assert await tab.evaluate("navigator.serviceWorker.controller === null")
                # Whoever is logged out elsewhere is not let in by the login that was tossed there.
                tossed = (await tab.command("Network.getAllCookies"))["cookies"]
                assert [each["domain"] for each in tossed if each["value"] == mine["value"]].count(f".{PREVIEWS}") == 1
                assert not any(each["domain"] == f".{PAGES}" for each in tossed)
                await tab.command("Network.deleteCookies", name=victim["name"], domain=f"pr-1--site--alice.{PREVIEWS}")
                await tab.open(other)
                await tab.shows("Protected")

            def status(number: int) -> int:
                basic = {"Authorization": "Basic OmNvcnJlY3QgaG9yc2U="}
                return proxy.get(f"pr-{number}--site--alice.{PREVIEWS}", "/", basic).status

            assert (status(1), status(2), status(3)) == (200, 200, 404)
            settings.pulls[1].close()
            deliver(proxy, "closed")
            settings.pulls.append(PullRequest(3, own, "topic"))
            deliver(proxy, "opened")
            wait_until(
                lambda: (status(1), status(2), status(3)) == (200, 404, 200), "previews of the first and the third"
            )
    finally:
        forge.stop()
        site.close()

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Two sites of two owners, over TLS, in Chromium: one would embed, frame, script, toss cookies at, log out the other.

To the browser both are one site, for the pages domain is on no public suffix list: SameSite keeps nothing out here.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.addon.net.tls_wire import make_pair
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.browser import Browser, browser
from tests.integration.running import PAGES_DOMAIN, running_proxy, wait_for_port
from tests.ports import free_port

PASSWORD = "correct horse"
LOCKED = f"enabled: true\npassword: {hashlib.sha256(PASSWORD.encode()).hexdigest()}\n".encode()
PIXEL = bytes.fromhex("47494638396101000100800000ff0000ffffff2c00000000010001000002024401003b")  # a GIF
PLAIN = b"<!doctype html><h1>Mallory</h1>"
CLUB: dict[str, bytes] = {
    ".pages": LOCKED,
    "public/index.html": b"<!doctype html><h1>Inside</h1><script>parent.postMessage('inside', '*')</script>",
    "public/members.js": b"window.stolen = 'members'",
    "public/members.css": b"body { outline: 3px solid red }",
    "public/photo.gif": PIXEL,
}
NOTHING = {
    "read": "refused",
    "bare": "refused",
    "opaque": "refused",
    "picture": False,
    "script": False,
    "style": False,
    "told": 0,
    "stolen": None,
}
ALL = {
    "read": "refused",  # `*` is for those who send no cookies
    "bare": True,
    "opaque": False,  # it is got, and cannot be read
    "picture": True,
    "script": True,
    "style": True,
    "told": 2,
    "stolen": "members",
}
ATTACKS = """
window.told = [];
window.addEventListener('message', event => told.push(event.data));
const loaded = (name, set) => new Promise(done => {
  const each = document.createElement(name);
  each.onload = () => done(true);
  each.onerror = () => done(false);
  set(each);
  document.body.append(each);
});
const read = (path, options) => fetch(VICTIM + path, {credentials: 'include', ...options})
  .then(answer => answer.text()).then(text => text.includes('Inside'), () => 'refused');
const posted = target => new Promise(done => {
  const frame = document.createElement('iframe'), form = document.createElement('form');
  frame.name = 'f' + Math.random();
  Object.assign(form, {method: 'POST', action: VICTIM + target, target: frame.name});
  document.body.append(frame, form);
  frame.onload = () => done(true);
  form.submit();
});
const got = async site => {
  const found = {};
  window.told.length = 0;
  window.stolen = null;
  found.read = await read(site);
  found.bare = await read(site, {credentials: 'omit'});
  found.opaque = await read(site, {mode: 'no-cors'});
  found.picture = await loaded('img', each => { each.src = VICTIM + site + 'photo.gif' });
  found.script = await loaded('script', each => { each.src = VICTIM + site + 'members.js' });
  found.style = await loaded('link', each => { each.rel = 'stylesheet'; each.href = VICTIM + site + 'members.css' });
  await loaded('iframe', each => { each.src = VICTIM + site });
  await loaded('object', each => { each.data = VICTIM + site });
  await fetch('/');  // a message that was sent has come by now
  found.told = window.told.length;
  found.stolen = window.stolen;
  return found;
};
const found = {};
(async () => {
  found.open = await got('/open/');
  found.locked = await got('/club/');
  await fetch(VICTIM + '/.pages/logout', {method: 'POST', mode: 'no-cors', credentials: 'include'}).catch(() => 0);
  await loaded('img', each => { each.src = VICTIM + '/.pages/logout' });
  await posted('/.pages/logout');
  for (const name of NAMES)
    for (const rest of ['/; Secure', '/club/; Secure', '/'])
      document.cookie = name + '=VALUE; Domain=DOMAIN; Path=' + rest;
  found.cookies = document.cookie;
  window.found = found;
})();
"""

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed",
)


async def logged_in(tab: Browser, address: str) -> None:
    await tab.open(address)
    await tab.shows("Password Protected")
    await tab.becomes("document.activeElement.id == 'password'")
    await tab.types(PASSWORD)
    await tab.shows("Inside")


async def cookies_of(tab: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await tab.command("Network.getAllCookies"))["cookies"]
    return found


async def test_a_neighbour_gets_nothing_of_a_locked_site_and_takes_nothing_from_its_reader(tmp_path: Path) -> None:
    Site(tmp_path / "forge" / "alice" / "club.git", CLUB)
    Site(tmp_path / "forge" / "alice" / "open.git", {**CLUB, ".pages": b"enabled: true\n"})
    Site(tmp_path / "forge" / "mallory" / ".profile.git", {".pages": b"enabled: true\n", "public/index.html": PLAIN})
    Site(tmp_path / "forge" / "mallory" / "club.git", CLUB)  # of the same name and with the same password
    pair = make_pair(tmp_path, "pages", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}")
    port, plain = free_port(), free_port()
    tls = {"address": f"127.0.0.1:{port}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}
    forge = start_forge(tmp_path / "forge")
    victim, hostile = (f"https://{owner}.{PAGES_DOMAIN}:{port}" for owner in ("alice", "mallory"))
    try:
        with running_proxy(tmp_path / "proxy", forge.url, port=plain, listen=[f"127.0.0.1:{plain}", tls]) as proxy:
            wait_for_port(proxy.process, port, tmp_path / "proxy" / "output.log")
            async with browser("--ignore-certificate-errors") as tab:
                await logged_in(tab, f"{victim}/club/")
                await logged_in(tab, f"{hostile}/club/")
                cookies = {each["domain"]: each for each in await cookies_of(tab)}
                assert set(cookies) == {f"alice.{PAGES_DOMAIN}", f"mallory.{PAGES_DOMAIN}"}  # of their hosts alone
                name = cookies[f"alice.{PAGES_DOMAIN}"]["name"]
                own = cookies[f"mallory.{PAGES_DOMAIN}"]
                assert name.startswith("__Host-")
                assert name != own["name"]
                await tab.open(f"{hostile}/")
                await tab.shows("Mallory")
                names = [name, name.removeprefix("__Host-"), name.lower()]
                script = ATTACKS.replace("VICTIM", json.dumps(victim)).replace("NAMES", json.dumps(names))
                await tab.evaluate(script.replace("DOMAIN", PAGES_DOMAIN).replace("VALUE", own["value"]))
                await tab.becomes("!!window.found", 60)
                found = json.loads(await tab.evaluate("JSON.stringify(window.found)"))
                assert "__Host-" not in found.pop("cookies")  # refused by the browser: it has a Domain
                assert found["locked"] == NOTHING
                assert found["open"] == ALL  # so the attacks are ones that work
                await tab.open(f"{victim}/club/")
                await tab.shows("Inside")  # still, and by the cookie of its own
                # Who is logged out is not logged in by what a neighbour sets.
                await tab.command("Network.deleteCookies", name=name, domain=f"alice.{PAGES_DOMAIN}")
                await tab.open(f"{victim}/club/")
                await tab.shows("Password Protected")
                # More cookies than are read: the visitor is told, the browser forgets them, and all is well again.
                await logged_in(tab, f"{victim}/club/")
                await tab.open(f"{hostile}/")
                await tab.shows("Mallory")
                flood = "for (let i = 0; i < 60; i++) document.cookie = `c${i}=${'x'.repeat(3900)}; Domain=%s; Path=/`"
                await tab.evaluate(flood % PAGES_DOMAIN)
                await tab.becomes(f"document.cookie.length > {60 * 3900}")  # they are set one by one, elsewhere
                await tab.open(f"{victim}/club/")
                await tab.shows("431")
                assert await cookies_of(tab) == []
                await logged_in(tab, f"{victim}/club/")
    finally:
        forge.stop()
